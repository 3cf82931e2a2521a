#pragma once

// POST /v2/models/NAME/infer: the Open Inference Protocol over REST. Its JSON becomes the message
// of the gRPC port, and the reply's message becomes JSON again, so that tensors, names and options
// are judged in one place, infer_tensors.h.
//
//   {"id", "parameters": {option: value}, "inputs": [{"name", "datatype", "shape", "data"}],
//    "outputs": [{"name"}]}
//     --> {"model_name", "model_version", "id", "parameters", "outputs": [...]}
//
// `data` holds the elements row by row, flat or nested as the shape; BYTES are JSON strings.

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/api/output.h"
#include "services/gateway/api/request_reader.h"

namespace tessera::gateway {

// A request of kCompletion for the served `model`, with `infer` set. Errors are those of the other
// readers and of ReadInferRequest.
absl::StatusOr<GenerationRequest> ReadInferBody(std::string_view body, const std::string& model,
                                                const RequestLimits& limits);

// `request.infer` is set. `model`: its name as it is served.
std::string WriteInferBody(const GenerationRequest& request, std::string_view model,
                           std::span<const ChoiceOutput> choices, const Usage& usage);

}  // namespace tessera::gateway
