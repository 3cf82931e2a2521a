#include "tests/support/tls_peer.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>

#include "common/base/check.h"

namespace tessera::testing {
namespace {

constexpr long kDaySeconds = 24 * 60 * 60;

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

using BioPtr = std::unique_ptr<BIO, decltype(&BIO_free)>;

}  // namespace

PemPair MakeCertificate(const std::string& common_name) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                &EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
  TESSERA_CHECK(key != nullptr && certificate != nullptr);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kDaySeconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kDaySeconds);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate.get(), name);
  TESSERA_CHECK(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  const BioPtr certificate_pem(BIO_new(BIO_s_mem()), &BIO_free);
  const BioPtr key_pem(BIO_new(BIO_s_mem()), &BIO_free);
  TESSERA_CHECK(PEM_write_bio_X509(certificate_pem.get(), certificate.get()) == 1);
  TESSERA_CHECK(PEM_write_bio_PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                         nullptr) == 1);
  return {TextOf(certificate_pem.get()), TextOf(key_pem.get())};
}

struct TlsConnection::Session {
  int socket = -1;
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  bool is_open = false;
  std::string buffer;
};

TlsConnection::TlsConnection(int port) : session_(std::make_unique<Session>()) {
  session_->socket = socket(AF_INET, SOCK_STREAM, 0);
  timeval timeout{.tv_sec = 10, .tv_usec = 0};
  setsockopt(session_->socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  session_->context = SSL_CTX_new(TLS_client_method());
  session_->ssl = SSL_new(session_->context);
  SSL_set_fd(session_->ssl, session_->socket);
  session_->is_open =
      connect(session_->socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      SSL_connect(session_->ssl) == 1;
}

TlsConnection::~TlsConnection() {
  SSL_free(session_->ssl);
  SSL_CTX_free(session_->context);
  close(session_->socket);
}

bool TlsConnection::is_open() const { return session_->is_open; }

std::string TlsConnection::PeerName() const {
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      SSL_get1_peer_certificate(session_->ssl), &X509_free);
  if (certificate == nullptr) return "";
  std::array<char, 256> name{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name.data(),
                            name.size());
  return name.data();
}

bool TlsConnection::Send(std::string_view bytes) {
  return session_->is_open &&
         SSL_write(session_->ssl, bytes.data(), static_cast<int>(bytes.size())) ==
             static_cast<int>(bytes.size());
}

std::optional<std::string> TlsConnection::ReadUntil(std::string_view mark) {
  std::string& buffer = session_->buffer;
  size_t at;
  while ((at = buffer.find(mark)) == std::string::npos) {
    std::array<char, 4096> bytes;
    const int size = session_->is_open ? SSL_read(session_->ssl, bytes.data(), bytes.size()) : -1;
    if (size <= 0) return std::nullopt;
    buffer.append(bytes.data(), static_cast<size_t>(size));
  }
  std::string text = buffer.substr(0, at + mark.size());
  buffer.erase(0, text.size());
  return text;
}

}  // namespace tessera::testing
