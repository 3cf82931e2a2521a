#include "common/wire/call_wire.h"

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"

namespace tessera::wire {
namespace {

constexpr size_t kTraceBytes = 32;

template <typename... Parts>
absl::Status Broken(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat("a call ", parts...));
}

absl::Status CheckCounts(const FrameGeometry& g, const FrameHeader& h) {
  if (h.rows < 1 || h.rows > g.rows_max) {
    return Broken("has ", h.rows, " rows, expected 1..", g.rows_max);
  }
  if (h.pairs < 1 || h.pairs > g.pairs_max) {
    return Broken("has ", h.pairs, " pairs, expected 1..", g.pairs_max);
  }
  if (h.segments < 1 || h.segments > g.expert_count || h.segments > h.pairs) {
    return Broken("has ", h.segments, " segments for ", h.pairs, " pairs and ", g.expert_count,
                  " experts");
  }
  if (h.layer >= g.layer_count) {
    return Broken("is for layer ", h.layer, " of ", g.layer_count);
  }
  if (h.dtype != g.dtype_up || h.has(kStrict) != g.strict) {
    return Broken("has ", std::string(NameOf(h.dtype)), " rows and strict=", h.has(kStrict),
                  ", agreed were ", std::string(NameOf(g.dtype_up)), " and ", g.strict);
  }
  return absl::OkStatus();
}

// Pair counts add up, experts ascend, indices stay inside, weights are numbers.
absl::Status CheckPairs(const FrameGeometry& g, const CallView& call) {
  size_t pair = 0;
  int64_t last_expert = -1;
  for (const CallSegment& segment : call.segments) {
    const auto expert = static_cast<int64_t>(ToIndex(segment.expert));
    if (expert <= last_expert || expert >= static_cast<int64_t>(g.expert_count)) {
      return Broken("names expert ", expert, " after ", last_expert, " of ", g.expert_count);
    }
    last_expert = expert;
    const size_t left = call.pair_rows.size() - pair;
    if (segment.pair_count < 1 || segment.pair_count > left) {
      return Broken("gives expert ", expert, " ", segment.pair_count, " pairs of ", left, " left");
    }
    int32_t last_row = -1;
    for (const size_t end = pair + segment.pair_count; pair < end; ++pair) {
      const int32_t row = call.pair_rows[pair];
      if (row <= last_row || row >= static_cast<int64_t>(call.rows.rows)) {
        return Broken("names row ", row, " after ", last_row, " of ", call.rows.rows);
      }
      if (!std::isfinite(call.pair_weights[pair])) {
        return Broken("has a weight that is not finite, at pair ", pair);
      }
      last_row = row;
    }
  }
  if (pair != call.pair_rows.size()) {
    return Broken("has ", call.pair_rows.size(), " pairs, its segments only ", pair);
  }
  return absl::OkStatus();
}

void WriteTrace(const TraceContext& trace, std::byte* section) {
  std::memset(section, 0, kTraceBytes);
  std::memcpy(section, trace.trace.data(), sizeof trace.trace);
  std::memcpy(section + sizeof trace.trace, trace.span.data(), sizeof trace.span);
}

absl::StatusOr<TraceContext> ReadTrace(const std::byte* section) {
  TraceContext trace{.sampled = true};
  std::memcpy(trace.trace.data(), section, sizeof trace.trace);
  std::memcpy(trace.span.data(), section + sizeof trace.trace, sizeof trace.span);
  if (trace.trace == kNoTrace || trace.span == kNoSpan) return Broken("has a trace of zeros");
  return trace;
}

}  // namespace

CallLayout LayOutCall(const FrameGeometry& geometry, const CallCounts& counts) {
  CallLayout layout;
  layout.rows_offset = kFrameHeaderBytes;
  layout.segments_offset =
      AlignSection(layout.rows_offset + counts.rows * geometry.d_model * SizeOf(geometry.dtype_up));
  layout.pair_rows_offset =
      AlignSection(layout.segments_offset + counts.segments * sizeof(CallSegment));
  layout.pair_weights_offset =
      AlignSection(layout.pair_rows_offset + counts.pairs * sizeof(uint16_t));
  layout.frame_bytes = layout.pair_weights_offset + counts.pairs * sizeof(float);
  if (counts.traced) {
    layout.trace_offset = AlignSection(layout.frame_bytes);
    layout.frame_bytes = layout.trace_offset + kTraceBytes;
  }
  return layout;
}

