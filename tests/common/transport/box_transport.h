#pragma once

// The transports between processes of one box, by name: "shm" and "ucx".

#include <memory>
#include <string_view>

#include "common/base/check.h"
#include "common/transport/transport_shm.h"
#include "common/transport/transport_ucx.h"

namespace tessera {

inline std::unique_ptr<Transport> MakeBoxTransport(std::string_view way) {
  auto transport = way == "shm" ? MakeShmTransport() : MakeUcxTransport({});
  TESSERA_CHECK(transport.ok());
  return *std::move(transport);
}

// Where one of them listens: at any free address.
inline const char* AnyAddress(std::string_view way) { return way == "shm" ? "" : "127.0.0.1:0"; }

}  // namespace tessera
