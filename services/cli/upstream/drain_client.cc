#include "services/cli/upstream/drain_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/cluster.grpc.pb.h"

namespace tessera::cli {

absl::Status DrainShard(const std::string& router_address, const std::string& secret_file,
                        uint32_t shard, absl::Duration timeout) {
  TESSERA_ASSIGN_OR_RETURN(const ClusterSecret secret, ClusterSecret::FromFile(secret_file));
  TESSERA_ASSIGN_OR_RETURN(
      auto channel, MakeChannel({.address = router_address, .reconnect_min = absl::Seconds(1)}));
  const auto stub = v1::Cluster::NewStub(channel);
  const auto greet = [&](const v1::GreetRequest& greeting, v1::GreetReply& reply) {
    grpc::ClientContext context;
    SetTimeout(context, absl::Seconds(5));
    return FromGrpc(stub->Greet(&context, greeting, &reply));
  };
  v1::DrainRequest request;
  TESSERA_RETURN_IF_ERROR(Prove(secret, greet, *request.mutable_proof()));
  request.set_shard_id(shard);
  grpc::ClientContext context;
  SetTimeout(context, timeout);
  v1::DrainReply reply;
  return FromGrpc(stub->Drain(&context, request, &reply));
}

}  // namespace tessera::cli
