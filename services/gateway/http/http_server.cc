#include "services/gateway/http/http_server.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/concurrency/snapshot.h"
#include "common/concurrency/thread.h"
#include "services/gateway/http/connection.h"

namespace tessera::gateway {
namespace {

using tcp = net::ip::tcp;

// Between two looks at a lane's connections: while one is near its time or the server drains, and
// else. Without a connection nothing is looked at.
constexpr absl::Duration kSweepInterval = absl::Milliseconds(50);
constexpr absl::Duration kQuietSweepInterval = absl::Milliseconds(250);

// host:port or [v6]:port.
absl::StatusOr<tcp::endpoint> ParseEndpoint(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  const absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat("http_listen '", listen, "' is not ADDRESS:PORT with a numeric address"));
  if (colon == std::string::npos) return wrong;
  std::string host = listen.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  unsigned port = 0;
  if (!absl::SimpleAtoi(listen.substr(colon + 1), &port) || port > 65535) return wrong;
  ErrorCode error;
  const auto address = net::ip::make_address(host, error);
  if (error) return wrong;
  return tcp::endpoint(address, static_cast<uint16_t>(port));
}

// The bytes of a reply that no connection writes.
std::string WholeReply(const HttpResponse& response) {
  std::string text =
      absl::StrCat("HTTP/1.1 ", response.status, " ", std::string(ReasonOf(response.status)),
                   "\r\ncontent-type: ", response.content_type, "\r\nconnection: close\r\n");
  for (const auto& [name, value] : response.headers) {
    absl::StrAppend(&text, name, ": ", value, "\r\n");
  }
  absl::StrAppend(&text, "content-length: ", response.body.size(), "\r\n\r\n", response.body);
  return text;
}

}  // namespace

// An I/O thread's connections.
struct Lane {
  // Whether one has a reply under way.
  bool IsBusy(bool old_ones_only) const {
    return std::any_of(connections.begin(), connections.end(), [&](const auto& entry) {
      return entry.first->is_busy() && (entry.first->is_old() || !old_ones_only);
    });
  }

  absl::flat_hash_map<Connection*, std::shared_ptr<Connection>> connections;  // its thread only
  std::unique_ptr<net::steady_timer> sweep_timer;
  bool stopping = false;
  bool drained = false;
};

class HttpServer::Impl {
 public:
  Impl(std::shared_ptr<ServerState> state, std::shared_ptr<TlsContext> tls)
      : state_(std::move(state)), acceptor_(*state_->contexts[0]), tls_(MakeTls(std::move(tls))) {}

  absl::Status Listen();
  void Run();
  void AwaitReplies(absl::Duration timeout);
  void Stop(absl::Duration timeout);
  absl::Status ReloadTls();

  ServerState& state() { return *state_; }
  int port() const { return port_; }

 private:
  struct Tls {
    std::shared_ptr<TlsContext> context;  // null: plain text
  };
  static std::shared_ptr<const Tls> MakeTls(std::shared_ptr<TlsContext> context) {
    return std::make_shared<const Tls>(Tls{std::move(context)});
  }
  net::awaitable<void> AcceptLoop();
  net::awaitable<void> SweepLoop(size_t index);
  std::chrono::milliseconds SweepPause(const Lane& lane) const;
  void Admit(size_t index, tcp::socket socket);
  // Of the lane's thread: until it is busy no more, or until `deadline`.
  net::awaitable<void> AwaitIdle(size_t index, bool old_ones_only, absl::Duration deadline);

  const std::shared_ptr<ServerState> state_;
  tcp::acceptor acceptor_;  // thread 0
  int port_ = 0;
  Snapshot<Tls> tls_;
  std::vector<Lane> lanes_;  // one a thread, touched by it alone
  std::vector<Thread> threads_;
};

absl::Status HttpServer::Impl::Listen() {
  TESSERA_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, ParseEndpoint(state_->config.listen));
  ErrorCode error;
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(net::socket_base::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(4096, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen at ", state_->config.listen, ": ", error.message()));
  }
  port_ = acceptor_.local_endpoint().port();
  return absl::OkStatus();
}

