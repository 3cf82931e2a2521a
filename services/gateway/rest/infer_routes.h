#pragma once

// REST twins of KServe's Open Inference Protocol v2.
//
//   GET /v2                                           name, version and extensions of the server
//   GET /v2/health/live, /v2/health/ready             as /livez and /readyz, in JSON
//   GET /v2/models/NAME[/versions/V]                  tensors of a model
//   GET /v2/models/NAME[/versions/V]/ready            200 or 503
//   POST /v2/models/NAME[/versions/V]/infer           see infer_json.h

#include <optional>
#include <string>
#include <string_view>

namespace tessera::gateway {

enum class InferAsk { kModel, kReady, kInfer };

// A path under /v2/models/.
struct InferModelPath {
  std::string name;     // unescaped
  std::string version;  // empty: none is named
  InferAsk asks = InferAsk::kModel;

  friend bool operator==(const InferModelPath&, const InferModelPath&) = default;
};
// Nothing: it is none of those above.
std::optional<InferModelPath> ParseInferModelPath(std::string_view path);

std::string WriteInferServer(std::string_view server_version);
// {"live":true} and the like.
std::string WriteInferHealth(std::string_view what, bool is);
std::string WriteInferModel(std::string_view model);
std::string WriteInferModelReady(std::string_view model, bool is_ready);

}  // namespace tessera::gateway
