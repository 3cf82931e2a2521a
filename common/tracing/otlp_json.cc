#include "common/tracing/otlp_json.h"

#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/version.h"
#include "common/text/utf8.h"

namespace tessera {
namespace {

// Bytes that are no UTF-8 become U+FFFD: a model's name is what a client made of it.
void AddString(std::string_view text, std::string& out) {
  std::string whole;
  AppendLossy(text, /*final=*/true, &whole);
  out.push_back('"');
  for (const char c : whole) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

// An AnyValue.
struct ValueWriter {
  std::string& out;

  void operator()(bool value) const {
    absl::StrAppend(&out, "{\"boolValue\":", value ? "true" : "false", "}");
  }
  void operator()(int64_t value) const { absl::StrAppend(&out, "{\"intValue\":\"", value, "\"}"); }
  void operator()(double value) const {
    // JSON has neither infinity nor NaN.
    absl::StrAppendFormat(&out, "{\"doubleValue\":%.9g}", std::isfinite(value) ? value : 0);
  }
  void operator()(const std::string& value) const {
    out += "{\"stringValue\":";
    AddString(value, out);
    out.push_back('}');
  }
  void operator()(const std::vector<std::string>& values) const {
    out += "{\"arrayValue\":{\"values\":[";
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out.push_back(',');
      (*this)(values[i]);
    }
    out += "]}}";
  }
};

void AddAttribute(std::string_view key, const SpanValue& value, std::string& out) {
  if (out.back() == '}') out.push_back(',');
  out += "{\"key\":";
  AddString(key, out);
  out += ",\"value\":";
  std::visit(ValueWriter{out}, value);
  out.push_back('}');
}

void AddTime(std::string_view key, absl::Time time, std::string& out) {
  absl::StrAppend(&out, "\"", std::string(key), "\":\"", absl::ToUnixNanos(time), "\"");
}

void AddSpan(const SpanRecord& span, std::string& out) {
  absl::StrAppend(&out, "{\"traceId\":\"", HexOf(span.context.trace), "\",\"spanId\":\"",
                  HexOf(span.context.span), "\",");
  if (span.parent != kNoSpan) {
    absl::StrAppend(&out, "\"parentSpanId\":\"", HexOf(span.parent), "\",");
  }
  out += "\"name\":";
  AddString(span.name, out);
  // SPAN_KIND_INTERNAL is 1, SPAN_KIND_SERVER 2.
  absl::StrAppend(&out, ",\"kind\":", span.is_server ? 2 : 1,
                  ",\"flags\":", span.context.sampled ? 1 : 0, ",");
  AddTime("startTimeUnixNano", span.start, out);
  out.push_back(',');
  AddTime("endTimeUnixNano", span.end, out);
  out += ",\"attributes\":[";
  for (const auto& [key, value] : span.attributes) AddAttribute(key, value, out);
  if (!span.error_type.empty()) AddAttribute("error.type", span.error_type, out);
  out += "],\"events\":[";
  for (size_t i = 0; i < span.events.size(); ++i) {
    out += i > 0 ? ",{" : "{";
    AddTime("timeUnixNano", span.events[i].at, out);
    out += ",\"name\":";
    AddString(span.events[i].name, out);
    out.push_back('}');
  }
  // STATUS_CODE_ERROR is 2; unset says nothing.
  absl::StrAppend(&out, "],\"status\":{", span.error_type.empty() ? "" : "\"code\":2", "}}");
}

}  // namespace

std::string WriteOtlpJson(const SpanResource& resource, std::span<const SpanRecord> spans) {
  std::string out = "{\"resourceSpans\":[{\"resource\":{\"attributes\":[";
  AddAttribute("service.name", resource.service, out);
  AddAttribute("service.version", std::string(Version()), out);
  if (!resource.instance.empty()) AddAttribute("service.instance.id", resource.instance, out);
  out += "]},\"scopeSpans\":[{\"scope\":{\"name\":\"tessera\"},\"spans\":[";
  for (size_t i = 0; i < spans.size(); ++i) {
    if (i > 0) out.push_back(',');
    AddSpan(spans[i], out);
  }
  out += "]}]}]}";
  return out;
}

}  // namespace tessera
