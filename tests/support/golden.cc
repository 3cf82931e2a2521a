#include "tests/support/golden.h"

#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json.h"
#include "common/weights/mapped_file.h"
#include "common/weights/safetensors.h"

namespace tessera::testing {
namespace {

// Every F32 matrix of a safetensors file, by name.
using Matrices = std::map<std::string, std::vector<std::vector<float>>>;

absl::StatusOr<Matrices> ReadMatrices(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<StoredTensor> tensors, ParseSafetensors(file.bytes()));
  Matrices matrices;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.dtype != DType::kF32 || tensor.shape.size() != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", tensor.name, " is not an F32 matrix"));
    }
    std::vector<std::vector<float>>& rows = matrices[tensor.name];
    for (uint64_t row = 0; row < tensor.shape[0]; ++row) {
      std::vector<float> values(tensor.shape[1]);
      const size_t row_bytes = values.size() * sizeof(float);
      std::memcpy(values.data(), file.bytes().data() + tensor.offset + row * row_bytes, row_bytes);
      rows.push_back(std::move(values));
    }
  }
  return matrices;
}

std::vector<TokenId> ReadIds(const JsonValue& list) {
  std::vector<TokenId> ids;
  for (const JsonValue value : list.elements())
    ids.push_back(static_cast<TokenId>(value.AsInteger().value_or(-1)));
  return ids;
}

}  // namespace

absl::StatusOr<Golden> ReadGolden(const std::string& name) {
  Golden golden{.model_dir = absl::StrCat(TESSERA_SOURCE_DIR, "/tests/golden/", name),
                .prompts = {}};
  TESSERA_ASSIGN_OR_RETURN(Matrices matrices,
                           ReadMatrices(golden.model_dir + "/expected.safetensors"));
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document,
                           JsonDocument::ReadFile(golden.model_dir + "/expected.json"));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue prompts, document.root().Member("prompts"));
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::string prefix = absl::StrCat("prompt", i, ".");
    GoldenPrompt prompt;
    TESSERA_ASSIGN_OR_RETURN(const JsonValue ids, prompts.at(i).Member("ids"));
    TESSERA_ASSIGN_OR_RETURN(const JsonValue greedy, prompts.at(i).Member("greedy"));
    prompt.ids = ReadIds(ids);
    prompt.greedy = ReadIds(greedy);
    prompt.logits = matrices[prefix + "logits"];
    for (size_t layer = 0; layer < 1000; ++layer) {
      const std::string routing = absl::StrCat(prefix, "moe_layer", layer, ".");
      if (!matrices.contains(routing + "selected")) continue;
      prompt.routing.push_back(
          {layer, matrices[routing + "selected"], matrices[routing + "weights"]});
    }
    golden.prompts.push_back(std::move(prompt));
  }
  return golden;
}

}  // namespace tessera::testing
