#include "tests/support/safetensors_writer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "tests/support/temp_folder.h"

namespace tessera::testing {
namespace {

template <typename T>
void Append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

}  // namespace

std::string Encode(std::span<const float> values, DType dtype) {
  std::string bytes;
  bytes.reserve(values.size() * SizeOf(dtype));
  for (const float value : values) {
    switch (dtype) {
      case DType::kF32:
        Append(bytes, value);
        break;
      case DType::kF16:
        Append(bytes, ToF16(value));
        break;
      case DType::kBF16:
        Append(bytes, ToBF16(value));
        break;
      case DType::kF8E4M3:
        Append(bytes, ToF8E4M3(value));
        break;
      default:
        TESSERA_CHECK(!"values are encoded as F32, F16, BF16 or F8_E4M3");
    }
  }
  return bytes;
}

std::string SafetensorsFile(std::string_view header, std::string_view data) {
  std::string file;
  Append(file, static_cast<uint64_t>(header.size()));
  file.append(header).append(data);
  return file;
}

std::string SafetensorsFile(std::span<const FileTensor> tensors) {
  std::string header = R"({"__metadata__": {"format": "pt"})";
  std::string data;
  for (const FileTensor& tensor : tensors) {
    absl::StrAppend(&header, ", \"", tensor.name, "\": {\"dtype\": \"",
                    std::string(NameOf(tensor.dtype)), "\", \"shape\": [",
                    absl::StrJoin(tensor.shape, ", "), "], \"data_offsets\": [", data.size(), ", ",
                    data.size() + tensor.bytes.size(), "]}");
    data += tensor.bytes;
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  return SafetensorsFile(header, data);
}

void WriteCheckpoint(const std::string& directory, std::span<const FileTensor> tensors,
                     size_t shard_count) {
  TESSERA_CHECK(shard_count > 0);
  if (shard_count == 1) {
    WriteFile(absl::StrCat(directory, "/model.safetensors"), SafetensorsFile(tensors));
    return;
  }
  std::vector<std::string> entries;
  for (size_t shard = 0; shard < shard_count; ++shard) {
    const size_t begin = tensors.size() * shard / shard_count;
    const size_t end = tensors.size() * (shard + 1) / shard_count;
    const std::string name =
        absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, shard_count);
    WriteFile(absl::StrCat(directory, "/", name),
              SafetensorsFile(tensors.subspan(begin, end - begin)));
    for (size_t i = begin; i < end; ++i)
      entries.push_back(absl::StrCat("\"", tensors[i].name, "\": \"", name, "\""));
  }
  WriteFile(
      absl::StrCat(directory, "/model.safetensors.index.json"),
      absl::StrCat(R"({"metadata": {}, "weight_map": {)", absl::StrJoin(entries, ", "), "}}"));
}

}  // namespace tessera::testing
