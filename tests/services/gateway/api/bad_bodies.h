#pragma once

// Requests that must be refused, each with what the client is told. Shared by the tests of the
// readers, and the corpus of their fuzz test.

#include <span>
#include <string>
#include <string_view>

#include "services/gateway/api/generation_request.h"

namespace tessera::gateway {

struct BadBody {
  // A body, or `,"member":value` put into the smallest good body of the dialect.
  const char* text;
  const char* param;  // null: none
  const char* code;   // null: none
};

std::span<const BadBody> BadBodiesOf(ApiDialect dialect);
// The smallest good body of `dialect`.
std::string_view GoodBody(ApiDialect dialect);
// The body that `bad` stands for.
std::string BodyOf(ApiDialect dialect, const BadBody& bad);

}  // namespace tessera::gateway
