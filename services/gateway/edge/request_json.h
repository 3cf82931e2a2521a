#pragma once

// Requests of tessera.v1.Inference as the bodies of the REST endpoints they mirror, so that one
// reader checks both.

#include <string>

#include "absl/status/statusor.h"

namespace tessera::v1 {
class ChatRequest;
class CompleteRequest;
class GenerateTokensRequest;
}  // namespace tessera::v1

namespace tessera::gateway {

// Of /v1/chat/completions. kInvalidArgument with the param: a text that has to be a JSON object and
// is none.
absl::StatusOr<std::string> ToJson(const v1::ChatRequest& request);
std::string ToJson(const v1::CompleteRequest& request);        // of /v1/completions
std::string ToJson(const v1::GenerateTokensRequest& request);  // of /v1/completions

}  // namespace tessera::gateway
