#pragma once

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "common/transport/socket_address.h"

namespace tessera {

// Whether this box has the address, "host:0".
inline bool CanBind(const std::string& address) {
  const auto socket_address = ParseSocketAddress(address);
  if (!socket_address.ok()) return false;
  const int fd = socket(socket_address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool bound = fd >= 0 && bind(fd, socket_address->get(), socket_address->length) == 0;
  if (fd >= 0) close(fd);
  return bound;
}

// "[address]" of a network device that others could reach; empty if there is none.
inline std::string DeviceAddressV6() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return {};
  std::string found;
  for (const ifaddrs* i = all; i != nullptr && found.empty(); i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, i->ifa_addr, sizeof(sockaddr_in6));
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    if ((i->ifa_flags & IFF_LOOPBACK) != 0 || IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) continue;
    found = FormatSocketAddress(storage);
    found.resize(found.rfind(':'));
  }
  freeifaddrs(all);
  return found;
}

}  // namespace tessera
