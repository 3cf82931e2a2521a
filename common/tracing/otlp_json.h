#pragma once

// Spans as OTLP's JSON: the body of POST /v1/traces (opentelemetry-proto, ExportTraceServiceRequest
// in the JSON mapping that the OTLP specification gives: ids as hex, 64-bit numbers as strings).

#include <span>
#include <string>

#include "common/tracing/span.h"

namespace tessera {

// Who speaks: the resource of all spans.
struct SpanResource {
  std::string service;   // "tessera-router"
  std::string instance;  // tells the processes of a service apart; may be empty
};

std::string WriteOtlpJson(const SpanResource& resource, std::span<const SpanRecord> spans);

}  // namespace tessera
