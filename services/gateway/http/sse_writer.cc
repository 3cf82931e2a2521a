#include "services/gateway/http/sse_writer.h"

namespace tessera::gateway {

HttpResponse SseHead() {
  return {.status = 200,
          .content_type = "text/event-stream; charset=utf-8",
          .headers = {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}}};
}

}  // namespace tessera::gateway
