#pragma once

// What KServe's Open Inference Protocol calls our model's tensors and version, over gRPC and REST.

#include <string_view>

namespace tessera::gateway {

// All of datatype BYTES and shape [-1].
inline constexpr std::string_view kTextInput = "text_input";
inline constexpr std::string_view kTextOutput = "text_output";
inline constexpr std::string_view kReasonOutput = "finish_reason";
inline constexpr std::string_view kInferPlatform = "tessera";
inline constexpr std::string_view kInferVersion = "1";  // a served name has one version

}  // namespace tessera::gateway
