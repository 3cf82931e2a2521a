#pragma once

// The level a process computes with. Asked for once, at its start, before threads start.

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/kernels/compute.h"

namespace tessera::kernels {

// For Compute.isa and Compute.features.
struct KernelChoice {
  Isa isa = Isa::kReference;
  CpuFeatures features;  // the CPU's, less those whose kernels failed
  std::string refused;   // names of levels that failed, "amx,avx512+bf16+vnni"; "": none
};

// The level `name` ("auto": the best) of this CPU, provided that its kernels multiply small known
// matrices rightly here and now (CheckStrips, below a millisecond); else the next lower one that
// does, kAvx512 giving up BF16 and VNNI first. A refusal is logged as a warning. Errors: those of
// ChooseIsa.
absl::StatusOr<KernelChoice> ChooseKernels(std::string_view name);

// The same for any CPU and check.
absl::StatusOr<KernelChoice> ChooseKernels(
    std::string_view name, const CpuFeatures& features,
    absl::FunctionRef<absl::Status(Isa isa, const CpuFeatures& features)> check);

// What runs, for logs and reports: "avx512+vnni", "avx2 refused=avx512+vnni,avx512".
std::string Describe(const KernelChoice& choice);

}  // namespace tessera::kernels