void HttpServer::Impl::Run() {
  lanes_ = std::vector<Lane>(state_->contexts.size());
  for (size_t i = 0; i < lanes_.size(); ++i) {
    net::io_context& context = *state_->contexts[i];
    lanes_[i].sweep_timer = std::make_unique<net::steady_timer>(context);
    net::co_spawn(context, SweepLoop(i), net::detached);
  }
  net::co_spawn(*state_->contexts[0], AcceptLoop(), net::detached);
  for (size_t i = 0; i < lanes_.size(); ++i) {
    // The sweep keeps the context busy until Stop.
    threads_.emplace_back(absl::StrCat("http-", i), [context = state_->contexts[i].get()](
                                                        std::stop_token) { context->run(); });
  }
}

net::awaitable<void> HttpServer::Impl::AcceptLoop() {
  for (size_t next = 0; acceptor_.is_open();) {
    const size_t index = next++ % lanes_.size();
    ErrorCode error;
    tcp::socket socket = co_await acceptor_.async_accept(
        *state_->contexts[index], net::redirect_error(net::use_awaitable, error));
    if (error == net::error::operation_aborted || !acceptor_.is_open()) co_return;
    if (error) {
      // Out of descriptors, mostly. Those that wait stay in the kernel's queue meanwhile.
      TESSERA_LOG(WARNING) << "cannot accept a connection: " << error.message();
      net::steady_timer pause(*state_->contexts[0], absl::ToChronoMilliseconds(kSweepInterval));
      co_await pause.async_wait(net::redirect_error(net::use_awaitable, error));
      continue;
    }
    net::dispatch(*state_->contexts[index], [this, index, socket = std::move(socket)]() mutable {
      Admit(index, std::move(socket));
    });
  }
}

void HttpServer::Impl::Admit(size_t index, tcp::socket socket) {
  Lane& lane = lanes_[index];
  if (lane.stopping) return;
  if (lane.connections.empty()) lane.sweep_timer->cancel();  // from here on there is a time to keep
  ++state_->connections_total;
  const std::shared_ptr<const Tls> tls = tls_.Read();
  if (state_->connections_open >= state_->config.connections_max) {
    ++state_->connections_refused_total;
    if (tls->context == nullptr) {
      const std::string text = WholeReply(state_->error_reply(
          {.status = 503, .message = "too many connections", .path = {}, .request_id = {}}));
      ErrorCode ignored;  // it fits the socket's empty buffer, or is lost
      socket.non_blocking(true, ignored);
      socket.write_some(net::const_buffer(text.data(), text.size()), ignored);
    }
    return;
  }
  ++state_->connections_open;
  auto stream = tls->context == nullptr ? MakePlainStream(std::move(socket))
                                        : tls->context->MakeStream(std::move(socket));
  const auto connection =
      std::make_shared<Connection>(std::move(stream), state_, *state_->contexts[index]);
  lane.connections.emplace(connection.get(), connection);
  connection->Start([this, &lane](Connection* closed) {
    --state_->connections_open;
    lane.connections.erase(closed);
  });
}

std::chrono::milliseconds HttpServer::Impl::SweepPause(const Lane& lane) const {
  if (lane.connections.empty() && !lane.stopping) return std::chrono::hours(24);
  absl::Duration pause = state_->draining ? kSweepInterval : kQuietSweepInterval;
  const absl::Duration now = state_->clock.Elapsed();
  for (const auto& [key, connection] : lane.connections) {
    pause = std::min(pause, connection->sweep_due() - now);
  }
  return absl::ToChronoMilliseconds(std::max(pause, kSweepInterval));
}

net::awaitable<void> HttpServer::Impl::SweepLoop(size_t index) {
  Lane& lane = lanes_[index];
  while (!lane.stopping || !lane.connections.empty()) {
    lane.sweep_timer->expires_after(SweepPause(lane));
    ErrorCode woken;
    co_await lane.sweep_timer->async_wait(net::redirect_error(net::use_awaitable, woken));
    const absl::Duration now = state_->clock.Elapsed();
    std::vector<std::shared_ptr<Connection>> connections;
    connections.reserve(lane.connections.size());
    for (const auto& [key, connection] : lane.connections) connections.push_back(connection);
    for (const auto& connection : connections) {
      connection->Sweep(now);
      if (state_->draining && !lane.drained) connection->Drain();
    }
    lane.drained = state_->draining;
  }
}

net::awaitable<void> HttpServer::Impl::AwaitIdle(size_t index, bool old_ones_only,
                                                 absl::Duration deadline) {
  net::steady_timer pause(*state_->contexts[index]);
  while (lanes_[index].IsBusy(old_ones_only) && state_->clock.Elapsed() < deadline) {
    pause.expires_after(std::chrono::milliseconds(5));
    ErrorCode ignored;
    co_await pause.async_wait(net::redirect_error(net::use_awaitable, ignored));
  }
}

