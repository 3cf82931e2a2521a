#include "common/kernels/weight_choice.h"

#include <array>
#include <string>

#include "absl/strings/str_cat.h"

namespace tessera::kernels {
namespace {

struct Entry {
  WeightChoice choice;
  std::string_view name;
};
constexpr std::array<Entry, 5> kNames = {{{WeightChoice::kAuto, "auto"},
                                          {WeightChoice::kF32, "f32"},
                                          {WeightChoice::kBF16, "bf16"},
                                          {WeightChoice::kQ8, "q8"},
                                          {WeightChoice::kQ4, "q4"}}};

}  // namespace

absl::StatusOr<WeightChoice> ParseWeightChoice(std::string_view name) {
  for (const Entry& entry : kNames) {
    if (entry.name == name) return entry.choice;
  }
  return absl::InvalidArgumentError(absl::StrCat("weight format '", std::string(name),
                                                 "' is unknown; use auto, f32, bf16, q8 or q4"));
}

std::string_view NameOf(WeightChoice choice) { return kNames[static_cast<size_t>(choice)].name; }

WeightType ResolveWeightType(WeightChoice choice, DType stored, Arithmetic arithmetic) {
  switch (choice) {
    case WeightChoice::kF32:
      return WeightType::kF32;
    case WeightChoice::kBF16:
      return WeightType::kBF16;
    case WeightChoice::kQ8:
      return WeightType::kQ8;
    case WeightChoice::kQ4:
      return WeightType::kQ4;
    case WeightChoice::kAuto:
      break;
  }
  if (stored == DType::kF32) return WeightType::kF32;
  if (stored == DType::kBF16) return WeightType::kBF16;
  return arithmetic == Arithmetic::kFloat32 ? WeightType::kF32 : WeightType::kBF16;
}

}  // namespace tessera::kernels