absl::StatusOr<FrameHeader> WriteCall(const FrameGeometry& geometry, const CallOptions& options,
                                      const ShardPlan& plan, ConstMatrixView rows,
                                      std::span<std::byte> frame) {
  const CallCounts counts{plan.rows.size(), plan.segments.size(), plan.pair_rows.size(),
                          options.trace != nullptr};
  if (counts.rows < 1 || counts.rows > geometry.rows_max || counts.pairs > geometry.pairs_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("a call of ", counts.rows, " rows and ", counts.pairs, " pairs, expected 1..",
                     geometry.rows_max, " and at most ", geometry.pairs_max));
  }
  const CallLayout layout = LayOutCall(geometry, counts);
  if (frame.size() < layout.frame_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a call needs ", layout.frame_bytes, " bytes, the slot has ", frame.size()));
  }
  GatherRows(rows, plan.rows,
             {frame.data() + layout.rows_offset, geometry.dtype_up, counts.rows, geometry.d_model});
  for (size_t i = 0; i < counts.segments; ++i) {
    const PlanSegment& from = plan.segments[i];
    const CallSegment segment{from.slot, from.expert, from.weights_version, from.pair_count, 0};
    std::memcpy(frame.data() + layout.segments_offset + i * sizeof segment, &segment,
                sizeof segment);
  }
  std::byte* pair_row = frame.data() + layout.pair_rows_offset;
  for (const uint32_t row : plan.pair_rows) {  // below rows_max, which is 65536 at most
    const auto index = static_cast<uint16_t>(row);
    std::memcpy(pair_row, &index, sizeof index);
    pair_row += sizeof index;
  }
  std::memcpy(frame.data() + layout.pair_weights_offset, plan.pair_weights.data(),
              counts.pairs * sizeof(float));
  if (counts.traced) WriteTrace(*options.trace, frame.data() + layout.trace_offset);
  FrameHeader header;
  header.type = FrameType::kCall;
  header.flags = static_cast<uint16_t>(options.flags | (geometry.strict ? kStrict : 0) |
                                       (counts.traced ? kTraced : 0));
  header.layer = static_cast<uint16_t>(ToIndex(options.layer));
  header.micro_batch = options.micro_batch;
  header.dtype = geometry.dtype_up;
  header.epoch = options.epoch;
  header.rows = static_cast<uint32_t>(counts.rows);
  header.pairs = static_cast<uint32_t>(counts.pairs);
  header.budget_us = options.budget_us;
  header.attempt = options.attempt;
  header.priority = options.priority;
  header.segments = static_cast<uint16_t>(counts.segments);
  header.payload_bytes = static_cast<uint32_t>(layout.frame_bytes - kFrameHeaderBytes);
  return header;
}

absl::StatusOr<CallView> ReadCall(const FrameGeometry& geometry, const FrameHeader& header,
                                  std::span<const std::byte> frame) {
  TESSERA_CHECK(reinterpret_cast<uintptr_t>(frame.data()) % kFrameAlignment == 0);
  if (header.type != FrameType::kCall) return Broken("was expected, not another frame");
  TESSERA_RETURN_IF_ERROR(CheckCounts(geometry, header));
  const CallLayout layout =
      LayOutCall(geometry, {header.rows, header.segments, header.pairs, header.has(kTraced)});
  if (layout.frame_bytes != frame.size()) {
    return Broken("of ", frame.size(), " bytes should have ", layout.frame_bytes);
  }
  CallView call;
  call.header = header;
  call.rows = {frame.data() + layout.rows_offset, header.dtype, header.rows, geometry.d_model};
  const auto* segments =
      reinterpret_cast<const CallSegment*>(frame.data() + layout.segments_offset);
  call.segments.assign(segments, segments + header.segments);
  const auto* pair_rows = reinterpret_cast<const uint16_t*>(frame.data() + layout.pair_rows_offset);
  call.pair_rows.assign(pair_rows, pair_rows + header.pairs);
  call.pair_weights = {reinterpret_cast<const float*>(frame.data() + layout.pair_weights_offset),
                       header.pairs};
  TESSERA_RETURN_IF_ERROR(CheckPairs(geometry, call));
  if (header.has(kTraced)) {
    TESSERA_ASSIGN_OR_RETURN(call.trace, ReadTrace(frame.data() + layout.trace_offset));
  }
  return call;
}

}  // namespace tessera::wire
