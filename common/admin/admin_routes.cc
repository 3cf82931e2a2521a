#include "common/admin/admin_routes.h"

#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/version.h"

namespace tessera {

std::vector<HttpRoute> AdminRoutes(const Registry& registry, ReadinessReasons reasons) {
  const HttpResponder ready = [reasons = std::move(reasons)](const HttpRequest&) {
    const std::vector<std::string> why = reasons();
    if (why.empty()) return HttpReply{.body = "ready\n"};
    return HttpReply{.status = 503, .body = absl::StrCat(absl::StrJoin(why, "\n"), "\n")};
  };
  const HttpResponder started = [ready, has_started = std::make_shared<std::atomic<bool>>(false)](
                                    const HttpRequest& request) {
    HttpReply reply = *has_started ? HttpReply{.body = "started\n"} : ready(request);
    if (reply.status == 200) *has_started = true;
    return reply;
  };
  return {
      {"GET", "/metrics",
       [&registry](const HttpRequest&) {
         return HttpReply{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                          .body = registry.Text()};
       }},
      {"GET", "/livez", [](const HttpRequest&) { return HttpReply{.body = "alive\n"}; }},
      {"GET", "/readyz", ready},
      {"GET", "/health", ready},
      {"GET", "/startupz", started},
      {"GET", "/version",
       [](const HttpRequest&) {
         return HttpReply::Json(200,
                                absl::StrCat("{\"version\":\"", std::string(Version()), "\"}\n"));
       }},
  };
}

}  // namespace tessera
