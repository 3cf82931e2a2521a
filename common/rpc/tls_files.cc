#include "common/rpc/tls_files.h"

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in.good() && text.empty()) {
    return absl::NotFoundError(absl::StrCat("cannot read the TLS file ", path));
  }
  return text;
}

}  // namespace

absl::StatusOr<TlsContents> ReadTlsFiles(const TlsFiles& files) {
  if (files.certificate_file.empty() != files.key_file.empty()) {
    return absl::InvalidArgumentError("a TLS certificate and its key are given together");
  }
  TlsContents contents;
  TESSERA_ASSIGN_OR_RETURN(contents.certificate, ReadFile(files.certificate_file));
  TESSERA_ASSIGN_OR_RETURN(contents.key, ReadFile(files.key_file));
  TESSERA_ASSIGN_OR_RETURN(contents.ca, ReadFile(files.ca_file));
  return contents;
}

}  // namespace tessera
