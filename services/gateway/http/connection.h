#pragma once

// One connection: reads requests, hands them out, writes replies. Internal to this folder.
//
//   ReadLoop --in_--> ServeLoop --handler--> reply --out_--> WriteLoop
//
// Three coroutines of one I/O thread; each waits for its signal when it has nothing to do.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/entropy.h"
#include "services/gateway/http/byte_stream.h"
#include "services/gateway/http/http_server.h"
// Behind byte_stream.h, which brings <utility>.
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace tessera::gateway {

class Reply;

// What the connections of a server share. Thread-safe; constant but for the atomics.
struct ServerState {
  ServerState(const HttpServerConfig& config_, HttpResponder handler_, HttpErrorReply error_reply_,
              const Clock& clock_)
      : config(config_),
        handler(std::move(handler_)),
        error_reply(std::move(error_reply_)),
        clock(clock_) {}

  const HttpServerConfig config;
  const HttpResponder handler;
  const HttpErrorReply error_reply;
  const Clock& clock;
  std::vector<std::unique_ptr<net::io_context>>
      contexts;                            // one a thread; set before any connection
  const uint64_t id_seed = FreshNumber();  // of requests without a name: differs by process
  std::atomic<uint64_t> next_id{0};
  std::atomic<uint64_t> connections_open{0};
  std::atomic<uint64_t> connections_total{0};
  std::atomic<uint64_t> connections_refused_total{0};
  std::atomic<uint64_t> requests_total{0};
  std::atomic<uint64_t> slow_readers_total{0};
  std::array<std::atomic<uint64_t>, 600> replies_total{};  // [status]
  std::atomic<uint64_t> body_bytes{0};
  std::atomic<bool> draining{false};
  std::atomic<bool> stopped{false};
};

// Owned by its I/O thread, but for executor().
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::unique_ptr<ByteStream> stream, std::shared_ptr<ServerState> server,
             net::io_context& context);
  ~Connection();

  // `on_closed` is called once, when the socket is closed.
  void Start(std::function<void(Connection*)> on_closed);
  // Acts on what took too long.
  void Sweep(absl::Duration now);
  // When that will be, as things stand; may come nearer with what happens.
  absl::Duration sweep_due() const {
    return std::min(timed_out_ ? absl::InfiniteDuration() : deadline_, write_deadline_);
  }
  // Ends it as soon as no reply is under way.
  void Drain();
  // Cuts it now.
  void Close();
  bool is_busy() const { return reply_active_ || !out_.empty() || !writing_.empty(); }
  // Made before the server began to drain.
  bool is_old() const { return is_old_; }

  // From any thread; dropped after the server stopped.
  void Dispatch(std::function<void()> task);

 private:
  friend class Reply;
  enum class Phase { kOpening, kIdle, kHeader, kBody, kServing, kLinger };
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  net::awaitable<void> Run(std::shared_ptr<Connection> self);
  net::awaitable<void> ReadLoop(std::shared_ptr<Connection> self);
  net::awaitable<void> ServeLoop(std::shared_ptr<Connection> self);
  net::awaitable<void> WriteLoop(std::shared_ptr<Connection> self);
  net::awaitable<void> Wait(net::steady_timer& signal);
  net::awaitable<bool> ReadRequest(Parser& parser);

  // One step of the parser over in_. False: the request was refused.
  bool Feed(Parser& parser);
  void Enter(Phase phase);
  // An answer of this layer, the last of the connection. It says what it can of the request.
  bool Refuse(const Parser& parser, int status, std::string_view message);
  bool RefuseFor(const Parser& parser, ErrorCode error);
  void Serve(Parser& parser);
  // The request without its body; the headers are whole.
  HttpRequest ReadHead(const Parser& parser);
  std::string FreshRequestId();
  // What AppendHead and errors have to know of it.
  void Remember(const HttpRequest& request);

  // What the reply with this number asks for.
  void SendReply(uint64_t number, HttpResponse response);
  void BeginReply(uint64_t number, HttpResponse head);
  void WriteReply(uint64_t number, std::string bytes);
  void EndReply(uint64_t number);
  void AbandonReply(uint64_t number);
  void WatchReply(uint64_t number, std::function<void()> callback);
  bool IsCurrent(uint64_t number) const { return reply_active_ && number == reply_number_; }
  void FinishReply();
  void AppendHead(const HttpResponse& response, std::optional<size_t> length);
  void Queue(std::string_view bytes);
  void CountBody(size_t bytes);
  void WakeAll();

  const std::unique_ptr<ByteStream> stream_;
  const std::shared_ptr<ServerState> server_;
  net::io_context& context_;
  const bool is_old_;
  std::function<void(Connection*)> on_closed_;
  std::atomic<int> posted_{0};  // tasks of Dispatch that wait
  net::steady_timer read_signal_;
  net::steady_timer serve_signal_;
  net::steady_timer write_signal_;

  Phase phase_ = Phase::kOpening;
  absl::Duration deadline_ = absl::InfiniteDuration();        // of the phase
  absl::Duration write_deadline_ = absl::InfiniteDuration();  // of the write under way
  bool timed_out_ = false;                                    // ServeLoop shall answer 408
  bool read_ended_ = false;                                   // nothing more comes
  bool discard_ = false;                                      // what comes is of no interest
  bool closing_ = false;  // no request after this; close when out_ is written
  bool closed_ = false;

  std::string in_;        // read, not parsed yet
  size_t in_parsed_ = 0;  // bytes of in_ the parser has seen and wants more behind
  std::string out_;
  std::string writing_;
  size_t body_counted_ = 0;

  uint64_t reply_number_ = 0;
  bool reply_active_ = false;
  bool reply_begun_ = false;
  bool chunked_ = false;
  bool keep_alive_ = false;
  bool is_head_ = false;  // of a HEAD request: no body
  bool is_http10_ = false;
  std::string request_id_;
  std::string path_;
  std::string origin_;
  std::function<void()> on_gone_;
  std::weak_ptr<Reply> reply_;
};

}  // namespace tessera::gateway
