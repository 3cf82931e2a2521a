// gateway_bench [rounds [streams [prompt_bytes]]]
//
// What the gateway adds to the time to the first token. Clients with a connection each send
// streamed chats, one after the other, some 100 ms apart; the router before which the gateway
// stands is a stub that answers at once. The same load goes to the stub without a gateway, over one
// stream as the gateway's is; the difference of the two medians is what is added. One JSON line.
// Everything runs in this process, so on a busy machine the figures are those of the machine.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/concurrency/thread.h"
#include "services/gateway/gateway_server.h"
#include "services/gateway/upstream/router_client.h"
#include "tests/support/raw_http.h"
#include "tests/support/stub_router.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_tokenizer.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

constexpr int kPauseMs = 100;

struct Load {
  size_t rounds;
  size_t streams;
  size_t prompt_bytes;
};

// Milliseconds to the first token of all requests, sorted. `idle` waits `ms` on a client's thread.
std::vector<double> Run(const Load& load, const Clock& clock,
                        const std::function<std::function<absl::Duration()>(size_t)>& client_of,
                        const std::function<void(size_t, int)>& idle) {
  absl::Mutex mutex;
  std::vector<double> times;
  std::vector<std::unique_ptr<Thread>> threads;
  for (size_t i = 0; i < load.streams; ++i) {
    threads.push_back(std::make_unique<Thread>(absl::StrCat("client-", i), [&, i](std::stop_token) {
      const std::function<absl::Duration()> request = client_of(i);
      idle(i, static_cast<int>(i * kPauseMs / load.streams));
      for (size_t round = 0; round < load.rounds; ++round) {
        const absl::Duration start = clock.Elapsed();
        const absl::Duration first = request() - start;
        // The first ones open connections and fill caches.
        if (round >= load.rounds / 10) {
          absl::MutexLock lock(&mutex);
          times.push_back(absl::ToDoubleMilliseconds(first));
        }
        idle(i, kPauseMs);
      }
    }));
  }
  for (const auto& thread : threads) thread->Join();
  std::sort(times.begin(), times.end());
  return times;
}

double At(const std::vector<double>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * sorted.size()))];
}

// Through the gateway, which is at `port`.
std::vector<double> Through(const Load& load, const Clock& clock, int port) {
  std::vector<std::unique_ptr<testing::RawConnection>> connections;
  for (size_t i = 0; i < load.streams; ++i) {
    connections.push_back(std::make_unique<testing::RawConnection>(port));
  }
  const std::string post = testing::RawPost(
      "/v1/chat/completions",
      absl::StrCat(R"({"messages":[{"role":"user","content":")",
                   std::string(load.prompt_bytes, 'a'), R"("}],"stream":true,"max_tokens":16})"));
  const auto client_of = [&](size_t i) -> std::function<absl::Duration()> {
    return [&clock, &post, &connection = *connections[i]] {
      TESSERA_CHECK(connection.Send(post));
      TESSERA_CHECK(connection.ReadUntil("\"delta\":{\"content\":").has_value());
      const absl::Duration first = clock.Elapsed();
      TESSERA_CHECK(connection.ReadUntil("[DONE]\n\n\r\n0\r\n\r\n").has_value());
      return first;
    };
  };
  return Run(load, clock, client_of, [&](size_t i, int ms) { connections[i]->IsReadable(ms); });
}

// The requests of all clients on one stream to the stub, by their ids.
class DirectClients final : public RouterEvents {
 public:
  explicit DirectClients(const std::string& address) {
    RouterClientConfig config;
    config.address = address;
    client_ = *RouterClient::Open(config, *this);
    client_->Connect();
    up_.WaitForNotification();
  }
  void OnEvent(wire::TokenEvent event) override {
    if (!std::holds_alternative<wire::TokensEvent>(event.event)) return;
    absl::MutexLock lock(&mutex_);
    waiting_.extract(event.request_id).mapped()->Notify();
  }
  void OnReport(const RouterReport&) override {
    if (!up_.HasBeenNotified()) up_.Notify();
  }
  void OnDown(absl::Status) override {}

  void Ask(wire::GenerationParams params) {
    absl::Notification first;
    {
      absl::MutexLock lock(&mutex_);
      params.request_id = absl::StrCat(next_id_++);
      waiting_.emplace(params.request_id, &first);
    }
    TESSERA_CHECK(client_->Send(params));
    first.WaitForNotification();
  }

 private:
  absl::Notification up_;
  absl::Mutex mutex_;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, absl::Notification*> waiting_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<RouterClient> client_;
};

std::vector<double> Direct(const Load& load, const Clock& clock, const std::string& address) {
  DirectClients clients(address);
  wire::GenerationParams params;
  params.prompt.assign(load.prompt_bytes + 20, 20);
  params.tokens_max = 16;
  absl::Notification never;
  return Run(
      load, clock,
      [&](size_t) -> std::function<absl::Duration()> {
        return [&] {
          clients.Ask(params);
          return clock.Elapsed();
        };
      },
      [&](size_t, int ms) { never.WaitForNotificationWithTimeout(absl::Milliseconds(ms)); });
}

void Bench(const Load& load) {
  const RealClock clock;
  testing::StubRouterOptions options;
  options.eos_token = testing::kTinyEos;
  options.tokens_free = UINT32_MAX;
  options.token = [](const wire::GenerationParams&, uint32_t) { return testing::TinyId('x'); };
  testing::StubRouter router(options);
  const testing::TempFolder folder;
  testing::WriteTinyText(testing::TinyServedSpec(load.prompt_bytes + 512), folder.path());
  GatewayConfig config;
  config.text.folder = folder.path();
  config.rest.model_names = {"m"};
  config.pool.addresses = {router.address()};
  config.grpc_listen = "";
  config.admin_listen = "";
  auto server = GatewayServer::Start(config, clock);
  TESSERA_CHECK(server.ok());
  TESSERA_CHECK(testing::WaitUntil([&] { return (*server)->ReadinessReasons().empty(); }));
  const std::vector<double> direct = Direct(load, clock, router.address());
  const std::vector<double> through = Through(load, clock, (*server)->http_port());
  std::printf(
      "{\"case\":\"gateway\",\"streams\":%zu,\"prompt_bytes\":%zu,\"requests\":%zu,"
      "\"added_p50_ms\":%.3f,\"through_p50_ms\":%.3f,\"through_p95_ms\":%.3f,"
      "\"through_min_ms\":%.3f,\"direct_p50_ms\":%.3f,\"direct_min_ms\":%.3f}\n",
      load.streams, load.prompt_bytes, through.size(), At(through, 0.5) - At(direct, 0.5),
      At(through, 0.5), At(through, 0.95), through.front(), At(direct, 0.5), direct.front());
}

}  // namespace
}  // namespace tessera::gateway

int main(int argc, char** argv) {
  const auto number = [&](int index, size_t otherwise) {
    return argc > index ? std::strtoul(argv[index], nullptr, 10) : otherwise;
  };
  tessera::gateway::Bench(
      {.rounds = number(1, 50), .streams = number(2, 32), .prompt_bytes = number(3, 40)});
  return 0;
}
