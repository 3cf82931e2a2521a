#pragma once

// The Open Inference Protocol's tensors as what a completion takes and gives. See
// protos/inference/grpc_service.proto for the names. infer_json.h is the same over REST.
//
//   ModelInferRequest --ReadInferRequest--> body of /v1/completions + how to answer
//   texts by prompt   --WriteInferReply-->  ModelInferResponse

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/api/output.h"

namespace inference {
class ModelInferRequest;
class ModelInferResponse;
class ModelMetadataResponse;
}  // namespace inference

namespace tessera::gateway {

struct InferRequest {
  std::string body;  // of /v1/completions: one reader checks ranges for all
  InferForm form;
};

struct InferChoice {
  std::string text;
  FinishReason reason = FinishReason::kStop;
};

// Errors, all kInvalidArgument: a tensor or parameter that is unknown, stands twice, lacks elements
// or has too many, has a datatype that does not fit; an output there is not; text that is not
// UTF-8.
absl::StatusOr<InferRequest> ReadInferRequest(const inference::ModelInferRequest& request);

// `choices`: one per element of the shape. Id, model and version are the caller's.
void WriteInferReply(const InferForm& form, std::span<const InferChoice> choices,
                     const Usage& usage, inference::ModelInferResponse& reply);

// Platform, inputs and outputs; name and versions are the caller's.
void WriteInferMetadata(inference::ModelMetadataResponse& reply);

}  // namespace tessera::gateway
