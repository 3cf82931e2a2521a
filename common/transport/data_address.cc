#include "common/transport/data_address.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera {
namespace {

constexpr std::array<std::pair<DataWay, std::string_view>, 4> kSchemes = {{
    {DataWay::kUcx, "ucx:"},
    {DataWay::kShm, "shm:"},
    {DataWay::kGrpc, "grpc:"},
    {DataWay::kLoopback, "loopback:"},
}};

}  // namespace

absl::StatusOr<DataAddress> ParseDataAddress(std::string_view text) {
  for (const auto& [way, scheme] : kSchemes) {
    if (text.starts_with(scheme)) return DataAddress{way, std::string(text.substr(scheme.size()))};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(text),
                   "' is no data address, expected ucx:host:port, shm:name, "
                   "grpc:host:port or loopback:name"));
}

std::string FormatDataAddress(const DataAddress& address) {
  for (const auto& [way, scheme] : kSchemes) {
    if (way == address.way) return absl::StrCat(std::string(scheme), address.place);
  }
  return address.place;
}

absl::StatusOr<std::unique_ptr<Transport>> MakeTransport(DataWay way,
                                                         const TransportOptions& options) {
  switch (way) {
    case DataWay::kUcx:
      return MakeUcxTransport(options.ucx);
    case DataWay::kShm:
      return MakeShmTransport();
    case DataWay::kGrpc:
      return MakeGrpcTransport(options.grpc, options.grpc_door);
    case DataWay::kLoopback:
      break;
  }
  if (options.loopback == nullptr) {
    return absl::FailedPreconditionError("loopback: addresses reach shards of this process only");
  }
  return options.loopback->MakeTransport();
}

}  // namespace tessera
