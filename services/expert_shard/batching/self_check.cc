#include "services/expert_shard/batching/self_check.h"

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/moe/reference.h"
#include "common/tensor/matrix.h"
#include "services/expert_shard/batching/row_batcher.h"

namespace tessera::expert_shard {
namespace {

constexpr size_t kRows = 3;
constexpr float kWeight = 0.75f;

// Keeps the one answer.
class OneAnswer final : public CallAnswers {
 public:
  void Reply(IncomingCall, const wire::ReplyTrailer&) override { reason = wire::NackReason::kNone; }
  void Nack(IncomingCall, wire::NackReason why, Epoch) override { reason = why; }
  wire::NackReason reason = wire::NackReason::kFailed;
};

Matrix Widen(const TensorView& tensor) {
  Matrix matrix(tensor.rows, tensor.cols);
  for (size_t row = 0; row < tensor.rows; ++row) ReadRow(tensor, row, matrix.row(row));
  return matrix;
}

// Relative error of a whole answer (root of the mean square) that number format and arithmetic
// explain; a wrong weight block or row gives an error near 1.
double Tolerance(kernels::WeightType type, kernels::Arithmetic arithmetic) {
  if (type == kernels::WeightType::kQ4) return 0.35;
  if (type == kernels::WeightType::kQ8) return 0.05;
  return type == kernels::WeightType::kF32 && arithmetic == kernels::Arithmetic::kFloat32 ? 1e-4
                                                                                          : 0.03;
}

Matrix KnownRows(size_t d_model) {
  Matrix rows(kRows, d_model);
  Random random(1);
  for (float& value : rows.values()) value = static_cast<float>(random.Uniform() * 2 - 1);
  return rows;
}

// The answer of the batcher, computed in `reply`.
absl::Status AskBatcher(RowBatcher& batcher, OneAnswer& answer, const wire::FrameGeometry& geometry,
                        const HeldExpert& held, ConstMatrixView rows, std::span<std::byte> reply) {
  ShardPlan plan;
  plan.segments = {{held.unit.expert, held.slot, held.weights_version, kRows}};
  for (uint32_t row = 0; row < kRows; ++row) {
    plan.rows.push_back(row);
    plan.pair_rows.push_back(row);
    plan.pair_weights.push_back(kWeight);
  }
  std::vector<uint64_t> memory(wire::CallBytesMax(geometry) / sizeof(uint64_t) + 1);
  const std::span<std::byte> space = std::as_writable_bytes(std::span(memory));
  TESSERA_ASSIGN_OR_RETURN(
      const wire::FrameHeader header,
      wire::WriteCall(geometry, {.layer = held.unit.layer}, plan, rows, space));
  const auto frame = wire::SealFrame(header, /*checksum_payload=*/true, space);
  TESSERA_ASSIGN_OR_RETURN(const wire::FrameHeader read, wire::ReadHeader(frame));
  std::vector<IncomingCall> calls(1);
  calls[0].geometry = geometry;
  calls[0].reply_frame = reply;
  TESSERA_ASSIGN_OR_RETURN(calls[0].call, wire::ReadCall(geometry, read, frame));
  batcher.Add(calls);
  batcher.RunBatch();
  if (answer.reason == wire::NackReason::kNone) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the self check of ", NameOf(held.unit), " was refused: ",
                                          std::string(wire::NameOf(answer.reason))));
}

double RelativeError(const ExpertStore& store, const ExpertUnit& unit, ConstMatrixView rows,
                     ConstMatrixView got) {
  const SwiGluTensors& tensors = store.manifest().expert(unit.layer, unit.expert);
  const Matrix gate = Widen(tensors.gate);
  const Matrix up = Widen(tensors.up);
  const Matrix down = Widen(tensors.down);
  for (const TensorView& tensor : {tensors.gate, tensors.up, tensors.down}) {
    store.checkpoint().Release(tensor);
  }
  std::vector<double> expected(rows.cols());
  double error = 0;
  double size = 0;
  for (size_t row = 0; row < rows.rows(); ++row) {
    ExpertReference({gate.view(), up.view(), down.view()}, rows.row(row), expected);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double want = kWeight * expected[i];
      error += (got.row(row)[i] - want) * (got.row(row)[i] - want);
      size += want * want;
    }
  }
  return size > 0 ? std::sqrt(error / size) : std::sqrt(error);
}

}  // namespace

absl::Status SelfCheck(const ModelSpec& spec, const ExpertStore& store,
                       const kernels::Compute& compute, const Clock& clock) {
  const auto table = store.Snapshot();
  std::vector<const HeldExpert*> held = table->ByUnit();
  if (held.empty()) return absl::OkStatus();
  if (held.size() > 1) held = {held.front(), held.back()};
  Registry registry;
  BatchMetrics metrics(registry, {});
  OneAnswer answer;
  RowBatcher batcher({}, {spec, store, compute, answer, clock, metrics}, {});
  const wire::FrameGeometry geometry{.d_model = static_cast<uint32_t>(spec.d_model),
                                     .layer_count = static_cast<uint32_t>(spec.layer_count),
                                     .expert_count = static_cast<uint32_t>(spec.expert_count),
                                     .rows_max = kRows,
                                     .pairs_max = kRows,
                                     .dtype_up = wire::RowDType::kF32,
                                     .dtype_down = wire::RowDType::kF32};
  std::vector<uint64_t> reply(wire::ReplyBytesMax(geometry) / sizeof(uint64_t) + 1);
  const std::span<std::byte> frame = std::as_writable_bytes(std::span(reply));
  const Matrix rows = KnownRows(spec.d_model);
  const double tolerance = Tolerance(store.weight_type(), compute.arithmetic);
  for (const HeldExpert* each : held) {
    TESSERA_RETURN_IF_ERROR(AskBatcher(batcher, answer, geometry, *each, rows.view(), frame));
    const double error = RelativeError(store, each->unit, rows.view(),
                                       wire::ReplyRows(geometry, kRows, frame).f32());
    if (error <= tolerance) continue;  // false for NaN
    return absl::InternalError(absl::StrCat(
        "the self check of ", NameOf(each->unit), " is off by ", error, " (relative), at most ",
        tolerance, " is explained by ", std::string(NameOf(store.weight_type()))));
  }
  return absl::OkStatus();
}

}  // namespace tessera::expert_shard
