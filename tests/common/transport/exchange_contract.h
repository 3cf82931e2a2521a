#pragma once

// What every transport owes the exchange (exchange_contract_test.cc), to be run over each of them:
//   INSTANTIATE_TEST_SUITE_P(Name, ExchangeContractTest, ::testing::ValuesIn(ways), NameOfWay);

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/transport/exchange_client.h"
#include "common/transport/exchange_server.h"
#include "common/transport/transport_loopback.h"
#include "tests/common/transport/echo_server.h"
#include "tests/common/transport/exchange_samples.h"
#include "tests/common/transport/ip_addresses.h"

namespace tessera {

struct Ways {
  const char* name;
  std::string any_address;     // to listen at
  std::string nobody_address;  // where nobody listens
  std::function<std::unique_ptr<Transport>(LoopbackNetwork&)> make;
};

class ExchangeContractTest : public ::testing::TestWithParam<Ways> {
 protected:
  void SetUp() override {
    const std::string& address = GetParam().any_address;
    if (address != "" && !CanBind(address)) GTEST_SKIP() << "this box has no address " << address;
  }
  std::unique_ptr<Transport> MakeTransport() { return GetParam().make(*network_); }
  std::unique_ptr<EchoServer> MakeServer(uint32_t credits = 3) {
    return std::make_unique<EchoServer>(clock_, MakeTransport(), credits);
  }
  std::string Start(EchoServer& server) {
    const auto address = server.Start(GetParam().any_address);
    EXPECT_TRUE(address.ok()) << address.status();
    return address.value_or("");
  }
  PeerId Connect(TestRouter& router, const std::string& address,
                 const wire::Hello& hello = SampleHello()) {
    const auto peer = router.exchange().Connect(address, hello, absl::Seconds(10));
    EXPECT_TRUE(peer.ok()) << peer.status();
    return peer.value_or(PeerId{});
  }

  RealClock clock_;
  std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, 1);
};

inline std::string NameOfWay(const ::testing::TestParamInfo<Ways>& info) { return info.param.name; }

}  // namespace tessera
