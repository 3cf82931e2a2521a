#include "common/kernels/weight_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/kernels/weight_layout.h"
#include "common/kernels/weight_pack.h"
#include "common/tensor/dtype.h"

namespace tessera::kernels {
namespace {

constexpr size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

absl::Status CheckSource(const TensorView& source) {
  switch (source.dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF8E4M3:
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("a weight matrix of dtype ", std::string(NameOf(source.dtype)),
                       " cannot be packed; F32, F16, BF16 and F8_E4M3 can"));
  }
  if (source.rows == 0 || source.cols == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a weight matrix of ", source.rows, " x ", source.cols, " has no elements"));
  }
  return absl::OkStatus();
}

// Says which weight of `source` cannot be packed; packing only told that there is one.
absl::Status NonFiniteError(const TensorView& source, WeightType type, size_t first, size_t count) {
  std::vector<float> row(source.cols);
  for (size_t r = first; r < std::min(first + count, source.rows); ++r) {
    ReadRow(source, r, row);
    for (size_t c = 0; c < row.size(); ++c) {
      const float value = type == WeightType::kBF16 ? ToFloat(ToBF16(row[c])) : row[c];
      if (std::isfinite(value)) continue;
      return absl::DataLossError(absl::StrCat("the weight at row ", r, ", column ", c, " is ",
                                              row[c], "; it must be finite as ",
                                              std::string(NameOf(type))));
    }
  }
  return absl::OkStatus();  // the other matrix of a pair holds it
}

// Rows of a tensor as PanelSource wants them: in place, or widened to float32 when the tensor is of
// another format or has block scales.
class SourceRows {
 public:
  explicit SourceRows(const TensorView& tensor)
      : tensor_(tensor),
        in_place_(tensor.scales.data == nullptr &&
                  (tensor.dtype == DType::kF32 || tensor.dtype == DType::kBF16)) {}
  bool is_bf16() const { return in_place_ && tensor_.dtype == DType::kBF16; }

  // Points out[0 .. count) to rows first, first + 1, ...; rows past the end to zeros.
  void Point(size_t first, size_t count, const std::byte** out) {
    const size_t row_bytes = tensor_.cols * (is_bf16() ? 2 : 4);
    if (!in_place_) widened_.resize(count * tensor_.cols);
    for (size_t i = 0; i < count; ++i) {
      const size_t row = first + i;
      if (row >= tensor_.rows) {
        zeros_.resize(row_bytes);
        out[i] = zeros_.data();
      } else if (in_place_) {
        out[i] = tensor_.data + row * row_bytes;
      } else {
        const std::span<float> wide(widened_.data() + i * tensor_.cols, tensor_.cols);
        ReadRow(tensor_, row, wide);
        out[i] = reinterpret_cast<const std::byte*>(wide.data());
      }
    }
  }

 private:
  const TensorView& tensor_;
  const bool in_place_;
  std::vector<float> widened_;
  std::vector<std::byte> zeros_;
};

bool PackPanel(const PanelSource& source, WeightType type, std::byte* panel) {
  // Not a choice of Compute: both ways give the same bytes.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) {
    return PackPanelAvx2(source, type, panel);
  }
  return PackPanelReference(source, type, panel);
}

absl::Status PackPlain(const TensorView& source, WeightType type, std::byte* out) {
  SourceRows rows(source);
  PanelSource panel{.inputs = source.cols, .is_bf16 = rows.is_bf16()};
  for (size_t first = 0; first < source.rows; first += kPanelOutputs) {
    rows.Point(first, kPanelOutputs, panel.rows.data());
    if (!PackPanel(panel, type, out)) return NonFiniteError(source, type, first, kPanelOutputs);
    out += PanelBytes(type, source.cols);
  }
  return absl::OkStatus();
}

