#include "services/gateway/rest/infer_routes.h"

#include "common/json/json_writer.h"
#include "services/gateway/api/infer_names.h"
#include "services/gateway/http/http_types.h"

namespace tessera::gateway {
namespace {

void WriteTensor(std::string_view name, JsonWriter& json) {
  json.Open('{').Key("name").String(name).Key("datatype").String("BYTES");
  json.Key("shape").Open('[').Integer(-1).Close(']').Close('}');
}

// Cuts what stands before the next '/', and the '/' itself.
std::string_view TakePart(std::string_view& path) {
  const size_t slash = path.find('/');
  const std::string_view part = path.substr(0, slash);
  path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  return part;
}

}  // namespace

std::optional<InferModelPath> ParseInferModelPath(std::string_view path) {
  constexpr std::string_view kPrefix = "/v2/models/";
  if (!path.starts_with(kPrefix) || path.ends_with('/')) return std::nullopt;
  path.remove_prefix(kPrefix.size());
  InferModelPath asked;
  asked.name = UnescapePath(TakePart(path));
  if (asked.name.empty()) return std::nullopt;
  if (path.starts_with("versions/")) {
    TakePart(path);
    asked.version = UnescapePath(TakePart(path));
    if (asked.version.empty()) return std::nullopt;
  }
  if (path.empty()) return asked;
  if (path != "ready" && path != "infer") return std::nullopt;
  asked.asks = path == "ready" ? InferAsk::kReady : InferAsk::kInfer;
  return asked;
}

std::string WriteInferServer(std::string_view server_version) {
  std::string text;
  JsonWriter json(text);
  json.Open('{').Key("name").String("tessera").Key("version").String(server_version);
  json.Key("extensions").Open('[').Close(']').Close('}');
  return text;
}

std::string WriteInferHealth(std::string_view what, bool is) {
  std::string text;
  JsonWriter(text).Open('{').Key(what).Bool(is).Close('}');
  return text;
}

std::string WriteInferModel(std::string_view model) {
  std::string text;
  JsonWriter json(text);
  json.Open('{').Key("name").String(model);
  json.Key("versions").Open('[').String(kInferVersion).Close(']');
  json.Key("platform").String(kInferPlatform);
  json.Key("inputs").Open('[');
  WriteTensor(kTextInput, json);
  json.Close(']').Key("outputs").Open('[');
  WriteTensor(kTextOutput, json);
  WriteTensor(kReasonOutput, json);
  json.Close(']').Close('}');
  return text;
}

std::string WriteInferModelReady(std::string_view model, bool is_ready) {
  std::string text;
  JsonWriter json(text);
  json.Open('{').Key("name").String(model).Key("ready").Bool(is_ready).Close('}');
  return text;
}

}  // namespace tessera::gateway
