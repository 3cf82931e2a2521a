#include "common/admin/admin_routes.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/admin/process_usage.h"
#include "common/base/version.h"

namespace tessera {

void AddProcessMetrics(Registry& registry, const std::string& service) {
  registry
      .AddGauge("tessera_build_info", "Always 1; the labels say what runs.",
                {{"service", service}, {"version", std::string(Version())}})
      .Set(1);
  Counter cpu = registry.AddCounter("process_cpu_seconds_total", "CPU time of all threads.");
  Gauge resident = registry.AddGauge("process_resident_memory_bytes", "Resident set.");
  Gauge threads = registry.AddGauge("process_threads", "Threads that live.");
  registry.AddGauge("process_start_time_seconds", "Start of the process, Unix time.")
      .Set(ReadProcessUsage().start_seconds);
  registry.BeforeText([cpu, resident, threads]() mutable {
    const ProcessUsage usage = ReadProcessUsage();
    cpu.Increment(std::max(0.0, usage.cpu_seconds - cpu.value()));
    resident.Set(static_cast<double>(usage.resident_bytes));
    threads.Set(static_cast<double>(usage.thread_count));
  });
}

std::vector<HttpRoute> AdminRoutes(const Registry& registry, ReadinessReasons reasons,
                                   MetricAliases aliases) {
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
       [&registry, aliases = std::move(aliases)](const HttpRequest&) {
         return HttpReply{.content_type = kMetricsContentType, .body = registry.Text(aliases)};
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
