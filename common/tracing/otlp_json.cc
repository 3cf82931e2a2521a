#include "common/tracing/otlp_json.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/base/version.h"
#include "common/json/json_writer.h"

namespace tessera {
namespace {

// An AnyValue. 64-bit numbers are strings in protobuf's JSON.
struct ValueWriter {
  JsonWriter& json;

  void operator()(bool value) const { json.Open('{').Key("boolValue").Bool(value).Close('}'); }
  void operator()(int64_t value) const {
    json.Open('{').Key("intValue").String(absl::StrCat(value)).Close('}');
  }
  void operator()(double value) const {
    json.Open('{').Key("doubleValue").Number(value).Close('}');
  }
  void operator()(const std::string& value) const {
    json.Open('{').Key("stringValue").String(value).Close('}');
  }
  void operator()(const std::vector<std::string>& values) const {
    json.Open('{').Key("arrayValue").Open('{').Key("values").Open('[');
    for (const std::string& value : values) (*this)(value);
    json.Close(']').Close('}').Close('}');
  }
};

void WriteAttribute(std::string_view key, const SpanValue& value, JsonWriter& json) {
  json.Open('{').Key("key").String(key).Key("value");
  std::visit(ValueWriter{json}, value);
  json.Close('}');
}

void WriteTime(std::string_view key, absl::Time time, JsonWriter& json) {
  json.Key(key).String(absl::StrCat(absl::ToUnixNanos(time)));
}

void WriteSpan(const SpanRecord& span, JsonWriter& json) {
  json.Open('{').Key("traceId").String(HexOf(span.context.trace));
  json.Key("spanId").String(HexOf(span.context.span));
  if (span.parent != kNoSpan) json.Key("parentSpanId").String(HexOf(span.parent));
  json.Key("name").String(span.name);
  json.Key("kind").Integer(span.is_server ? 2 : 1);  // SPAN_KIND_SERVER, SPAN_KIND_INTERNAL
  json.Key("flags").Integer(span.context.sampled ? 1 : 0);
  WriteTime("startTimeUnixNano", span.start, json);
  WriteTime("endTimeUnixNano", span.end, json);
  json.Key("attributes").Open('[');
  for (const auto& [key, value] : span.attributes) WriteAttribute(key, value, json);
  if (!span.error_type.empty()) WriteAttribute("error.type", span.error_type, json);
  json.Close(']').Key("events").Open('[');
  for (const SpanEvent& event : span.events) {
    json.Open('{');
    WriteTime("timeUnixNano", event.at, json);
    json.Key("name").String(event.name).Close('}');
  }
  json.Close(']').Key("status").Open('{');
  if (!span.error_type.empty())
    json.Key("code").Integer(2);  // STATUS_CODE_ERROR; unset says nothing
  json.Close('}').Close('}');
}

}  // namespace

std::string WriteOtlpJson(const SpanResource& resource, std::span<const SpanRecord> spans) {
  std::string out;
  JsonWriter json(out);
  json.Open('{').Key("resourceSpans").Open('[').Open('{').Key("resource").Open('{');
  json.Key("attributes").Open('[');
  WriteAttribute("service.name", resource.service, json);
  WriteAttribute("service.version", std::string(Version()), json);
  if (!resource.instance.empty()) {
    WriteAttribute("service.instance.id", resource.instance, json);
  }
  json.Close(']').Close('}').Key("scopeSpans").Open('[').Open('{');
  json.Key("scope").Open('{').Key("name").String("tessera").Close('}').Key("spans").Open('[');
  for (const SpanRecord& span : spans) WriteSpan(span, json);
  json.Close(']').Close('}').Close(']').Close('}').Close(']').Close('}');
  return out;
}

}  // namespace tessera
