#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"

namespace tessera::cli {

// "1,2,3". kInvalidArgument naming the word of --ids that is no token id.
absl::StatusOr<std::vector<TokenId>> ParseTokenIds(const std::string& text);

}  // namespace tessera::cli
