#include "common/rpc/tls_files.h"

#include "common/base/file.h"
#include "common/base/status.h"

namespace tessera {
namespace {

absl::StatusOr<std::string> ReadIfNamed(const std::string& path) {
  if (path.empty()) return std::string();
  absl::StatusOr<std::string> text = ReadWholeFile(path);
  if (!text.ok()) return Annotate(text.status(), "TLS file");
  return text;
}

}  // namespace

absl::StatusOr<TlsContents> ReadTlsFiles(const TlsFiles& files) {
  if (files.certificate_file.empty() != files.key_file.empty()) {
    return absl::InvalidArgumentError("a TLS certificate and its key are given together");
  }
  TlsContents contents;
  TESSERA_ASSIGN_OR_RETURN(contents.certificate, ReadIfNamed(files.certificate_file));
  TESSERA_ASSIGN_OR_RETURN(contents.key, ReadIfNamed(files.key_file));
  TESSERA_ASSIGN_OR_RETURN(contents.ca, ReadIfNamed(files.ca_file));
  return contents;
}

}  // namespace tessera
