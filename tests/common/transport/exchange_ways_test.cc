// The contract over the transports that need no gRPC.

#include "common/transport/transport_shm.h"
#include "tests/common/transport/exchange_contract.h"
#ifdef TESSERA_HAS_UCX
#include "common/transport/transport_ucx.h"
#endif

namespace tessera {
namespace {

std::vector<Ways> AllWays() {
  std::vector<Ways> ways = {
      {"loopback", "", "nobody", [](LoopbackNetwork& net) { return net.MakeTransport(); }}};
  ways.push_back({"shm", "", "nobody", [](LoopbackNetwork&) { return *MakeShmTransport(); }});
#ifdef TESSERA_HAS_UCX
  const auto add_ucx = [&ways](const char* name, const std::string& host, UcxConfig config) {
    ways.push_back({name, host + ":0", host + ":1", [config](LoopbackNetwork&) {
                      auto transport = MakeUcxTransport(config);
                      TESSERA_CHECK(transport.ok());
                      return *std::move(transport);
                    }});
  };
  add_ucx("ucx", "127.0.0.1", {});
  add_ucx("ucx_tcp", "127.0.0.1", {.transports = "tcp,self"});
  // UCX 1.13 takes no TCP lane over ::1, so the address of a device.
  const std::string device = DeviceAddressV6();
  add_ucx("ucx_v6", device.empty() ? "[no IPv6 device]" : device, {.ipv6 = true});
#endif
  return ways;
}

INSTANTIATE_TEST_SUITE_P(Transports, ExchangeContractTest, ::testing::ValuesIn(AllWays()),
                         NameOfWay);

}  // namespace
}  // namespace tessera
