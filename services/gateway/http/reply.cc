#include "services/gateway/http/reply.h"

#include <utility>

namespace tessera::gateway {

Reply::~Reply() {
  connection_->Dispatch(
      [connection = connection_, number = number_] { connection->AbandonReply(number); });
}

void Reply::Send(HttpResponse response) {
  connection_->Dispatch(
      [connection = connection_, number = number_, response = std::move(response)]() mutable {
        connection->SendReply(number, std::move(response));
      });
}

void Reply::Begin(HttpResponse head) {
  connection_->Dispatch(
      [connection = connection_, number = number_, head = std::move(head)]() mutable {
        connection->BeginReply(number, std::move(head));
      });
}

void Reply::Write(std::string bytes) {
  connection_->Dispatch(
      [connection = connection_, number = number_, bytes = std::move(bytes)]() mutable {
        connection->WriteReply(number, std::move(bytes));
      });
}

void Reply::End() {
  connection_->Dispatch(
      [connection = connection_, number = number_] { connection->EndReply(number); });
}

void Reply::OnGone(std::function<void()> callback) {
  connection_->Dispatch(
      [connection = connection_, number = number_, callback = std::move(callback)]() mutable {
        connection->WatchReply(number, std::move(callback));
      });
}

}  // namespace tessera::gateway
