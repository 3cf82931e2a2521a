#include "common/rpc/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "absl/strings/str_cat.h"
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

using CertificatePtr = std::unique_ptr<X509, decltype(&X509_free)>;
using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

template <typename Read>
auto* ParsePem(const std::string& pem, Read read) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bytes(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  // No password: what is encrypted cannot be used, and nobody is there to be asked for one.
  auto* parsed = read(
      bytes.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr);
  ERR_clear_error();
  return parsed;
}

CertificatePtr ParseCertificate(const std::string& pem) {
  return {ParsePem(pem, &PEM_read_bio_X509), &X509_free};
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

absl::Status CheckTlsPair(const TlsFiles& files, const TlsContents& contents) {
  const auto wrong = [](const std::string& file, const char* what) {
    return absl::InvalidArgumentError(absl::StrCat("TLS file ", file, ": ", what));
  };
  const CertificatePtr certificate = ParseCertificate(contents.certificate);
  if (certificate == nullptr) return wrong(files.certificate_file, "no PEM certificate");
  const KeyPtr key(ParsePem(contents.key, &PEM_read_bio_PrivateKey), &EVP_PKEY_free);
  if (key == nullptr) return wrong(files.key_file, "no PEM key without a password");
  const bool fits = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits) {
    return wrong(files.key_file, absl::StrCat("not the key of ", files.certificate_file).c_str());
  }
  if (!files.ca_file.empty() && ParseCertificate(contents.ca) == nullptr) {
    return wrong(files.ca_file, "no PEM certificate");
  }
  return absl::OkStatus();
}

}  // namespace tessera
