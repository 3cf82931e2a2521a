// The golden checkpoints through the whole of this room.

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "common/model/model_config.h"
#include "common/weights/checkpoint.h"
#include "common/weights/manifest.h"

namespace tessera {
namespace {

class GoldenTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::string directory() const {
    return std::string(TESSERA_SOURCE_DIR) + "/tests/golden/" + GetParam();
  }
};

TEST_P(GoldenTest, EveryTensorHasItsRole) {
  const absl::StatusOr<ModelSpec> spec = ReadModelSpec(directory());
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto checkpoint = Checkpoint::Open(directory());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const absl::StatusOr<ModelManifest> manifest = ModelManifest::Resolve(*spec, **checkpoint);
  ASSERT_TRUE(manifest.ok()) << manifest.status();

  uint64_t elements = 0;
  for (const RoleTotal& total : manifest->totals()) elements += total.element_count;
  EXPECT_EQ(elements, CountParameters(*spec).total);
  EXPECT_EQ(manifest->router().layers.size(), spec->layer_count);

  const LayerTensors& layer = manifest->router().layers[2];
  EXPECT_EQ(layer.gate.rows, spec->expert_count);
  EXPECT_TRUE(ReadVector(**checkpoint, layer.input_norm).ok());
  const SwiGluTensors& expert = manifest->expert(LayerIndex{5}, ExpertId{7});
  EXPECT_EQ(expert.gate.rows, spec->expert_width);
  EXPECT_EQ(expert.down.cols, spec->expert_width);
  EXPECT_NE((*checkpoint)
                ->Whereabouts(expert.up.data)
                .find("model.layers.5.mlp.experts.7.up_proj.weight"),
            std::string::npos);
  std::vector<float> row(expert.up.cols);
  ReadRow(expert.up, 3, row);
  for (const float value : row) EXPECT_TRUE(std::isfinite(value));
  EXPECT_TRUE((*checkpoint)->Verify().ok());
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, GoldenTest,
                         ::testing::Values("afmoe-tiny-f32", "afmoe-256x4-bf16"),
                         [](const auto& info) {
                           return std::string(info.param) == "afmoe-tiny-f32" ? "Tiny" : "Wide";
                         });

}  // namespace
}  // namespace tessera
