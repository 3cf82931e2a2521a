#pragma once

// Certificates made on the spot, and a client that speaks TLS and shows whom it met.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace tessera::testing {

struct PemPair {
  std::string certificate;
  std::string key;
};

// A new key and a certificate it signed itself for `common_name`, valid for a day.
PemPair MakeCertificate(const std::string& common_name);

// One TLS connection to 127.0.0.1 that trusts everybody. Owned by one thread. Reads give up after
// 10 seconds.
class TlsConnection {
 public:
  explicit TlsConnection(int port);
  ~TlsConnection();
  TlsConnection(const TlsConnection&) = delete;
  TlsConnection& operator=(const TlsConnection&) = delete;

  bool is_open() const;          // the handshake went well
  std::string PeerName() const;  // common name of the server's certificate
  bool Send(std::string_view bytes);
  // Bytes up to and including `mark`; nothing if they end, or nothing comes, before.
  std::optional<std::string> ReadUntil(std::string_view mark);

 private:
  struct Session;
  const std::unique_ptr<Session> session_;
};

}  // namespace tessera::testing
