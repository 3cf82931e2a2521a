#pragma once

// A connection's bytes, plain or TLS. Internal to this folder: it needs Asio's headers.

#include <utility>  // Asio's coroutines use std::exchange without including it
// Keep the order: <utility> first.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace tessera::gateway {

namespace net = boost::asio;
using ErrorCode = boost::system::error_code;

// Owned by one I/O thread. One read and one write may be under way at once.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // The first words of a TLS connection; nothing for a plain one.
  virtual net::awaitable<void> Open(ErrorCode& error) = 0;
  // At least one byte, or an error.
  virtual net::awaitable<size_t> ReadSome(net::mutable_buffer buffer, ErrorCode& error) = 0;
  virtual net::awaitable<void> Write(net::const_buffer buffer, ErrorCode& error) = 0;
  virtual net::ip::tcp::socket& socket() = 0;
};

std::unique_ptr<ByteStream> MakePlainStream(net::ip::tcp::socket socket);

// Certificate and key of a server.
class TlsContext {
 public:
  // kNotFound: no such file; kInvalidArgument: it is no PEM, or certificate and key do not fit.
  static absl::StatusOr<std::shared_ptr<TlsContext>> Load(const std::string& certificate_file,
                                                          const std::string& key_file);
  virtual ~TlsContext() = default;
  virtual std::unique_ptr<ByteStream> MakeStream(net::ip::tcp::socket socket) = 0;
};

}  // namespace tessera::gateway
