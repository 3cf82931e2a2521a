#include "services/gateway/http/connection.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "services/gateway/http/reply.h"

namespace tessera::gateway {
namespace {

namespace http = boost::beast::http;

constexpr size_t kReadBytes = 8 << 10;
constexpr size_t kPipelineBytesMax = 64 << 10;  // read ahead while a reply is under way

// Headers that a page of another site may read.
constexpr std::string_view kExposedHeaders =
    "x-request-id, request-id, retry-after, retry-after-ms, server-timing, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens";

template <typename Message>
bool WantsContinue(const Message& message) {
  return absl::AsciiStrToLower(std::string(message[http::field::expect])) == "100-continue";
}

// Whether all who read this message agree where its body ends. The parser takes codings that it
// does not know for none, and what they wrap would pass for the next request; it also takes a list
// of equal lengths.
template <typename Message>
bool IsFramed(const Message& message) {
  const auto codings = message.equal_range(http::field::transfer_encoding);
  for (auto it = codings.first; it != codings.second; ++it) {
    if (absl::AsciiStrToLower(std::string(it->value())) != "chunked") return false;
  }
  if (codings.first != codings.second && std::next(codings.first) != codings.second) return false;
  const auto lengths = message.equal_range(http::field::content_length);
  for (auto it = lengths.first; it != lengths.second; ++it) {
    for (const char c : it->value()) {
      if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
    }
  }
  return true;
}

}  // namespace

Connection::Connection(std::unique_ptr<ByteStream> stream, std::shared_ptr<ServerState> server,
                       net::io_context& context)
    : stream_(std::move(stream)),
      server_(std::move(server)),
      context_(context),
      is_old_(!server_->draining),
      read_signal_(context, net::steady_timer::time_point::max()),
      serve_signal_(context, net::steady_timer::time_point::max()),
      write_signal_(context, net::steady_timer::time_point::max()) {
  ErrorCode ignored;
  stream_->socket().set_option(net::ip::tcp::no_delay(true), ignored);
}

Connection::~Connection() { CountBody(0); }

void Connection::Start(std::function<void(Connection*)> on_closed) {
  on_closed_ = std::move(on_closed);
  Enter(Phase::kOpening);
  net::co_spawn(context_, Run(shared_from_this()), net::detached);
}

net::awaitable<void> Connection::Run(std::shared_ptr<Connection> self) {
  ErrorCode error;
  co_await stream_->Open(error);
  if (error || closed_) {
    Close();
    co_return;
  }
  Enter(Phase::kIdle);
  net::co_spawn(context_, ReadLoop(self), net::detached);
  net::co_spawn(context_, WriteLoop(self), net::detached);
  co_await ServeLoop(self);
}

net::awaitable<void> Connection::Wait(net::steady_timer& signal) {
  ErrorCode woken;
  co_await signal.async_wait(net::redirect_error(net::use_awaitable, woken));
}

net::awaitable<void> Connection::ReadLoop(std::shared_ptr<Connection> /*self*/) {
  const size_t in_bytes_max =
      std::max(kPipelineBytesMax, server_->config.header_bytes_max + kReadBytes);
  const auto chunk = std::make_unique<char[]>(kReadBytes);
  while (!closed_) {
    while (in_.size() >= in_bytes_max && !closed_ && !discard_) co_await Wait(read_signal_);
    if (closed_) co_return;
    ErrorCode error;
    const size_t size =
        co_await stream_->ReadSome(net::mutable_buffer(chunk.get(), kReadBytes), error);
    if (closed_) co_return;
    if (error) {
      read_ended_ = true;
      // Nobody is there to read the reply, or the bytes end between requests.
      if (reply_active_ || phase_ == Phase::kLinger || error != net::error::eof) Close();
      serve_signal_.cancel();
      co_return;
    }
    if (discard_) continue;
    in_.append(chunk.get(), size);
    serve_signal_.cancel();
  }
}

net::awaitable<void> Connection::WriteLoop(std::shared_ptr<Connection> /*self*/) {
  while (!closed_) {
    while (out_.empty() && !closing_ && !closed_) co_await Wait(write_signal_);
    if (closed_) co_return;
    if (out_.empty()) {
      // The client gets time to read: closing at once could destroy what it has not read yet.
      ErrorCode ignored;
      stream_->socket().shutdown(net::ip::tcp::socket::shutdown_send, ignored);
      discard_ = true;
      read_signal_.cancel();
      Enter(Phase::kLinger);
      if (read_ended_) Close();
      co_return;
    }
    writing_.swap(out_);
    write_deadline_ = server_->clock.Elapsed() + server_->config.write_timeout;
    ErrorCode error;
    co_await stream_->Write(net::const_buffer(writing_.data(), writing_.size()), error);
    write_deadline_ = absl::InfiniteDuration();
    writing_.clear();
    if (error) Close();
  }
}

net::awaitable<void> Connection::ServeLoop(std::shared_ptr<Connection> /*self*/) {
  while (!closed_ && !closing_) {
    Parser parser;
    parser.eager(true);
    parser.header_limit(static_cast<uint32_t>(server_->config.header_bytes_max));
    parser.body_limit(server_->config.body_bytes_max);
    Enter(Phase::kIdle);
    if (!co_await ReadRequest(parser)) co_return;
    Enter(Phase::kServing);
    Serve(parser);
    while (reply_active_ && !closed_) co_await Wait(serve_signal_);
    CountBody(0);
    read_signal_.cancel();
    if (!keep_alive_) closing_ = true;
  }
  write_signal_.cancel();
}

net::awaitable<bool> Connection::ReadRequest(Parser& parser) {
  bool continued = false;
  in_parsed_ = 0;
  while (!parser.is_done()) {
    if (timed_out_) co_return Refuse(parser, 408, "the request took too long to arrive");
    if (closed_) co_return false;
    // Clients of old end a request with an empty line too many.
    while (phase_ == Phase::kIdle && !in_.empty() && (in_[0] == '\r' || in_[0] == '\n')) {
      in_.erase(0, 1);
    }
    if (in_.size() == in_parsed_) {
      // A new connection may still ask whether we are ready.
      if (phase_ == Phase::kIdle && reply_number_ > 0 && server_->draining) closing_ = true;
      if (read_ended_ || closing_) {
        closing_ = true;
        write_signal_.cancel();
        co_return false;
      }
      co_await Wait(serve_signal_);
      continue;
    }
    if (phase_ == Phase::kIdle) Enter(Phase::kHeader);
    if (!Feed(parser)) co_return false;
    if (!parser.is_header_done() || phase_ == Phase::kBody) continue;
    Enter(Phase::kBody);
    if (!parser.is_done() && !continued && WantsContinue(parser.get())) {
      continued = true;
      Queue("HTTP/1.1 100 Continue\r\n\r\n");
    }
  }
  co_return true;
}

bool Connection::Feed(Parser& parser) {
  ErrorCode error;
  const size_t used = parser.put(net::const_buffer(in_.data(), in_.size()), error);
  in_.erase(0, used);
  in_parsed_ = 0;
  if (error == http::error::need_more) {
    in_parsed_ = in_.size();
    error = {};
  }
  if (error) return RefuseFor(parser, error);
  if (parser.is_header_done() && !IsFramed(parser.get())) {
    return Refuse(parser, 400, "Transfer-Encoding can be 'chunked' and Content-Length one number");
  }
  CountBody(parser.get().body().size());
  if (server_->body_bytes > server_->config.body_bytes_total_max) {
    return Refuse(parser, 503, "too many large requests are under way");
  }
  read_signal_.cancel();
  return true;
}

bool Connection::RefuseFor(const Parser& parser, ErrorCode error) {
  if (error == http::error::header_limit) {
    return Refuse(parser, 431,
                  absl::StrCat("the request's headers are over ", server_->config.header_bytes_max,
                               " bytes"));
  }
  if (error == http::error::body_limit) {
    return Refuse(
        parser, 413,
        absl::StrCat("the request's body is over ", server_->config.body_bytes_max, " bytes"));
  }
  return Refuse(parser, 400, absl::StrCat("no HTTP request: ", error.message()));
}

bool Connection::Refuse(const Parser& parser, int status, std::string_view message) {
  keep_alive_ = false;
  reply_active_ = true;
  reply_begun_ = false;
  HttpRequest request;
  // A length over the limit is refused by the parser in its last step over the headers.
  if (parser.is_header_done() || status == 413) {
    request = ReadHead(parser);
  } else {
    request.request_id = FreshRequestId();
  }
  Remember(request);
  SendReply(++reply_number_,
            server_->error_reply(
                {.status = status, .message = message, .path = path_, .request_id = request_id_}));
  in_.clear();
  in_parsed_ = 0;
  discard_ = true;
  closing_ = true;
  read_signal_.cancel();
  write_signal_.cancel();
  return false;
}

std::string Connection::FreshRequestId() {
  return absl::StrCat(
      "req-", absl::Hex(RandomBits(server_->id_seed, server_->next_id++), absl::kZeroPad16));
}

HttpRequest Connection::ReadHead(const Parser& parser) {
  const auto& message = parser.get();
  HttpRequest request;
  request.method = std::string(message.method_string());
  std::string_view target(message.target().data(), message.target().size());
  // The absolute form, as proxies send it: http://host/path.
  if (const size_t scheme = target.find("://");
      !target.starts_with('/') && scheme < target.size()) {
    const size_t path = target.find('/', scheme + 3);
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  const size_t mark = target.find('?');
  request.path = std::string(target.substr(0, mark));
  if (mark != std::string_view::npos) request.query = std::string(target.substr(mark + 1));
  for (const auto& field : message) {
    request.headers.push_back(
        {absl::AsciiStrToLower(std::string(field.name_string())), std::string(field.value())});
  }
  request.received = server_->clock.Elapsed();
  const std::string_view id = request.Header("x-request-id");
  request.request_id = IsRequestId(id) ? std::string(id) : FreshRequestId();
  return request;
}

void Connection::Remember(const HttpRequest& request) {
  is_head_ = request.method == "HEAD";
  request_id_ = request.request_id;
  path_ = request.path;
  origin_ = std::string(server_->config.cors.Allows(request.Header("origin")));
}

void Connection::Serve(Parser& parser) {
  ++server_->requests_total;
  keep_alive_ = parser.get().keep_alive() && !server_->draining;
  is_http10_ = parser.get().version() < 11;
  HttpRequest request = ReadHead(parser);
  request.body = std::move(parser.get().body());
  Remember(request);
  reply_begun_ = false;
  reply_active_ = true;
  const auto reply = std::make_shared<Reply>(shared_from_this(), ++reply_number_);
  reply_ = reply;
  if (request.method == "OPTIONS" && !origin_.empty() &&
      !request.Header("access-control-request-method").empty()) {
    const std::string_view wanted = request.Header("access-control-request-headers");
    reply->Send({.status = 204,
                 .content_type = "",
                 .headers = {{"access-control-allow-methods", "GET, POST, OPTIONS"},
                             {"access-control-allow-headers",
                              wanted.empty() ? "authorization, content-type" : std::string(wanted)},
                             {"access-control-max-age",
                              absl::StrCat(absl::ToInt64Seconds(server_->config.cors.max_age))}}});
    return;
  }
  server_->handler(std::move(request), reply);
  // Bytes that ended while the last ones were parsed: the client does not wait for this reply.
  if (read_ended_ && reply_active_) Close();
}

void Connection::AppendHead(const HttpResponse& response, std::optional<size_t> length) {
  const auto status = static_cast<size_t>(response.status);
  if (status < server_->replies_total.size()) ++server_->replies_total[status];
  std::string head = absl::StrCat("HTTP/1.1 ", response.status, " ",
                                  std::string(ReasonOf(response.status)), "\r\n");
  const auto add = [&head](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (!response.content_type.empty()) add("content-type", response.content_type);
  if (length.has_value()) {
    const bool bodiless = response.status == 204 || response.status == 304;
    if (!bodiless) add("content-length", absl::StrCat(*length));
  } else if (chunked_) {
    add("transfer-encoding", "chunked");
  }
  add("date",
      absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", server_->clock.Now(), absl::UTCTimeZone()));
  bool named = false;
  for (const HttpHeader& header : response.headers) {
    named = named || header.name == "x-request-id";
    add(header.name, header.value);
  }
  if (!named) add("x-request-id", request_id_);
  if (!origin_.empty()) {
    add("access-control-allow-origin", origin_);
    add("access-control-expose-headers", kExposedHeaders);
    if (origin_ != "*") add("vary", "origin");
  }
  if (server_->draining) keep_alive_ = false;
  if (!keep_alive_) {
    add("connection", "close");
  } else if (is_http10_) {
    add("connection", "keep-alive");
  }
  head += "\r\n";
  Queue(head);
}

void Connection::SendReply(uint64_t number, HttpResponse response) {
  if (!IsCurrent(number) || reply_begun_) return;
  AppendHead(response, response.body.size());
  if (!is_head_) Queue(response.body);
  FinishReply();
}

void Connection::BeginReply(uint64_t number, HttpResponse head) {
  if (!IsCurrent(number) || reply_begun_) return;
  reply_begun_ = true;
  chunked_ = !is_http10_;
  if (!chunked_) keep_alive_ = false;  // the end of the connection is the end of the reply
  AppendHead(head, std::nullopt);
}

void Connection::WriteReply(uint64_t number, std::string bytes) {
  if (!IsCurrent(number) || !reply_begun_ || is_head_ || bytes.empty()) return;
  if (out_.size() + bytes.size() > server_->config.output_bytes_max) {
    ++server_->slow_readers_total;
    Close();
    return;
  }
  if (chunked_) {
    Queue(absl::StrCat(absl::Hex(bytes.size()), "\r\n", bytes, "\r\n"));
  } else {
    Queue(bytes);
  }
}

void Connection::EndReply(uint64_t number) {
  if (!IsCurrent(number) || !reply_begun_) return;
  if (chunked_ && !is_head_) Queue("0\r\n\r\n");
  FinishReply();
}

void Connection::AbandonReply(uint64_t number) {
  if (!IsCurrent(number)) return;
  if (reply_begun_) {
    Close();
    return;
  }
  SendReply(number, server_->error_reply({.status = 500,
                                          .message = "the request was given up",
                                          .path = path_,
                                          .request_id = request_id_}));
}

void Connection::WatchReply(uint64_t number, std::function<void()> callback) {
  if (IsCurrent(number)) {
    on_gone_ = std::move(callback);
    return;
  }
  const std::shared_ptr<Reply> reply = reply_.lock();
  if (number == reply_number_ && reply != nullptr && reply->is_gone() && callback) callback();
}

void Connection::FinishReply() {
  reply_active_ = false;
  const std::function<void()> dropped = std::exchange(on_gone_, nullptr);
  serve_signal_.cancel();
}

void Connection::Queue(std::string_view bytes) {
  if (closed_) return;
  out_ += bytes;
  write_signal_.cancel();
}

void Connection::CountBody(size_t bytes) {
  server_->body_bytes += bytes - body_counted_;
  body_counted_ = bytes;
}

void Connection::Enter(Phase phase) {
  const HttpServerConfig& config = server_->config;
  phase_ = phase;
  absl::Duration limit = absl::InfiniteDuration();
  if (phase == Phase::kOpening || phase == Phase::kHeader) limit = config.header_timeout;
  if (phase == Phase::kIdle) limit = config.idle_timeout;
  if (phase == Phase::kBody) limit = config.body_timeout;
  if (phase == Phase::kLinger) limit = config.linger_timeout;
  deadline_ = server_->clock.Elapsed() + limit;
}

void Connection::Sweep(absl::Duration now) {
  if (now >= write_deadline_) {
    ++server_->slow_readers_total;
    Close();
    return;
  }
  if (now < deadline_ || timed_out_) return;
  if (phase_ == Phase::kHeader || phase_ == Phase::kBody) {
    timed_out_ = true;
    serve_signal_.cancel();
  } else {
    Close();
  }
}

void Connection::Drain() {
  if (phase_ == Phase::kIdle) serve_signal_.cancel();
}

void Connection::Close() {
  if (closed_) return;
  closed_ = true;
  ErrorCode ignored;
  stream_->socket().close(ignored);
  out_.clear();
  WakeAll();
  if (reply_active_) {
    reply_active_ = false;
    if (const std::shared_ptr<Reply> reply = reply_.lock()) reply->MarkGone();
    if (const std::function<void()> callback = std::exchange(on_gone_, nullptr)) callback();
  }
  if (const auto on_closed = std::exchange(on_closed_, nullptr)) on_closed(this);
}

void Connection::WakeAll() {
  read_signal_.cancel();
  serve_signal_.cancel();
  write_signal_.cancel();
}

void Connection::Dispatch(std::function<void()> task) {
  if (server_->stopped) return;
  // Inline only if nothing that was posted before would be overtaken.
  if (posted_ == 0 && context_.get_executor().running_in_this_thread()) {
    task();
    return;
  }
  ++posted_;
  net::post(context_, [self = shared_from_this(), task = std::move(task)] {
    --self->posted_;
    task();
  });
}

}  // namespace tessera::gateway
