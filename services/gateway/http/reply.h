#pragma once

// The HttpReply of one request of a connection. Internal to this folder.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "services/gateway/http/connection.h"
#include "services/gateway/http/http_server.h"

namespace tessera::gateway {

// Thread-safe: everything happens on the connection's thread, for the reply with this number.
class Reply final : public HttpReply {
 public:
  Reply(std::shared_ptr<Connection> connection, uint64_t number)
      : connection_(std::move(connection)), number_(number) {}
  ~Reply() override;

  void Send(HttpResponse response) override;
  void Begin(HttpResponse head) override;
  void Write(std::string bytes) override;
  void End() override;
  bool is_gone() const override { return gone_; }
  void OnGone(std::function<void()> callback) override;
  void Post(std::function<void()> task) override { connection_->Dispatch(std::move(task)); }

  void MarkGone() { gone_ = true; }

 private:
  const std::shared_ptr<Connection> connection_;
  const uint64_t number_;
  std::atomic<bool> gone_{false};
};

}  // namespace tessera::gateway
