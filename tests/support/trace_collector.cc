#include "tests/support/trace_collector.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/json/json.h"

namespace tessera::testing {
namespace {

std::string TextOf(const JsonValue& object, std::string_view key) {
  const auto value = object.Find(key);
  return value && value->is_string() ? std::string(*value->AsString()) : "";
}

// An AnyValue.
std::string ValueText(const JsonValue& value) {
  if (const auto list = value.Find("arrayValue")) {
    return ValueText(list->Find("values")->at(0));
  }
  for (const auto& [kind, content] : value.members()) {
    if (content.is_string()) return std::string(*content.AsString());
    if (content.is_bool()) return *content.AsBool() ? "true" : "false";
    if (content.is_number()) return absl::StrCat(*content.AsNumber());
  }
  return "";
}

std::map<std::string, std::string> AttributesOf(const JsonValue& object) {
  std::map<std::string, std::string> attributes;
  const auto list = object.Find("attributes");
  if (!list) return attributes;
  for (const JsonValue entry : list->elements()) {
    attributes[TextOf(entry, "key")] = ValueText(*entry.Find("value"));
  }
  return attributes;
}

CollectedSpan SpanOf(const JsonValue& from, std::map<std::string, std::string> resource) {
  CollectedSpan span;
  span.service = resource["service.name"];
  span.instance = resource["service.instance.id"];
  span.trace = TextOf(from, "traceId");
  span.span = TextOf(from, "spanId");
  span.parent = TextOf(from, "parentSpanId");
  span.name = TextOf(from, "name");
  span.kind = *from.Find("kind")->AsInteger();
  span.start_ns = std::atoll(TextOf(from, "startTimeUnixNano").c_str());
  span.end_ns = std::atoll(TextOf(from, "endTimeUnixNano").c_str());
  span.has_failed = from.Find("status")->Find("code").has_value();
  span.attributes = AttributesOf(from);
  for (const JsonValue event : from.Find("events")->elements()) {
    span.events.push_back(TextOf(event, "name"));
  }
  return span;
}

}  // namespace

TraceCollector::TraceCollector(int status, std::string listen) : status_(status) {
  HttpServerConfig config;
  config.listen = std::move(listen);
  config.body_bytes_max = size_t{16} << 20;
  auto server = HttpServer::Start(
      config, {{"POST", "/v1/traces", [this](const HttpRequest& r) { return Take(r); }}});
  EXPECT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
}

HttpReply TraceCollector::Take(const HttpRequest& request) {
  const auto document = JsonDocument::Parse(request.body);
  EXPECT_TRUE(document.ok()) << document.status() << request.body;
  absl::MutexLock lock(&mutex_);
  ++posts_;
  if (status_ != 200 || !document.ok()) return HttpReply::Json(status_, "{}");
  for (const JsonValue resource : document->root().Find("resourceSpans")->elements()) {
    const auto attributes = AttributesOf(*resource.Find("resource"));
    for (const JsonValue scope : resource.Find("scopeSpans")->elements()) {
      for (const JsonValue span : scope.Find("spans")->elements()) {
        spans_.push_back(SpanOf(span, attributes));
      }
    }
  }
  return HttpReply::Json(200, "{\"partialSuccess\":{}}");
}

size_t TraceCollector::post_count() const {
  absl::MutexLock lock(&mutex_);
  return posts_;
}

std::vector<CollectedSpan> TraceCollector::spans() const {
  absl::MutexLock lock(&mutex_);
  return spans_;
}

bool TraceCollector::AwaitSpans(size_t count) const {
  const auto there = [this, count]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return spans_.size() >= count; };
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(20));
}

bool TraceCollector::AwaitPosts(size_t count) const {
  const auto there = [this, count]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return posts_ >= count; };
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(20));
}

}  // namespace tessera::testing
