#include "common/kernels/compute_level.h"

#include "absl/strings/str_cat.h"

namespace tessera::kernels {

std::string_view NameOf(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kFloat32 ? "float32" : "fast";
}

absl::StatusOr<Arithmetic> ParseArithmetic(std::string_view name) {
  for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kFast}) {
    if (name == NameOf(arithmetic)) return arithmetic;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("precision '", std::string(name), "' is unknown; use float32 or fast"));
}

std::string LevelName(Isa isa, const CpuFeatures& features, Arithmetic arithmetic) {
  return absl::StrCat(NameOf(isa, features), " ", std::string(NameOf(arithmetic)));
}

}  // namespace tessera::kernels
