#include "common/kernels/kernel_choice.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/kernels/strip_check.h"

namespace tessera::kernels {
namespace {

struct Candidate {
  Isa isa;
  CpuFeatures features;
};

// What to try, the best first.
std::vector<Candidate> CandidatesFrom(Isa isa, CpuFeatures features) {
  std::vector<Candidate> candidates;
  if (isa == Isa::kAmx) candidates.push_back({isa, features});
  if (isa >= Isa::kAmx) features.amx = false;
  if (isa >= Isa::kAvx512) {
    const bool bf16 = features.avx512_bf16;
    const bool vnni = features.avx512_vnni;
    for (const auto& [use_bf16, use_vnni] :
         {std::pair{true, true}, {false, true}, {true, false}, {false, false}}) {
      if (use_bf16 > bf16 || use_vnni > vnni) continue;
      features.avx512_bf16 = use_bf16;
      features.avx512_vnni = use_vnni;
      features.amx = features.amx && use_bf16 && use_vnni;
      candidates.push_back({Isa::kAvx512, features});
    }
    features = {.avx2 = features.avx2};
  }
  if (isa >= Isa::kAvx2) candidates.push_back({Isa::kAvx2, features});
  return candidates;
}

absl::Status CheckLevel(Isa isa, const CpuFeatures& features) {
  return CheckStrips(StripKernelsOf(isa, features));
}

}  // namespace

absl::StatusOr<KernelChoice> ChooseKernels(
    std::string_view name, const CpuFeatures& features,
    absl::FunctionRef<absl::Status(Isa isa, const CpuFeatures& features)> check) {
  TESSERA_ASSIGN_OR_RETURN(const Isa isa, ChooseIsa(name, features));
  std::string refused;
  for (const Candidate& candidate : CandidatesFrom(isa, features)) {
    const absl::Status status = check(candidate.isa, candidate.features);
    if (status.ok()) return KernelChoice{candidate.isa, candidate.features, refused};
    const std::string failed = NameOf(candidate.isa, candidate.features);
    TESSERA_LOG(WARNING) << "kernels " << failed << " compute wrongly on this CPU ("
                         << std::string(status.message()) << "); the next lower level is used";
    absl::StrAppend(&refused, refused.empty() ? "" : ",", failed);
  }
  return KernelChoice{Isa::kReference, isa == Isa::kReference ? features : CpuFeatures{}, refused};
}

absl::StatusOr<KernelChoice> ChooseKernels(std::string_view name) {
  return ChooseKernels(name, DetectCpuFeatures(), &CheckLevel);
}

std::string Describe(const KernelChoice& choice) {
  return absl::StrCat(NameOf(choice.isa, choice.features),
                      choice.refused.empty() ? "" : " refused=", choice.refused);
}

}  // namespace tessera::kernels
