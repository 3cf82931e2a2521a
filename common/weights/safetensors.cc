#include "common/weights/safetensors.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/json/json.h"

namespace tessera {
namespace {

constexpr uint64_t kPrefixBytes = 8;
constexpr uint64_t kHeaderBytesMax = 100'000'000;  // the format's own limit
constexpr size_t kRankMax = 8;

uint64_t LoadLittleEndian64(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kPrefixBytes; ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

absl::StatusOr<std::string_view> FindHeader(std::span<const std::byte> file) {
  if (file.size() < kPrefixBytes)
    return absl::DataLossError(
        absl::StrCat("the file has ", file.size(), " bytes; a safetensors file has 10 at least"));
  const uint64_t header_bytes = LoadLittleEndian64(file);
  if (header_bytes > kHeaderBytesMax)
    return absl::DataLossError(absl::StrCat("the header claims ", header_bytes,
                                            " bytes; the format allows ", kHeaderBytesMax));
  if (header_bytes > file.size() - kPrefixBytes)
    return absl::DataLossError(absl::StrCat("the header claims ", header_bytes, " bytes, but only ",
                                            file.size() - kPrefixBytes,
                                            " follow: the file is truncated"));
  return std::string_view(reinterpret_cast<const char*>(file.data()) + kPrefixBytes, header_bytes);
}

absl::Status ReadShape(const JsonValue& entry, StoredTensor& tensor, uint64_t& elements) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue shape, entry.Member("shape"));
  TESSERA_RETURN_IF_ERROR(shape.AsArray().status());
  if (shape.size() > kRankMax)
    return shape.Unexpected(absl::StrCat("at most ", kRankMax, " dimensions"));
  elements = 1;
  for (const JsonValue dimension : shape.elements()) {
    TESSERA_ASSIGN_OR_RETURN(const uint64_t size, dimension.AsUnsigned(0, uint64_t{1} << 60));
    if (__builtin_mul_overflow(elements, size, &elements))
      return shape.Unexpected("a shape whose product fits 64 bits");
    tensor.shape.push_back(size);
  }
  return absl::OkStatus();
}

// `data_begin` and `data_bytes`: where the data part lies in the file.
absl::StatusOr<StoredTensor> ReadEntry(const JsonValue& entry, uint64_t data_begin,
                                       uint64_t data_bytes) {
  StoredTensor tensor;
  tensor.name = std::string(entry.key());
  TESSERA_ASSIGN_OR_RETURN(const JsonValue dtype, entry.Member("dtype"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view dtype_name, dtype.AsString());
  TESSERA_ASSIGN_OR_RETURN(tensor.dtype, ParseDType(dtype_name));
  uint64_t elements = 0;
  TESSERA_RETURN_IF_ERROR(ReadShape(entry, tensor, elements));

  TESSERA_ASSIGN_OR_RETURN(const JsonValue offsets, entry.Member("data_offsets"));
  if (!offsets.is_array() || offsets.size() != 2) return offsets.Unexpected("two numbers");
  TESSERA_ASSIGN_OR_RETURN(const uint64_t begin, offsets.at(0).AsUnsigned());
  TESSERA_ASSIGN_OR_RETURN(const uint64_t end, offsets.at(1).AsUnsigned());
  if (begin > end || end > data_bytes)
    return absl::DataLossError(absl::StrCat("data_offsets [", begin, ", ", end,
                                            "] leave the data part of ", data_bytes,
                                            " bytes: the file is truncated or the header damaged"));
  uint64_t size_bytes = 0;
  if (__builtin_mul_overflow(elements, SizeOf(tensor.dtype), &size_bytes) ||
      size_bytes != end - begin)
    return absl::DataLossError(absl::StrCat(
        "data_offsets span ", end - begin, " bytes, but ", std::string(NameOf(tensor.dtype)), " ",
        ShapeText(tensor.shape), " takes ", elements, " times ", SizeOf(tensor.dtype)));
  tensor.offset = data_begin + begin;
  tensor.size_bytes = size_bytes;
  return tensor;
}

// The format wants the data part covered exactly once. `tensors` ascend by offset.
absl::Status CheckCover(const std::vector<StoredTensor>& tensors, uint64_t data_begin,
                        uint64_t data_end) {
  uint64_t covered = data_begin;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.offset != covered)
      return absl::DataLossError(absl::StrCat(
          "tensor '", tensor.name, "' begins at data offset ", tensor.offset - data_begin, ", ",
          tensor.offset < covered ? "inside the one before it" : "behind a gap", "; expected ",
          covered - data_begin));
    covered += tensor.size_bytes;
  }
  if (covered == data_end) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the tensors end at data offset ", covered - data_begin,
                                          ", but the file holds ", data_end - data_begin,
                                          " bytes of data"));
}

}  // namespace

std::string ShapeText(std::span<const uint64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape.begin(), shape.end(), ", "), "]");
}

absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(std::span<const std::byte> file) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view header, FindHeader(file));
  absl::StatusOr<JsonDocument> document =
      JsonDocument::Parse(header, {.bytes_max = kHeaderBytesMax, .depth_max = 4});
  if (!document.ok())
    return absl::DataLossError(absl::StrCat("header: ", document.status().message()));
  if (!document->root().is_object()) return absl::DataLossError("header: not a JSON object");

  const uint64_t data_begin = kPrefixBytes + header.size();
  std::vector<StoredTensor> tensors;
  tensors.reserve(document->root().size());
  for (auto [name, entry] : document->root().members()) {
    if (name == "__metadata__") continue;
    absl::StatusOr<StoredTensor> tensor = ReadEntry(entry, data_begin, file.size() - data_begin);
    if (!tensor.ok())
      return absl::DataLossError(
          absl::StrCat("tensor '", std::string(name), "': ", tensor.status().message()));
    tensors.push_back(std::move(tensor).value());
  }
  // Empty tensors share an offset with their successor and come before it.
  std::stable_sort(
      tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
        return a.offset != b.offset ? a.offset < b.offset : a.size_bytes < b.size_bytes;
      });
  TESSERA_RETURN_IF_ERROR(CheckCover(tensors, data_begin, file.size()));
  return tensors;
}

}  // namespace tessera
