#pragma once

// The TLS of a gRPC server whose files change while it runs.
//
//   a connection begins --> files are read again --> changed, whole and fitting: in force from here
//   on
//                                                    anything else: what was in force stays
//
// No watcher and no interval: reading three small files is little beside a handshake, and what is
// half written is seen as such and read again by the next connection. gRPC's own watcher of files
// does not compare a key with its certificate, so a pair caught between two writes would replace
// the one that works.

#include <memory>

#include "absl/status/statusor.h"
#include "common/rpc/tls_files.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace tessera {

// `files` empty: plain text. The result must outlive the server that listens with it. With a
// ca_file only clients with a certificate it signed are let in. A change that cannot be used is
// logged once, however many connections find it.
// Errors are those of ReadTlsFiles and CheckTlsPair; kInvalidArgument without a certificate, too.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files);

}  // namespace tessera
