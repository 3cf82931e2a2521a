#pragma once

// A collector of traces as services see it: takes OTLP's JSON at /v1/traces and keeps the spans.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/http/http_server.h"

namespace tessera::testing {

// As it was sent; ids in hex.
struct CollectedSpan {
  std::string service;
  std::string instance;  // "": none
  std::string trace;
  std::string span;
  std::string parent;  // "": none
  std::string name;
  int64_t kind = 0;
  int64_t start_ns = 0;
  int64_t end_ns = 0;
  bool has_failed = false;
  std::map<std::string, std::string> attributes;  // values as text; of a list its first
  std::vector<std::string> events;
};

// Thread-safe.
class TraceCollector {
 public:
  // Listens on `listen`; a free port of the loopback by default. Answers posts with `status`.
  explicit TraceCollector(int status = 200, std::string listen = "127.0.0.1:0");

  std::string endpoint() const { return "http://" + server_->address(); }
  std::string address() const { return server_->address(); }
  size_t post_count() const;
  std::vector<CollectedSpan> spans() const;
  // Waits until that many spans are here; false: not within 20 s.
  bool AwaitSpans(size_t count) const;
  bool AwaitPosts(size_t count) const;

 private:
  HttpReply Take(const HttpRequest& request);

  const int status_;
  mutable absl::Mutex mutex_;
  size_t posts_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<CollectedSpan> spans_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<HttpServer> server_;
};

}  // namespace tessera::testing
