#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera {

// PEM files of one end. All empty: plain text. On a server `ca_file` asks clients for a certificate
// it signed; on a client it says who may sign the server's.
struct TlsFiles {
  std::string certificate_file;
  std::string key_file;
  std::string ca_file;

  bool empty() const { return certificate_file.empty() && key_file.empty() && ca_file.empty(); }
};

struct TlsContents {
  std::string certificate;
  std::string key;
  std::string ca;

  friend bool operator==(const TlsContents&, const TlsContents&) = default;
};

// kNotFound naming the file that cannot be read; kInvalidArgument for a certificate without a key
// or a key without a certificate.
absl::StatusOr<TlsContents> ReadTlsFiles(const TlsFiles& files);

// Whether certificate and key are PEM and belong together, and the CA, if there is one, is PEM.
// kInvalidArgument naming the file that is not.
absl::Status CheckTlsPair(const TlsFiles& files, const TlsContents& contents);

}  // namespace tessera