absl::Status PackWoven(const TensorView& gate, const TensorView& up, WeightType type,
                       std::byte* out) {
  SourceRows gate_rows(gate);
  SourceRows up_rows(up);
  PanelSource panel{.inputs = gate.cols, .is_bf16 = gate_rows.is_bf16()};
  for (size_t first = 0; first < gate.rows; first += kTileOutputs) {
    gate_rows.Point(first, kTileOutputs, panel.rows.data());
    up_rows.Point(first, kTileOutputs, panel.rows.data() + kTileOutputs);
    if (!PackPanel(panel, type, out)) {
      TESSERA_RETURN_IF_ERROR(
          Annotate(NonFiniteError(gate, type, first, kTileOutputs), "gate projection"));
      return Annotate(NonFiniteError(up, type, first, kTileOutputs), "up projection");
    }
    out += PanelBytes(type, gate.cols);
  }
  return absl::OkStatus();
}

absl::Status CheckGateUp(const TensorView& gate, const TensorView& up) {
  TESSERA_RETURN_IF_ERROR(Annotate(CheckSource(gate), "gate projection"));
  TESSERA_RETURN_IF_ERROR(Annotate(CheckSource(up), "up projection"));
  if (gate.rows == up.rows && gate.cols == up.cols && gate.dtype == up.dtype &&
      (gate.scales.data == nullptr) == (up.scales.data == nullptr)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("gate and up projection must have one shape and one dtype; they are ", gate.rows,
                   " x ", gate.cols, " ", std::string(NameOf(gate.dtype)), " and ", up.rows, " x ",
                   up.cols, " ", std::string(NameOf(up.dtype))));
}

absl::Status CheckTarget(std::span<const std::byte> bytes, size_t needed) {
  if (bytes.size() != needed || reinterpret_cast<uintptr_t>(bytes.data()) % kLineBytes != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the memory to pack into must be ", needed,
                     " bytes on a 64-byte border, but is ", bytes.size(), " bytes at ",
                     reinterpret_cast<uintptr_t>(bytes.data()) % kLineBytes, " past one"));
  }
  return absl::OkStatus();
}

float ReadPacked(WeightType type, const std::byte* panel, size_t output, size_t k) {
  const std::byte* block = panel + k / kBlockInputs * BlockBytes(type);
  const std::byte* tile = block + TileOffset(type, output / kTileOutputs);
  const size_t n = output % kTileOutputs;
  const size_t j = k % kBlockInputs;
  if (type == WeightType::kF32) {
    float value;
    std::memcpy(&value, tile + j * kLineBytes + n * 4, sizeof(value));
    return value;
  }
  if (type == WeightType::kBF16) {
    BF16 value;
    std::memcpy(&value, tile + j / 2 * kLineBytes + n * 4 + j % 2 * 2, sizeof(value));
    return ToFloat(value);
  }
  F16 scale;
  std::memcpy(&scale, block + output * sizeof(scale), sizeof(scale));
  if (type == WeightType::kQ8) {
    const auto value = static_cast<int8_t>(tile[j / 4 * kLineBytes + n * 4 + j % 4]);
    return ToFloat(scale) * static_cast<float>(value);
  }
  const auto byte = static_cast<uint8_t>(tile[j / 4 % 4 * kLineBytes + n * 4 + j % 4]);
  return ToFloat(scale) * static_cast<float>((j < 16 ? byte & 15 : byte >> 4) - 8);
}

}  // namespace

std::string_view NameOf(WeightType type) {
  constexpr std::array<std::string_view, 4> kNames = {"f32", "bf16", "q8", "q4"};
  return kNames[static_cast<size_t>(type)];
}

size_t WeightMatrix::PackedBytes(WeightType type, size_t outputs, size_t inputs) {
  return PanelCount(outputs) * PanelBytes(type, inputs);
}

size_t WeightMatrix::PackedGateUpBytes(WeightType type, size_t width, size_t inputs) {
  return PackedBytes(type, 2 * RoundUp(width, kTileOutputs), inputs);
}

absl::StatusOr<WeightMatrix> WeightMatrix::Pack(const TensorView& source, WeightType type) {
  TESSERA_RETURN_IF_ERROR(CheckSource(source));
  TESSERA_ASSIGN_OR_RETURN(AlignedBuffer buffer,
                           AlignedBuffer::Allocate(PackedBytes(type, source.rows, source.cols)));
  TESSERA_ASSIGN_OR_RETURN(WeightMatrix matrix,
                           PackInto(source, type, {buffer.data(), buffer.size_bytes()}));
  matrix.owned_ = std::move(buffer);
  return matrix;
}

