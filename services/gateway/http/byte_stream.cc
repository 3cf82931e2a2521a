#include "services/gateway/http/byte_stream.h"

#include <unistd.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "absl/strings/str_cat.h"

namespace tessera::gateway {
namespace {

namespace ssl = net::ssl;
using tcp = net::ip::tcp;

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(tcp::socket socket) : socket_(std::move(socket)) {}

  net::awaitable<void> Open(ErrorCode& error) override {
    error = {};
    co_return;
  }
  net::awaitable<size_t> ReadSome(net::mutable_buffer buffer, ErrorCode& error) override {
    co_return co_await socket_.async_read_some(buffer,
                                               net::redirect_error(net::use_awaitable, error));
  }
  net::awaitable<void> Write(net::const_buffer buffer, ErrorCode& error) override {
    co_await net::async_write(socket_, buffer, net::redirect_error(net::use_awaitable, error));
  }
  tcp::socket& socket() override { return socket_; }

 private:
  tcp::socket socket_;
};

class TlsStream final : public ByteStream {
 public:
  TlsStream(tcp::socket socket, std::shared_ptr<ssl::context> context)
      : context_(std::move(context)), stream_(std::move(socket), *context_) {}

  net::awaitable<void> Open(ErrorCode& error) override {
    co_await stream_.async_handshake(ssl::stream_base::server,
                                     net::redirect_error(net::use_awaitable, error));
  }
  net::awaitable<size_t> ReadSome(net::mutable_buffer buffer, ErrorCode& error) override {
    co_return co_await stream_.async_read_some(buffer,
                                               net::redirect_error(net::use_awaitable, error));
  }
  net::awaitable<void> Write(net::const_buffer buffer, ErrorCode& error) override {
    co_await net::async_write(stream_, buffer, net::redirect_error(net::use_awaitable, error));
  }
  tcp::socket& socket() override { return stream_.next_layer(); }

 private:
  const std::shared_ptr<ssl::context> context_;  // lives as long as its streams
  ssl::stream<tcp::socket> stream_;
};

class ServerTlsContext final : public TlsContext {
 public:
  explicit ServerTlsContext(std::shared_ptr<ssl::context> context) : context_(std::move(context)) {}
  std::unique_ptr<ByteStream> MakeStream(tcp::socket socket) override {
    return std::make_unique<TlsStream>(std::move(socket), context_);
  }

 private:
  const std::shared_ptr<ssl::context> context_;
};

}  // namespace

std::unique_ptr<ByteStream> MakePlainStream(tcp::socket socket) {
  return std::make_unique<PlainStream>(std::move(socket));
}

absl::StatusOr<std::shared_ptr<TlsContext>> TlsContext::Load(const std::string& certificate_file,
                                                             const std::string& key_file) {
  for (const std::string& file : {certificate_file, key_file}) {
    if (access(file.c_str(), R_OK) != 0) {
      return absl::NotFoundError(absl::StrCat("cannot read the TLS file '", file, "'"));
    }
  }
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                       ssl::context::no_sslv3 | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
  ErrorCode error;
  context->use_certificate_chain_file(certificate_file, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat(certificate_file, ": no PEM certificate: ", error.message()));
  }
  context->use_private_key_file(key_file, ssl::context::pem, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat(key_file, ": no PEM key of ", certificate_file, ": ", error.message()));
  }
  return std::make_shared<ServerTlsContext>(std::move(context));
}

}  // namespace tessera::gateway
