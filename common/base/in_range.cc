#include "common/base/in_range.h"

#include <cmath>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"

namespace tessera {
namespace {

// All digits of a whole number; StrCat would show 1048577.0 as 1.04858e+06.
std::string NumberText(double value) {
  if (std::trunc(value) == value && std::fabs(value) < 1e15) {
    return absl::StrCat(static_cast<int64_t>(value));
  }
  return absl::StrCat(value);
}

}  // namespace

absl::Status InRange(std::string_view name, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(std::string(name), " is ", NumberText(value),
                                                 ", expected ", NumberText(low), "..",
                                                 NumberText(high)));
}

}  // namespace tessera
