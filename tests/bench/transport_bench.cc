// transport_bench [calls]
//
// Round trip router -> shard -> router between two processes of this box, through UCX's shared
// memory and through our own: rows of 6 KB up and down, written into the slot and read from where
// they arrived. One JSON line a case: "awake" polls on both sides, "asleep" sleeps on both sides
// between frames, "kept awake" as well, but processors are kept from halting meanwhile as a router
// does it (IdlePoll). Needs two idle cores; the smallest value shows what a busy box hides. Before
// all that, what nobody can beat asleep: two processes that wake each other by an eventfd, and do
// nothing else.

#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/owned_fd.h"
#include "common/concurrency/idle_poll.h"
#include "common/transport/data_address.h"
#include "tests/common/transport/child_process.h"
#include "tests/common/transport/exchange_samples.h"

namespace tessera {
namespace {

enum class Waiting : uint8_t { kAsleep, kKeptAwake, kAwake };
constexpr const char* kWaitingNames[] = {"asleep", "kept awake", "awake"};

struct Case {
  std::string way;
  Waiting waiting;
  bool checksum;
  size_t rows;
};

double Micros(absl::Duration d) { return absl::ToDoubleMicroseconds(d); }

// `of_case`: the fields that say what was measured.
void Print(const std::string& of_case, std::vector<absl::Duration> times) {
  std::sort(times.begin(), times.end());
  std::printf(
      "{%s,\"calls\":%zu,\"min_us\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f}\n",
      of_case.c_str(), times.size(), Micros(times[0]), Micros(times[times.size() / 2]),
      Micros(times[times.size() * 9 / 10]), Micros(times[times.size() * 99 / 100]));
  std::fflush(stdout);
}

void Ring(int bell) {
  const uint64_t one = 1;
  TESSERA_CHECK(write(bell, &one, sizeof one) == sizeof one);
}
// False: the other end is gone.
bool Await(int bell) {
  uint64_t rings;
  return read(bell, &rings, sizeof rings) == sizeof rings;
}

void MeasureWaking(size_t calls) {
  const OwnedFd there(eventfd(0, EFD_CLOEXEC));
  const OwnedFd back(eventfd(0, EFD_CLOEXEC));
  const size_t rounds = calls + calls / 10;
  const pid_t child = fork();
  TESSERA_CHECK(child >= 0);
  if (child == 0) {
    for (size_t i = 0; i < rounds && Await(there.get()); ++i) Ring(back.get());
    _exit(0);
  }
  const RealClock clock;
  std::vector<absl::Duration> times;
  for (size_t i = 0; i < rounds; ++i) {
    const absl::Duration start = clock.Elapsed();
    Ring(there.get());
    TESSERA_CHECK(Await(back.get()));
    if (i >= calls / 10) times.push_back(clock.Elapsed() - start);
  }
  waitpid(child, nullptr, 0);
  Print("\"case\":\"waking alone\",\"waiting\":\"asleep\"", std::move(times));
}

void Measure(const Case& c, size_t calls) {
  const RealClock clock;
  const bool awake = c.waiting == Waiting::kAwake;
  const std::string spin_us = awake ? "1000000" : "0";
  std::unique_ptr<IdlePoll> idle_poll;
  if (c.waiting == Waiting::kKeptAwake) {
    idle_poll = std::make_unique<IdlePoll>(clock, absl::Milliseconds(20));
  }
  ChildProcess shard({TRANSPORT_ECHO_SERVER, c.way, spin_us});
  ExchangeConfig config;
  if (awake) config.progress.spin = absl::Seconds(1);
  auto transport = MakeTransport(ParseDataAddress(c.way + ":")->way, {});
  TESSERA_CHECK(transport.ok());
  TestRouter router(clock, *std::move(transport), config);
  wire::Hello hello = SampleHello();
  hello.checksum_payload = c.checksum;
  const auto peer = router.exchange().Connect(shard.ReadLine(), hello, absl::Seconds(20));
  TESSERA_CHECK(peer.ok());
  const Matrix rows = SampleRows(c.rows, hello.geometry.d_model, 1);
  const ShardPlan plan = SamplePlan(c.rows);
  std::vector<absl::Duration> times;
  std::vector<ExchangeEvent> events;
  for (size_t i = 0; i < calls + calls / 10; ++i) {
    const absl::Duration start = clock.Elapsed();
    const auto slot = router.exchange().Acquire(*peer);
    const auto header = wire::WriteCall(hello.geometry, {}, plan, rows.view(), slot->frame);
    TESSERA_CHECK(header.ok() && router.exchange().Post(*slot, *header).ok());
    if (idle_poll != nullptr) idle_poll->Extend();
    while (events.empty()) router.exchange().Wait(absl::Seconds(10), events);
    TESSERA_CHECK(events[0].kind == ExchangeEvent::Kind::kReply);
    if (i >= calls / 10) times.push_back(clock.Elapsed() - start);
    events.clear();
  }
  Print(absl::StrFormat("\"case\":\"transport\",\"way\":\"%s\",\"waiting\":\"%s\","
                        "\"rows\":%d,\"checksum\":%s",
                        c.way, kWaitingNames[static_cast<size_t>(c.waiting)], c.rows,
                        c.checksum ? "true" : "false"),
        std::move(times));
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  const size_t calls = argc > 1 ? static_cast<size_t>(std::atoi(argv[1])) : 2000;
  if (calls < 10) {
    std::fprintf(stderr, "usage: transport_bench [calls, at least 10]\n");
    return 2;
  }
  tessera::MeasureWaking(calls);
  using tessera::Waiting;
  for (const Waiting waiting : {Waiting::kAsleep, Waiting::kKeptAwake, Waiting::kAwake}) {
    for (const size_t rows : {1, 8, 32}) {
      for (const bool checksum : {true, false}) {
        for (const char* way : {"ucx", "shm"}) {
          tessera::Measure({way, waiting, checksum, rows}, calls);
        }
      }
    }
  }
  return 0;
}
