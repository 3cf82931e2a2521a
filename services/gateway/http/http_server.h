#pragma once

// The front door: HTTP/1.1 over TCP or TLS.
//
//   connection --bytes--> parser --HttpRequest--> handler
//   handler, or anyone later --HttpReply--> the connection's thread --bytes--> client
//
// A connection stays on one I/O thread for its life. Requests of one connection are served one
// after the other (pipelined ones wait in the buffer). While a reply is under way the connection is
// still read, so that a client that went away is noticed though nothing is written.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "services/gateway/http/http_types.h"

namespace tessera::gateway {

struct HttpServerConfig {
  std::string listen = "127.0.0.1:0";  // host:port or [v6]:port; port 0: any free one
  size_t thread_count = 1;             // I/O threads; >= 1
  size_t connections_max = 8192;       // more are answered 503 and closed
  size_t header_bytes_max = 32 << 10;  // request line and headers; over it 431
  size_t body_bytes_max = 32 << 20;    // over it 413
  size_t body_bytes_total_max = size_t{512}
                                << 20;  // of all connections; a body beyond it is answered 503
  size_t output_bytes_max = 8 << 20;    // waiting for a reader; a slower one is cut off
  absl::Duration header_timeout = absl::Seconds(15);  // first byte to end of headers; then 408
  absl::Duration body_timeout = absl::Seconds(60);    // end of headers to end of body; then 408
  absl::Duration idle_timeout = absl::Seconds(120);   // between requests; then closed
  absl::Duration write_timeout = absl::Seconds(60);   // for the client to take what is sent
  absl::Duration linger_timeout = absl::Seconds(2);   // after an error, for the client to read it
  CorsConfig cors;
  std::string certificate_file;  // PEM, the chain; empty: plain text
  std::string key_file;          // PEM
};

// Where a request's answer goes. Thread-safe; calls after the end, or when the client is gone, do
// nothing. When the last reference goes without an end, the client gets a 500 (or, if the reply had
// begun, a cut connection): no request hangs.
class HttpReply {
 public:
  virtual ~HttpReply() = default;
  // The whole reply.
  virtual void Send(HttpResponse response) = 0;
  // Or in pieces: Begin (its body is not looked at), Write as often as there is something, End.
  // Each piece leaves at once.
  virtual void Begin(HttpResponse head) = 0;
  virtual void Write(std::string bytes) = 0;
  virtual void End() = 0;

  // The client went away, or was cut off, before the end.
  virtual bool is_gone() const = 0;
  // Called once when that happens, on the connection's thread (at once if it has). Replaces an
  // earlier callback; dropped at the end of the reply.
  virtual void OnGone(std::function<void()> callback) = 0;
  // Runs `task` on the connection's thread: at once if the caller is on it, else later. Never after
  // the server stopped.
  virtual void Post(std::function<void()> task) = 0;
};

// Called on the connection's I/O thread; must not block.
using HttpResponder = std::function<void(HttpRequest request, std::shared_ptr<HttpReply> reply)>;
// An error of the HTTP layer itself.
struct HttpFault {
  int status;  // 400, 408, 413, 431, 500, 503
  std::string_view message;
  std::string_view path;        // of the request; empty if its headers were not whole
  std::string_view request_id;  // that the reply bears
};
// What the client is told of it. Called on any I/O thread.
using HttpErrorReply = std::function<HttpResponse(const HttpFault& fault)>;

struct HttpServerStats {
  uint64_t connections_open = 0;
  uint64_t connections_total = 0;
  uint64_t connections_refused_total = 0;
  uint64_t requests_total = 0;
  uint64_t slow_readers_total = 0;  // cut off for output_bytes_max or write_timeout
  // Replies begun, whoever made them, by status; those there were, ascending.
  std::vector<std::pair<int, uint64_t>> replies_total;
};

// Thread-safe.
class HttpServer {
 public:
  // Listens and serves until Stop.
  //   kUnavailable      the address cannot be had
  //   kInvalidArgument  an address or a TLS file that is none; kNotFound: no such TLS file
  // `clock` is borrowed.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerConfig& config,
                                                           HttpResponder handler,
                                                           HttpErrorReply error_reply,
                                                           const Clock& clock);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  // The listen address with the real port.
  std::string address() const;
  HttpServerStats stats() const;

  // Reads the TLS files again; connections made from now on use them. On an error the ones before
  // stay. Without TLS it does nothing.
  absl::Status ReloadTls();
  // From now on each reply is the last of its connection and idle connections are closed; new ones
  // are still taken, so that probes hear what is going on.
  void Drain();
  // After Drain: waits up to `timeout` for the replies that were under way then. Whoever comes
  // meanwhile is answered, and not waited for.
  void AwaitReplies(absl::Duration timeout);
  // Takes no more connections, waits up to `timeout` for replies under way, cuts the rest and joins
  // the threads. Callbacks are not called afterwards. A second Stop does nothing.
  void Stop(absl::Duration timeout = absl::ZeroDuration());

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::gateway
