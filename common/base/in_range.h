#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace tessera {

// Of a setting: kInvalidArgument "NAME is VALUE, expected LOW..HIGH" unless low <= value <= high.
// NaN is in no range.
absl::Status InRange(std::string_view name, double value, double low, double high);

}  // namespace tessera
