#pragma once

// A piece of work under a name, with a beginning, an end and a parent. Never prompt text: what is
// said here leaves for a collector.

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "common/tracing/trace_context.h"

namespace tessera {

// Strings are UTF-8.
using SpanValue = std::variant<bool, int64_t, double, std::string, std::vector<std::string>>;

struct SpanEvent {
  std::string name;
  absl::Time at;
};

struct SpanRecord {
  TraceContext context;    // its own id in `span`
  SpanId parent{};         // kNoSpan: it begins the trace
  std::string name;        // of few values: "chat trinity-nano"
  bool is_server = true;   // the callee's side of a call; false: inside a process
  absl::Time start;        // wall clock
  absl::Time end;          // >= start
  std::string error_type;  // "": it went well; else a word of few values
  std::vector<std::pair<std::string, SpanValue>> attributes;
  std::vector<SpanEvent> events;
};

}  // namespace tessera
