#pragma once

// Which trace a request belongs to, as it goes from process to process: the W3C's `traceparent`
// (https://www.w3.org/TR/trace-context/), version 00.
//
//   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//      trace id, 16 bytes               span id, 8       flags; bit 0: sampled

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

using TraceId = std::array<uint8_t, 16>;
using SpanId = std::array<uint8_t, 8>;

inline constexpr TraceId kNoTrace = {};
inline constexpr SpanId kNoSpan = {};

struct TraceContext {
  TraceId trace{};       // not kNoTrace
  SpanId span{};         // of the sender; the parent of what the receiver does. Not kNoSpan
  bool sampled = false;  // spans are wanted

  friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

// Nothing unless `text` is exactly what version 00 allows: 55 bytes, hex in lower case, ids that
// are not zero. A sender's unknown flags are dropped. Whoever gets nothing begins a trace of its
// own.
std::optional<TraceContext> ParseTraceparent(std::string_view text);
std::string FormatTraceparent(const TraceContext& context);

// "4bf92f3577b34da6a3ce929d0e0e4736"
std::string HexOf(const TraceId& id);
std::string HexOf(const SpanId& id);

}  // namespace tessera
