#pragma once

// Requests of tessera.v1.Inference as the bodies of the REST endpoints they mirror, so that one
// reader checks both.

#include <string>

namespace tessera::v1 {
class ChatRequest;
class CompleteRequest;
class GenerateTokensRequest;
}  // namespace tessera::v1

namespace tessera::gateway {

std::string ToJson(const v1::ChatRequest& request);            // of /v1/chat/completions
std::string ToJson(const v1::CompleteRequest& request);        // of /v1/completions
std::string ToJson(const v1::GenerateTokensRequest& request);  // of /v1/completions

}  // namespace tessera::gateway
