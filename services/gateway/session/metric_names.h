#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/metrics/metrics.h"

namespace tessera::gateway {

// Under which names the gateway's metrics are told besides their own: "none", or "vllm" for those
// of vLLM, "vllm:..." with its label engine. kInvalidArgument for another word.
absl::StatusOr<MetricAliases> AliasesFor(const std::string& compat);

}  // namespace tessera::gateway
