#include "common/kernels/compute.h"

#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tessera::kernels {
namespace {

constexpr std::array kLevels = {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx};

bool Has(const CpuFeatures& features, Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return true;
    case Isa::kAvx2:
      return features.avx2;
    case Isa::kAvx512:
      return features.avx2 && features.avx512;
    case Isa::kAmx:
      return features.avx2 && features.avx512 && features.amx;
  }
  return false;
}

}  // namespace

std::string_view NameOf(Isa isa) {
  constexpr std::array<std::string_view, 4> kNames = {"reference", "avx2", "avx512", "amx"};
  return kNames[static_cast<size_t>(isa)];
}

std::string NameOf(Isa isa, const CpuFeatures& features) {
  std::string name(NameOf(isa));
  if (isa != Isa::kAvx512) return name;
  if (features.avx512_bf16) name += "+bf16";
  if (features.avx512_vnni) name += "+vnni";
  return name;
}

absl::StatusOr<Isa> ChooseIsa(std::string_view name, const CpuFeatures& features) {
  if (name == "auto") {
    Isa best = Isa::kReference;
    for (const Isa isa : kLevels) {
      if (Has(features, isa)) best = isa;
    }
    if (best != Isa::kReference) return best;
    return absl::FailedPreconditionError(absl::StrCat(
        "this CPU lacks AVX2, FMA and F16C, which fast arithmetic needs; it has ",
        ToString(features), " (instruction set 'reference' works everywhere, slowly)"));
  }
  for (const Isa isa : kLevels) {
    if (name != NameOf(isa)) continue;
    if (Has(features, isa)) return isa;
    return absl::FailedPreconditionError(absl::StrCat("this CPU lacks the instruction set '",
                                                      std::string(name), "'; it has ",
                                                      ToString(features)));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("instruction set '", std::string(name),
                   "' is unknown; known are auto, reference, avx2, avx512, amx"));
}

}  // namespace tessera::kernels
