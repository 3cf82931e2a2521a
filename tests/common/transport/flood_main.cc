// Sends frames to whoever connects, as fast as they are taken, and is ended by a signal amid it, so
// many microseconds after the hundredth. Prints its address.
//   transport_flood shm|ucx MICROSECONDS

#include <sys/time.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/common/transport/box_transport.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  constexpr int kPendingMax = 8;
  const std::vector<std::byte> frame(6144);
  const auto transport = tessera::MakeBoxTransport(argv[1]);
  const auto address = transport->Listen(tessera::AnyAddress(argv[1]));
  if (!address.ok()) return 1;
  std::printf("%s\n", address->c_str());
  std::fflush(stdout);
  using Kind = tessera::TransportEvent::Kind;
  int pending = 0;
  int sent = 0;
  std::vector<tessera::LinkId> links;
  std::vector<tessera::TransportEvent> events;
  for (;;) {
    transport->Poll(events);
    for (const tessera::TransportEvent& event : events) {
      if (event.kind == Kind::kAccepted) links.push_back(event.link);
      pending -= event.kind == Kind::kSent;
    }
    events.clear();
    for (const tessera::LinkId link : links) {
      if (pending >= kPendingMax) break;
      pending += !transport->Send(link, frame, nullptr, 1);
      if (++sent != 100) continue;
      const itimerval life{{}, {0, std::atoi(argv[2])}};
      setitimer(ITIMER_REAL, &life, nullptr);  // its signal ends a process that does not catch it
    }
  }
}
