#pragma once

#include <string>

#include "common/json/json.h"

namespace tessera::cli {

// The load of experts as lines of text: a row per layer, a sign per expert, from ' ' (no token) to
// '@' (the busiest of its layer), and behind it busiest over mean. Shown is the first member of
// `document` that is an array of arrays of numbers, [layer][expert]; empty if there is none.
std::string DrawExpertLoad(const JsonDocument& document);

}  // namespace tessera::cli
