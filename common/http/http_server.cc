#include "common/http/http_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/concurrency/thread.h"

namespace tessera {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

absl::StatusOr<std::pair<std::string, std::string>> SplitAddress(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  const bool v6 = absl::StartsWith(listen, "[");
  const bool bare_v6 = !v6 && listen.find(':') != colon;
  if (bare_v6 || colon == std::string::npos || colon + 1 == listen.size() ||
      (v6 && (colon < 2 || listen[colon - 1] != ']'))) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", listen, "' is no address; expected host:port or [v6]:port"));
  }
  const std::string host = v6 ? listen.substr(1, colon - 2) : listen.substr(0, colon);
  return std::make_pair(host, listen.substr(colon + 1));
}

absl::StatusOr<tcp::endpoint> Resolve(asio::io_context& io, const std::string& listen) {
  TESSERA_ASSIGN_OR_RETURN(const auto parts, SplitAddress(listen));
  ErrorCode error;
  const auto found =
      tcp::resolver(io).resolve(parts.first, parts.second, tcp::resolver::passive, error);
  if (error || found.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", listen, "' is no address: ", error.message()));
  }
  return found.begin()->endpoint();
}

// The status that tells a client what was wrong with its bytes; 0: nobody is left to tell.
int StatusOfReadError(const ErrorCode& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
  if (error == http::error::body_limit) return 413;
  if (error == http::error::end_of_stream || error == http::error::partial_message) return 0;
  static const auto& http_category = make_error_code(http::error::bad_method).category();
  return error.category() == http_category ? 400 : 0;
}

HttpReply Answer(const std::vector<HttpRoute>& routes, const HttpRequest& request) {
  bool path_known = false;
  for (const HttpRoute& route : routes) {
    if (route.path != request.path) continue;
    if (route.method == request.method) return route.responder(request);
    path_known = true;
  }
  if (path_known) return {405, "text/plain; charset=utf-8", "this path has another method\n"};
  std::string known = "no such path; there are";
  for (const HttpRoute& route : routes) absl::StrAppend(&known, " ", route.path);
  return {404, "text/plain; charset=utf-8", known + "\n"};
}

}  // namespace

struct HttpServer::State {
  class Connection;

  explicit State(const HttpServerConfig& config_, std::vector<HttpRoute> routes_)
      : config(config_), routes(std::move(routes_)) {}
  absl::Status Listen();
  void Accept();
  void ConnectionEnded();

  const HttpServerConfig config;
  const std::vector<HttpRoute> routes;
  // Owned by the thread. Before `io`, whose end destroys the connections, which count down here.
  size_t connection_count = 0;
  bool accepting = false;
  bool stopping = false;

  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  int port = 0;
  Thread thread;
};

// Reads a request, answers, reads the next. Lives as long as an operation on it is pending.
class HttpServer::State::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(State& state, tcp::socket socket)
      : state_(state),
        stream_(std::move(socket)),
        // Room for the longest header and some of the body behind it.
        buffer_(state.config.header_bytes_max + (size_t{64} << 10)) {
    ++state_.connection_count;
  }
  ~Connection() { state_.ConnectionEnded(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Read() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(state_.config.header_bytes_max));
    parser_->body_limit(state_.config.body_bytes_max);
    stream_.expires_after(absl::ToChronoMilliseconds(state_.config.timeout));
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](const ErrorCode& error, size_t) { self->OnRead(error); });
  }

 private:
  void OnRead(const ErrorCode& error) {
    if (error) {
      const int status = StatusOfReadError(error);
      if (status == 0) return Close();
      return Write({status, "text/plain; charset=utf-8", error.message() + "\n"},
                   /*keep_alive=*/false, /*with_body=*/true);
    }
    const auto& message = parser_->get();
    const std::string target(message.target());
    const size_t question = target.find('?');
    HttpRequest request{std::string(message.method_string()), target.substr(0, question), "",
                        message.body()};
    if (question != std::string::npos) request.query = target.substr(question + 1);
    const bool is_head = request.method == "HEAD";
    if (is_head) request.method = "GET";
    Write(Answer(state_.routes, request), message.keep_alive(), !is_head);
  }

  void Write(HttpReply reply, bool keep_alive, bool with_body) {
    response_ = {};
    response_.version(11);
    response_.result(static_cast<unsigned>(reply.status));
    response_.set(http::field::server, absl::StrCat("tessera/", std::string(Version())));
    response_.set(http::field::content_type, reply.content_type);
    response_.set(http::field::cache_control, "no-store");
    response_.content_length(reply.body.size());
    response_.keep_alive(keep_alive);
    if (with_body) response_.body() = std::move(reply.body);
    stream_.expires_after(absl::ToChronoMilliseconds(state_.config.timeout));
    http::async_write(stream_, response_,
                      [self = shared_from_this(), keep_alive](const ErrorCode& error, size_t) {
                        if (error || !keep_alive) return self->Close();
                        self->Read();
                      });
  }

  void Close() {
    ErrorCode ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  State& state_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
};

absl::Status HttpServer::State::Listen() {
  TESSERA_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, Resolve(io, config.listen));
  ErrorCode error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve at ", config.listen, ": ", error.message()));
  }
  port = acceptor.local_endpoint().port();
  return absl::OkStatus();
}

void HttpServer::State::Accept() {
  if (accepting || stopping || connection_count >= config.connections_max) return;
  accepting = true;
  acceptor.async_accept([this](const ErrorCode& error, tcp::socket socket) {
    accepting = false;
    if (stopping) return;
    if (!error) {
      std::make_shared<Connection>(*this, std::move(socket))->Read();
    } else {
      TESSERA_LOG(WARNING) << "a connection to " << config.listen
                           << " was not accepted: " << error.message();
      // Out of file descriptors: the next to close makes room and accepts again.
      if (connection_count > 0) return;
    }
    Accept();
  });
}

void HttpServer::State::ConnectionEnded() {
  --connection_count;
  Accept();
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpServer::~HttpServer() { Stop(); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerConfig& config,
                                                              std::vector<HttpRoute> routes) {
  auto state = std::make_unique<State>(config, std::move(routes));
  TESSERA_RETURN_IF_ERROR(state->Listen());
  state->Accept();
  state->thread = Thread("http", [s = state.get()](const std::stop_token&) { s->io.run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

int HttpServer::port() const { return state_->port; }

std::string HttpServer::address() const {
  const std::string& listen = state_->config.listen;
  return absl::StrCat(listen.substr(0, listen.rfind(':')), ":", state_->port);
}

void HttpServer::Stop() {
  if (!state_->thread.joinable()) return;
  asio::post(state_->io, [s = state_.get()] {
    s->stopping = true;
    ErrorCode ignored;
    s->acceptor.close(ignored);
    s->io.stop();
  });
  state_->thread.Join();
}

}  // namespace tessera
