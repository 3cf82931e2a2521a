#pragma once

// A small HTTP/1.1 server for operators and probes: a table of paths, whole requests and whole
// replies, everything bounded. Not the gateway's front door, which streams.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera {

struct HttpServerConfig {
  std::string listen = "127.0.0.1:0";          // host:port or [v6]:port; port 0: any free one
  size_t connections_max = 64;                 // more wait to be accepted; > 0
  size_t header_bytes_max = size_t{16} << 10;  // more: 431
  size_t body_bytes_max = size_t{1} << 20;     // more: 413
  // A connection without a whole request, or whose client does not take the reply, for so long is
  // closed.
  absl::Duration timeout = absl::Seconds(15);
};

struct HttpRequest {
  std::string method;  // "GET"; HEAD arrives as GET, its reply goes out without the body
  std::string path;    // "/readyz", as sent, before any ?
  std::string query;   // behind the first ?, as sent
  std::string body;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;

  static HttpReply Json(int status, std::string body) {
    return {status, "application/json", std::move(body)};
  }
};

// Runs on the server's one thread: reads a snapshot, never waits.
using HttpResponder = std::function<HttpReply(const HttpRequest&)>;

struct HttpRoute {
  std::string method;  // "GET", "POST", ...
  std::string path;    // exact
  HttpResponder responder;
};

// Unknown paths are 404, known ones with another method 405, what is no HTTP is 400 and the end of
// the connection. Thread-safe.
class HttpServer {
 public:
  // kInvalidArgument: `listen` is no address. kUnavailable: it cannot be had.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerConfig& config,
                                                           std::vector<HttpRoute> routes);
  ~HttpServer();  // Stop
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  std::string address() const;  // `listen` with the real port

  // Closes the door and all connections, and joins the thread. A second Stop does nothing.
  void Stop();

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tessera
