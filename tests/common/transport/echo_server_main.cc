// A shard in a process of its own, for tests that kill it: prints its address and echoes until its
// standard input closes (so that it never outlives its parent).
//   transport_echo_server ucx|shm|grpc [spin in us]

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/base/clock.h"
#include "common/transport/data_address.h"
#include "tests/common/transport/echo_server.h"

int main(int argc, char** argv) {
  const tessera::RealClock clock;
  const auto way = tessera::ParseDataAddress(std::string(argc > 1 ? argv[1] : "") + ":");
  if (!way.ok()) return 2;
  auto transport = tessera::MakeTransport(way->way, {});
  if (!transport.ok()) {
    std::fprintf(stderr, "%s\n", std::string(transport.status().message()).c_str());
    return 1;
  }
  tessera::ExchangeConfig config;
  if (argc > 2) config.progress.spin = absl::Microseconds(std::atoi(argv[2]));
  tessera::EchoServer server(clock, *std::move(transport), /*credits=*/4, config);
  const auto address = server.Start(way->way == tessera::DataWay::kShm ? "" : "127.0.0.1:0");
  if (!address.ok()) return 1;
  std::printf("%s\n", address->c_str());
  std::fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}