void HttpServer::Impl::AwaitReplies(absl::Duration timeout) {
  if (threads_.empty()) return;
  const absl::Duration deadline = state_->clock.Elapsed() + timeout;
  absl::BlockingCounter lanes_left(static_cast<int>(lanes_.size()));
  for (size_t i = 0; i < lanes_.size(); ++i) {
    net::co_spawn(
        *state_->contexts[i],
        [this, i, deadline, &lanes_left]() -> net::awaitable<void> {
          co_await AwaitIdle(i, /*old_ones_only=*/true, deadline);
          lanes_left.DecrementCount();
        },
        net::detached);
  }
  lanes_left.Wait();
}

void HttpServer::Impl::Stop(absl::Duration timeout) {
  if (threads_.empty()) return;
  state_->draining = true;
  const absl::Duration deadline = state_->clock.Elapsed() + timeout;
  net::post(*state_->contexts[0], [this] {
    ErrorCode ignored;
    acceptor_.close(ignored);
  });
  for (size_t i = 0; i < lanes_.size(); ++i) {
    net::post(*state_->contexts[i], [this, i, deadline] {
      net::co_spawn(
          *state_->contexts[i],
          [this, i, deadline]() -> net::awaitable<void> {
            Lane& lane = lanes_[i];
            lane.stopping = true;
            co_await AwaitIdle(i, /*old_ones_only=*/false, deadline);
            while (!lane.connections.empty()) {
              const std::shared_ptr<Connection> connection = lane.connections.begin()->second;
              connection->Close();
            }
            lane.sweep_timer->cancel();
          },
          net::detached);
    });
  }
  for (Thread& thread : threads_) thread.Join();
  state_->stopped = true;
  threads_.clear();
  // What was posted in between; it finds closed connections.
  for (const auto& context : state_->contexts) {
    context->restart();
    context->poll();
  }
}

absl::Status HttpServer::Impl::ReloadTls() {
  const HttpServerConfig& config = state_->config;
  if (config.certificate_file.empty()) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(auto context,
                           TlsContext::Load(config.certificate_file, config.key_file));
  tls_.Publish(MakeTls(std::move(context)));
  return absl::OkStatus();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { Stop(); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerConfig& config,
                                                              HttpResponder handler,
                                                              HttpErrorReply error_reply,
                                                              const Clock& clock) {
  TESSERA_CHECK(config.thread_count > 0);
  if (config.certificate_file.empty() != config.key_file.empty()) {
    return absl::InvalidArgumentError("TLS needs both a certificate_file and a key_file");
  }
  std::shared_ptr<TlsContext> tls;
  if (!config.certificate_file.empty()) {
    TESSERA_ASSIGN_OR_RETURN(tls, TlsContext::Load(config.certificate_file, config.key_file));
  }
  auto state =
      std::make_shared<ServerState>(config, std::move(handler), std::move(error_reply), clock);
  for (size_t i = 0; i < config.thread_count; ++i) {
    state->contexts.push_back(std::make_unique<net::io_context>(1));
  }
  auto impl = std::make_unique<Impl>(std::move(state), std::move(tls));
  TESSERA_RETURN_IF_ERROR(impl->Listen());
  impl->Run();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

int HttpServer::port() const { return impl_->port(); }

std::string HttpServer::address() const {
  const std::string& listen = impl_->state().config.listen;
  return absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port());
}

HttpServerStats HttpServer::stats() const {
  const ServerState& state = impl_->state();
  HttpServerStats stats = {.connections_open = state.connections_open,
                           .connections_total = state.connections_total,
                           .connections_refused_total = state.connections_refused_total,
                           .requests_total = state.requests_total,
                           .slow_readers_total = state.slow_readers_total,
                           .replies_total = {}};
  for (size_t status = 0; status < state.replies_total.size(); ++status) {
    const uint64_t replies = state.replies_total[status];
    if (replies > 0) stats.replies_total.emplace_back(static_cast<int>(status), replies);
  }
  return stats;
}

absl::Status HttpServer::ReloadTls() { return impl_->ReloadTls(); }

void HttpServer::Drain() { impl_->state().draining = true; }

void HttpServer::AwaitReplies(absl::Duration timeout) { impl_->AwaitReplies(timeout); }

void HttpServer::Stop(absl::Duration timeout) { impl_->Stop(timeout); }

}  // namespace tessera::gateway
