#include "services/router/edge/balance_routes.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::router {
namespace {

HttpReply ReplyFor(const absl::Status& status) {
  if (status.ok()) return {.status = 202, .body = "accepted\n"};
  return {.status = 409, .body = absl::StrCat(std::string(status.message()), "\n")};
}

}  // namespace

std::vector<HttpRoute> BalanceRoutes(std::function<Cluster*()> cluster) {
  using Act = std::function<HttpReply(Cluster&)>;
  const auto with = [cluster = std::move(cluster)](Act act) {
    return [cluster, act = std::move(act)](const HttpRequest&) -> HttpReply {
      Cluster* there = cluster();
      if (there == nullptr) return {.status = 503, .body = "the router is still starting\n"};
      return act(*there);
    };
  };
  return {
      {"GET", "/balance", with([](Cluster& c) { return HttpReply::Json(200, c.BalanceReport()); })},
      {"POST", "/balance/look",
       with([](Cluster& c) { return ReplyFor(c.TriggerBalance(/*moves=*/false)); })},
      {"POST", "/balance/trigger",
       with([](Cluster& c) { return ReplyFor(c.TriggerBalance(/*moves=*/true)); })},
      {"POST", "/balance/freeze", with([](Cluster& c) { return ReplyFor(c.FreezeBalance(true)); })},
      {"POST", "/balance/thaw", with([](Cluster& c) { return ReplyFor(c.FreezeBalance(false)); })},
  };
}

}  // namespace tessera::router
