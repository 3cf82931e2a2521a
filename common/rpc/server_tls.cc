#include "common/rpc/server_tls.h"

#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/log.h"
#include "common/base/status.h"

namespace tessera {
namespace {

// gRPC 1.51 asks for the configuration under a lock of its own, in which it also drops the one
// before; but a connection that asked a moment ago begins its handshake with that behind the lock,
// some microseconds later. Before a new one is handed out, those are let through.
constexpr absl::Duration kSettleTime = absl::Milliseconds(100);

absl::StatusOr<TlsContents> ReadUsable(const TlsFiles& files) {
  TESSERA_ASSIGN_OR_RETURN(TlsContents contents, ReadTlsFiles(files));
  TESSERA_RETURN_IF_ERROR(CheckTlsPair(files, contents));
  return contents;
}

// What gRPC asks at the beginning of each connection, on threads of its own. Thread-safe.
class CertificateSource {
 public:
  CertificateSource(TlsFiles files, TlsContents contents)
      : files_(std::move(files)), in_force_(std::move(contents)) {}

  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(is_in_use_, true) && !Renew()) {
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    const grpc_ssl_pem_key_cert_pair pair = {in_force_.key.c_str(), in_force_.certificate.c_str()};
    // Clients that are asked for no certificate need no roots, but gRPC insists on some.
    const std::string& roots = in_force_.ca.empty() ? in_force_.certificate : in_force_.ca;
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

 private:
  // Whether the files hold something new that can be used; it is in force then.
  bool Renew() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    absl::StatusOr<TlsContents> contents = ReadTlsFiles(files_);
    if (contents.ok() && *contents == in_force_) {
      refused_because_.clear();
      return false;
    }
    absl::Status usable = contents.status();
    if (usable.ok()) usable = CheckTlsPair(files_, *contents);
    if (!usable.ok()) {
      const std::string why(usable.message());
      if (std::exchange(refused_because_, why) != why) {
        TESSERA_LOG(WARNING) << "the TLS files of gRPC changed but cannot be used, the old ones "
                             << "stay: " << why;
      }
      return false;
    }
    refused_because_.clear();
    in_force_ = *std::move(contents);
    absl::SleepFor(kSettleTime);
    TESSERA_LOG(INFO) << "the TLS files of gRPC changed; new connections use them";
    return true;
  }

  const TlsFiles files_;

  absl::Mutex mutex_;
  TlsContents in_force_ ABSL_GUARDED_BY(mutex_);
  bool is_in_use_ ABSL_GUARDED_BY(mutex_) = false;       // handed out once
  std::string refused_because_ ABSL_GUARDED_BY(mutex_);  // what was logged; empty: nothing is wrong
};

// gRPC's C++ has no credentials that ask for their certificate; its C has.
class ReloadingCredentials final : public grpc::ServerCredentials {
 public:
  ReloadingCredentials(const TlsFiles& files, TlsContents contents)
      : source_(files, std::move(contents)) {
    const auto request = files.ca_file.empty()
                             ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                             : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            request,
            [](void* source, grpc_ssl_server_certificate_config** config) {
              return static_cast<CertificateSource*>(source)->Fetch(config);
            },
            &source_));
  }
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }

  // Who calls is told by keys, not by what a processor could add.
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  CertificateSource source_;
  grpc_server_credentials* credentials_ = nullptr;
};

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files) {
  if (files.empty()) return grpc::InsecureServerCredentials();
  if (files.certificate_file.empty()) {
    return absl::InvalidArgumentError(
        "a TLS server needs a certificate and its key, not a CA alone");
  }
  TESSERA_ASSIGN_OR_RETURN(TlsContents contents, ReadUsable(files));
  return std::make_shared<ReloadingCredentials>(files, std::move(contents));
}

}  // namespace tessera
