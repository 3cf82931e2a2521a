#pragma once

// A blocking HTTP/1.1 client for commands: one request, one connection, plain text, everything
// bounded.

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera {

struct HttpClientConfig {
  absl::Duration connect_timeout = absl::Seconds(5);
  // Without a byte for so long the reply is given up. Gateways send a comment every 15 s.
  absl::Duration silence_max = absl::Seconds(60);
  size_t head_bytes_max = size_t{64} << 10;  // status line and headers
  size_t body_bytes_max = size_t{64} << 20;  // of a body that is kept
  std::string bearer;                        // API key; empty: none is sent
};

struct HttpAnswer {
  int status = 0;
  std::string content_type;
  std::string body;  // whole; empty if it was passed on in pieces
};

// Gets the body of a reply with status 200 as it comes. An error ends the request and is returned.
using TakeBody = absl::FunctionRef<absl::Status(std::string_view piece)>;

// Thread-compatible.
class HttpClient {
 public:
  // `address`: "host:port" or "[v6]:port", with or without "http://" and a last "/".
  // kInvalidArgument otherwise.
  static absl::StatusOr<HttpClient> For(std::string_view address, HttpClientConfig config);

  // Errors: kUnavailable       nothing listens there, or the connection broke off
  //         kDeadlineExceeded  no connection, or silence
  //         kDataLoss          what came is no HTTP, or is larger than allowed
  absl::StatusOr<HttpAnswer> Fetch(std::string_view path) const;
  absl::StatusOr<HttpAnswer> PostJson(std::string_view path, std::string_view body,
                                      TakeBody take) const;

  const std::string& address() const { return address_; }

 private:
  HttpClient() = default;
  std::string HeadOf(std::string_view method, std::string_view path) const;
  absl::StatusOr<HttpAnswer> Exchange(const std::string& request, const TakeBody* take) const;

  std::string address_;
  std::string host_;
  std::string port_;
  HttpClientConfig config_;
};

}  // namespace tessera
