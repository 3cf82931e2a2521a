#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "services/gateway/template/template_syntax.h"

namespace tessera::gateway {

// Parses a template. Errors: kInvalidArgument "line N: ...": what is expected or not supported
// (include, import, extends, call blocks), or nested more than 200 levels.
absl::StatusOr<Block> ParseTemplate(std::string_view source);

}  // namespace tessera::gateway
