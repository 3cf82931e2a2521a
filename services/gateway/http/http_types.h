#pragma once

// A request as a room sees it and what it answers with. No type of the HTTP library shows here.

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace tessera::gateway {

struct HttpHeader {
  std::string name;  // of requests: in lower case
  std::string value;
};

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // what stands before '?', as sent
  std::string query;   // what stands behind it, as sent
  std::vector<HttpHeader> headers;
  std::string body;
  std::string request_id;   // the client's x-request-id if it is well formed, else one made here
  absl::Duration received;  // Clock::Elapsed() when the whole request was there

  // The first header called `name` (in lower case); empty if there is none.
  std::string_view Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";  // empty: no such header
  std::vector<HttpHeader> headers;  // more of them; length, date and, unless it is here,
                                    // x-request-id come by themselves
  std::string body;                 // of a whole reply
};

// Which other sites' pages may call. Nothing allowed: no CORS header is ever sent.
struct CorsConfig {
  std::vector<std::string> origins;  // "https://chat.example", or "*" for all
  absl::Duration max_age = absl::Hours(1);

  bool empty() const { return origins.empty(); }
  // What access-control-allow-origin answers to a page of `origin`; empty: it is not allowed.
  std::string_view Allows(std::string_view origin) const;
};

// The words that go with a status: "Not Found".
std::string_view ReasonOf(int status);

// Whether a client may name its request so: 1 to 128 characters out of letters, digits and -_.:/
bool IsRequestId(std::string_view text);

// The path with its %XX resolved; '+' stays. What is no escape stays as it is.
std::string UnescapePath(std::string_view path);

}  // namespace tessera::gateway
