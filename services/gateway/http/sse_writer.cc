#include "services/gateway/http/sse_writer.h"

namespace tessera::gateway {

HttpResponse SseHead() {
  return {.status = 200,
          .content_type = "text/event-stream; charset=utf-8",
          .headers = {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}}};
}

void AppendSseEvent(std::string_view data, std::string_view name, std::string* out) {
  if (!name.empty()) out->append("event: ").append(name).append("\n");
  out->append("data: ").append(data).append("\n\n");
}

std::string SseEvent(std::string_view data, std::string_view name) {
  std::string event;
  AppendSseEvent(data, name, &event);
  return event;
}

std::string SseComment(std::string_view text) {
  return std::string(": ").append(text).append("\n\n");
}

}  // namespace tessera::gateway