absl::StatusOr<WeightMatrix> WeightMatrix::PackGateUp(const TensorView& gate, const TensorView& up,
                                                      WeightType type) {
  TESSERA_RETURN_IF_ERROR(CheckGateUp(gate, up));
  TESSERA_ASSIGN_OR_RETURN(AlignedBuffer buffer,
                           AlignedBuffer::Allocate(PackedGateUpBytes(type, gate.rows, gate.cols)));
  TESSERA_ASSIGN_OR_RETURN(WeightMatrix matrix,
                           PackGateUpInto(gate, up, type, {buffer.data(), buffer.size_bytes()}));
  matrix.owned_ = std::move(buffer);
  return matrix;
}

absl::StatusOr<WeightMatrix> WeightMatrix::PackInto(const TensorView& source, WeightType type,
                                                    std::span<std::byte> bytes) {
  TESSERA_RETURN_IF_ERROR(CheckSource(source));
  TESSERA_RETURN_IF_ERROR(CheckTarget(bytes, PackedBytes(type, source.rows, source.cols)));
  TESSERA_RETURN_IF_ERROR(PackPlain(source, type, bytes.data()));
  WeightMatrix matrix;
  matrix.data_ = bytes.data();
  matrix.size_bytes_ = bytes.size();
  matrix.outputs_ = source.rows;
  matrix.inputs_ = source.cols;
  matrix.type_ = type;
  return matrix;
}

absl::StatusOr<WeightMatrix> WeightMatrix::PackGateUpInto(const TensorView& gate,
                                                          const TensorView& up, WeightType type,
                                                          std::span<std::byte> bytes) {
  TESSERA_RETURN_IF_ERROR(CheckGateUp(gate, up));
  TESSERA_RETURN_IF_ERROR(CheckTarget(bytes, PackedGateUpBytes(type, gate.rows, gate.cols)));
  TESSERA_RETURN_IF_ERROR(PackWoven(gate, up, type, bytes.data()));
  WeightMatrix matrix;
  matrix.data_ = bytes.data();
  matrix.size_bytes_ = bytes.size();
  matrix.outputs_ = 2 * RoundUp(gate.rows, kTileOutputs);
  matrix.inputs_ = gate.cols;
  matrix.type_ = type;
  matrix.gate_up_ = true;
  return matrix;
}

absl::StatusOr<WeightMatrix> WeightMatrix::Borrow(const TensorView& source) {
  TESSERA_RETURN_IF_ERROR(CheckSource(source));
  if ((source.dtype != DType::kF32 && source.dtype != DType::kBF16) ||
      source.scales.data != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("weights of dtype ", std::string(NameOf(source.dtype)),
                     source.scales.data != nullptr ? " with block scales" : "",
                     " cannot be used without packing; F32 and BF16 without scales can"));
  }
  WeightMatrix matrix;
  matrix.data_ = source.data;
  matrix.size_bytes_ = source.size_bytes();
  matrix.outputs_ = source.rows;
  matrix.inputs_ = source.cols;
  matrix.type_ = source.dtype == DType::kF32 ? WeightType::kF32 : WeightType::kBF16;
  matrix.layout_ = WeightLayout::kRows;
  return matrix;
}

void WeightMatrix::ReadRow(size_t row, std::span<float> out) const {
  TESSERA_CHECK(row < outputs_ && out.size() == inputs_);
  if (layout_ == WeightLayout::kRows) {
    const DType dtype = type_ == WeightType::kF32 ? DType::kF32 : DType::kBF16;
    tessera::ReadRow({.data = data_, .dtype = dtype, .rows = outputs_, .cols = inputs_}, row, out);
    return;
  }
  size_t panel = row / kPanelOutputs;
  size_t output = row % kPanelOutputs;
  if (gate_up_) {
    const size_t width = outputs_ / 2;
    panel = row % width / kTileOutputs;
    output = row / width * kTileOutputs + row % width % kTileOutputs;
  }
  const std::byte* bytes = data_ + panel * PanelBytes(type_, inputs_);
  for (size_t k = 0; k < inputs_; ++k) out[k] = ReadPacked(type_, bytes, output, k);
}

}  // namespace tessera::kernels
