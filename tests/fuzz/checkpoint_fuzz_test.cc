// Broken safetensors files and indices: refused, or read into tensors that lie inside their file.

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/weights/manifest.h"
#include "common/weights/safetensors.h"
#include "tests/support/mutator.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

using testing::FileTensor;
using testing::FuzzRounds;
using testing::Mutator;

ModelSpec SmallSpec() {
  ModelSpec spec = testing::TinySpec();
  spec.layer_count = 2;
  spec.layer_kinds.resize(2);
  spec.d_model = 8;
  spec.head_dim = 2;
  spec.dense_width = spec.expert_width = 8;
  spec.expert_count = 2;
  spec.vocab = 4;
  spec.quantization = BlockQuantization{4, 8, {}};
  return spec;
}

// The first `bytes` of a golden file: its length, and a header that is cut off.
std::string GoldenStart(const std::string& file, size_t bytes) {
  return testing::ReadFile(std::string(TESSERA_SOURCE_DIR) + "/tests/golden/" + file)
      .substr(0, bytes);
}

std::vector<std::string> Corpus() {
  const auto few = [](std::vector<FileTensor> tensors, size_t count) {
    return testing::SafetensorsFile(std::span(tensors).first(count));
  };
  return {few(testing::TinyTensors(SmallSpec(), {}), 6),
          few(testing::TinyTensors(SmallSpec(), {.dtype = DType::kF8E4M3}), 20),
          GoldenStart("afmoe-tiny-f32/model.safetensors", 600), testing::SafetensorsFile("{}", ""),
          testing::SafetensorsFile(
              R"({"a": {"dtype": "U8", "shape": [2, 3], "data_offsets": [0, 6]}})", "abcdef")};
}

std::vector<std::string> Dictionary() {
  return {"\"dtype\": \"F32\"",
          "\"shape\": [",
          "\"data_offsets\": [0, 0]",
          "F8_E4M3",
          "I64",
          "{}",
          "[]",
          "null",
          "\"",
          ",",
          "}",
          "\"__metadata__\": {},",
          std::string(8, '\0'),
          "\xff\xff\xff\xff\xff\xff\xff\x7f"};
}

// Makes the length in the first eight bytes right again, for half of the inputs: otherwise most
// would end there.
void MendLength(uint64_t n, std::string& file) {
  const size_t end = file.rfind("}}");
  if (n % 2 == 0 || file.size() < 10 || end == std::string::npos) return;
  const uint64_t length = end + 2 - 8;
  std::memcpy(file.data(), &length, 8);
}

TEST(SafetensorsFuzz, RefusedOrInsideTheFile) {
  constexpr uint64_t kSeed = 77;
  const Mutator mutator(kSeed, Corpus(), Dictionary());
  uint64_t accepted = 0;
  const uint64_t rounds = FuzzRounds(20000);
  for (uint64_t n = 0; n < rounds; ++n) {
    SCOPED_TRACE(::testing::Message() << "seed " << kSeed << ", input " << n);
    std::string text = mutator.At(n);
    MendLength(n, text);
    // A copy of exactly this size, so that a read behind the end is seen.
    const std::unique_ptr<std::byte[]> bytes(new std::byte[text.size()]);
    std::memcpy(bytes.get(), text.data(), text.size());
    const auto tensors = ParseSafetensors({bytes.get(), text.size()});
    if (!tensors.ok()) {
      ASSERT_EQ(tensors.status().code(), absl::StatusCode::kDataLoss);
      continue;
    }
    ++accepted;
    uint64_t covered = tensors->empty() ? text.size() : tensors->front().offset;
    for (const StoredTensor& tensor : *tensors) {
      ASSERT_EQ(tensor.offset, covered);
      covered += tensor.size_bytes;
    }
    ASSERT_EQ(covered, text.size());
  }
  EXPECT_GT(accepted, rounds / 100);
  EXPECT_LT(accepted, rounds);
}

// Whole folders: a mutated shard or index, opened and resolved, and every weight read.
TEST(CheckpointFuzz, RefusedOrReadable) {
  constexpr uint64_t kSeed = 4711;
  const ModelSpec spec = SmallSpec();
  const testing::TempFolder folder;
  testing::WriteTinyModel(spec, {.dtype = DType::kF8E4M3, .shard_count = 2}, folder.path());
  const std::string names[] = {"model-00001-of-00002.safetensors",
                               "model-00002-of-00002.safetensors", "model.safetensors.index.json"};
  uint64_t accepted = 0;
  const uint64_t rounds = FuzzRounds(600);
  for (uint64_t n = 0; n < rounds; ++n) {
    SCOPED_TRACE(::testing::Message() << "seed " << kSeed << ", input " << n);
    const std::string path = folder.File(names[n % 3]);
    const std::string good = testing::ReadFile(path);
    std::string bad = Mutator(kSeed, {good}, Dictionary()).At(n);
    testing::WriteFile(path, bad);
    const auto checkpoint = Checkpoint::Open(folder.path());
    if (checkpoint.ok()) {
      const absl::StatusOr<ModelManifest> manifest = ModelManifest::Resolve(spec, **checkpoint);
      if (manifest.ok()) {
        ++accepted;
        std::vector<float> row(spec.d_model);
        for (uint32_t e = 0; e < spec.expert_count; ++e) {
          const SwiGluTensors& expert = manifest->expert(LayerIndex{1}, ExpertId{e});
          for (size_t r = 0; r < expert.gate.rows; ++r) ReadRow(expert.gate, r, row);
        }
      } else {
        ASSERT_EQ(manifest.status().code(), absl::StatusCode::kInvalidArgument);
      }
    } else {
      ASSERT_FALSE(checkpoint.status().message().empty());
    }
    testing::WriteFile(path, good);
  }
  EXPECT_GT(accepted, 0u);
  EXPECT_LT(accepted, rounds);
}

}  // namespace
}  // namespace tessera
