#pragma once

// CALL: rows and, by expert, which of them it is applied to with what weight.
//
//   rows          [rows, d_model] of geometry.dtype_up, a row once however many experts it visits
//   segments      [segments], ascending expert id, none twice
//   pair rows     [pairs] uint16, index into rows; consecutive pairs belong to the segments in
//                 order, ascending within a segment
//   pair weights  [pairs] float32
//   trace         32 bytes, in a call that has kTraced: trace id 16, the sender's span id 8, zeros
//   8

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/moe/dispatch_plan.h"
#include "common/tracing/trace_context.h"
#include "common/wire/expert_wire.h"
#include "common/wire/rows_wire.h"

namespace tessera::wire {

// 24 bytes, as they travel.
struct CallSegment {
  uint32_t slot = 0;  // where the shard keeps the expert
  ExpertId expert{};  // whom the router believes to be there
  uint64_t weights_version = 0;
  uint32_t pair_count = 0;  // > 0
  uint32_t reserved = 0;
};
static_assert(sizeof(CallSegment) == 24);

struct CallCounts {
  size_t rows = 0;
  size_t segments = 0;
  size_t pairs = 0;
  bool traced = false;
};

// Where the sections lie, in bytes from the start of the frame.
struct CallLayout {
  size_t rows_offset = 0;
  size_t segments_offset = 0;
  size_t pair_rows_offset = 0;
  size_t pair_weights_offset = 0;
  size_t trace_offset = 0;  // only if traced
  size_t frame_bytes = 0;
};
CallLayout LayOutCall(const FrameGeometry& geometry, const CallCounts& counts);

// What stays the same for all calls of a step, and what a retry changes.
struct CallOptions {
  uint8_t micro_batch = 0;
  LayerIndex layer{};
  Epoch epoch{};
  uint32_t budget_us = 0;
  uint8_t attempt = 0;
  uint8_t priority = 0;
  uint16_t flags = 0;  // kHedge, kRetry, kLastAttempt; the others come from the rest
  const TraceContext* trace = nullptr;  // null: no trace section, not a byte of it; else sampled
};

// Writes the payload of the call that `plan` describes into `frame`, gathering its rows from `rows`
// ([any, d_model], float32). Returns the header, complete but for session, call id, slot and
// generation, which belong to the transport; the frame is ready after SealFrame.
//   kInvalidArgument  `plan` is empty or larger than the geometry allows
//   kResourceExhausted  `frame` is too small
absl::StatusOr<FrameHeader> WriteCall(const FrameGeometry& geometry, const CallOptions& options,
                                      const ShardPlan& plan, ConstMatrixView rows,
                                      std::span<std::byte> frame);

// A received call whose every length and index has been checked, and is ours since: the sender may
// share the frame's memory and change it later. Rows and weights are valid as long as the frame.
struct CallView {
  FrameHeader header;
  RowsView rows;
  std::vector<CallSegment> segments;
  std::vector<uint16_t> pair_rows;
  std::span<const float> pair_weights;
  std::optional<TraceContext> trace;  // sampled; what is done about the call is a span below it

  // Rows the reply has.
  size_t reply_rows() const { return header.has(kStrict) ? header.pairs : header.rows; }
};

// `frame` passed ReadHeader with this `header` and CheckPayload, and is aligned to kFrameAlignment.
// kDataLoss saying which count, index or weight is wrong: the sender is broken, not the line.
absl::StatusOr<CallView> ReadCall(const FrameGeometry& geometry, const FrameHeader& header,
                                  std::span<const std::byte> frame);

}  // namespace tessera::wire
