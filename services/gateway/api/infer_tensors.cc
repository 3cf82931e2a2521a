#include "services/gateway/api/infer_tensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/json/json_writer.h"
#include "inference/grpc_service.pb.h"
#include "services/gateway/api/infer_names.h"

namespace tessera::gateway {
namespace {

using inference::InferTensorContents;
using InputTensor = inference::ModelInferRequest::InferInputTensor;

static_assert(std::endian::native == std::endian::little, "raw contents are little-endian");

constexpr int64_t kElementsMax = 1 << 20;

constexpr std::array<std::string_view, 16> kOptions = {"max_tokens",
                                                       "min_tokens",
                                                       "temperature",
                                                       "top_p",
                                                       "top_k",
                                                       "min_p",
                                                       "repetition_penalty",
                                                       "presence_penalty",
                                                       "frequency_penalty",
                                                       "seed",
                                                       "stop",
                                                       "ignore_eos",
                                                       "skip_special_tokens",
                                                       "priority",
                                                       "cache_salt",
                                                       "include_stop_str_in_output"};

template <typename... Parts>
absl::Status Wrong(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

std::string JsonOf(double value) {
  std::string text;
  AppendJsonNumber(value, text);
  return text;
}
std::string JsonOf(std::string_view value) {
  std::string text;
  AppendJsonString(value, text);
  return text;
}

// A tensor with its contents checked against its shape and datatype.
struct Elements {
  std::vector<std::string> json;   // each as a JSON value; of BYTES empty
  std::vector<std::string> bytes;  // of BYTES
};

absl::StatusOr<int64_t> CountOf(const InputTensor& tensor) {
  int64_t count = 1;
  for (const int64_t size : tensor.shape()) {
    if (size < 1 || size > kElementsMax || count * size > kElementsMax) {
      return Wrong("input ", tensor.name(), ": the shape [", absl::StrJoin(tensor.shape(), ","),
                   "] is not of 1 to ", kElementsMax, " elements");
    }
    count *= size;
  }
  return count;
}

absl::Status CheckCount(const InputTensor& tensor, int64_t count, size_t found) {
  if (static_cast<int64_t>(found) == count) return absl::OkStatus();
  return Wrong("input ", tensor.name(), " (", tensor.datatype(), "): the shape has ", count,
               " elements, the contents ", found);
}

template <typename Values>
std::vector<std::string> Integers(const Values& values) {
  std::vector<std::string> json;
  for (const auto value : values) json.push_back(absl::StrCat(value));
  return json;
}
template <typename Values>
std::vector<std::string> Numbers(const Values& values) {
  std::vector<std::string> json;
  for (const auto value : values) json.push_back(JsonOf(static_cast<double>(value)));
  return json;
}

absl::StatusOr<Elements> ReadTyped(const InputTensor& tensor, int64_t count) {
  const InferTensorContents& contents = tensor.contents();
  const std::string& type = tensor.datatype();
  Elements elements;
  if (type == "BYTES") {
    elements.bytes.assign(contents.bytes_contents().begin(), contents.bytes_contents().end());
    TESSERA_RETURN_IF_ERROR(CheckCount(tensor, count, elements.bytes.size()));
    return elements;
  }
  if (type == "BOOL") {
    for (const bool value : contents.bool_contents()) {
      elements.json.emplace_back(value ? "true" : "false");
    }
  } else if (type == "INT8" || type == "INT16" || type == "INT32") {
    elements.json = Integers(contents.int_contents());
  } else if (type == "INT64") {
    elements.json = Integers(contents.int64_contents());
  } else if (type == "UINT8" || type == "UINT16" || type == "UINT32") {
    elements.json = Integers(contents.uint_contents());
  } else if (type == "UINT64") {
    elements.json = Integers(contents.uint64_contents());
  } else if (type == "FP32") {
    elements.json = Numbers(contents.fp32_contents());
  } else {
    elements.json = Numbers(contents.fp64_contents());
  }
  TESSERA_RETURN_IF_ERROR(CheckCount(tensor, count, elements.json.size()));
  return elements;
}

template <typename T>
std::vector<T> Unpack(std::string_view raw) {
  std::vector<T> values(raw.size() / sizeof(T));
  std::memcpy(values.data(), raw.data(), values.size() * sizeof(T));
  return values;
}

absl::StatusOr<std::vector<std::string>> UnpackBytes(const InputTensor& tensor,
                                                     std::string_view raw) {
  std::vector<std::string> elements;
  while (!raw.empty()) {
    uint32_t size = 0;
    if (raw.size() < sizeof(size)) break;
    std::memcpy(&size, raw.data(), sizeof(size));
    if (raw.size() - sizeof(size) < size) break;
    elements.emplace_back(raw.substr(sizeof(size), size));
    raw.remove_prefix(sizeof(size) + size);
  }
  if (raw.empty()) return elements;
  return Wrong("input ", tensor.name(), ": its raw contents end within an element; each is its ",
               "length in 4 bytes, little-endian, and then itself");
}

struct RawType {
  std::string_view name;
  size_t size;
  std::vector<std::string> (*read)(std::string_view raw);
};
const std::array<RawType, 11> kRawTypes = {{
    {"BOOL", 1,
     [](std::string_view raw) {
       std::vector<std::string> json;
       for (const char value : raw) json.emplace_back(value != 0 ? "true" : "false");
       return json;
     }},
    // StrCat prints one byte as a character.
    {"INT8", 1,
     [](std::string_view raw) {
       const std::vector<int8_t> narrow = Unpack<int8_t>(raw);
       return Integers(std::vector<int>(narrow.begin(), narrow.end()));
     }},
    {"UINT8", 1,
     [](std::string_view raw) {
       const std::vector<uint8_t> narrow = Unpack<uint8_t>(raw);
       return Integers(std::vector<int>(narrow.begin(), narrow.end()));
     }},
    {"INT16", 2, [](std::string_view raw) { return Integers(Unpack<int16_t>(raw)); }},
    {"UINT16", 2, [](std::string_view raw) { return Integers(Unpack<uint16_t>(raw)); }},
    {"INT32", 4, [](std::string_view raw) { return Integers(Unpack<int32_t>(raw)); }},
    {"UINT32", 4, [](std::string_view raw) { return Integers(Unpack<uint32_t>(raw)); }},
    {"INT64", 8, [](std::string_view raw) { return Integers(Unpack<int64_t>(raw)); }},
    {"UINT64", 8, [](std::string_view raw) { return Integers(Unpack<uint64_t>(raw)); }},
    {"FP32", 4, [](std::string_view raw) { return Numbers(Unpack<float>(raw)); }},
    {"FP64", 8, [](std::string_view raw) { return Numbers(Unpack<double>(raw)); }},
}};

// `raw` null: the contents are in the tensor.
absl::StatusOr<Elements> ReadElements(const InputTensor& tensor, const std::string* raw) {
  const auto type = std::ranges::find(kRawTypes, tensor.datatype(), &RawType::name);
  if (type == kRawTypes.end() && tensor.datatype() != "BYTES") {
    return Wrong("input ", tensor.name(), ": the datatype '", tensor.datatype(),
                 "' is none that is read here; there are BYTES, BOOL, INT8 to INT64, UINT8 to ",
                 "UINT64, FP32 and FP64");
  }
  TESSERA_ASSIGN_OR_RETURN(const int64_t count, CountOf(tensor));
  if (raw == nullptr) return ReadTyped(tensor, count);
  if (tensor.has_contents()) {
    return Wrong("input ", tensor.name(), " has contents, and raw_input_contents besides");
  }
  Elements elements;
  if (type == kRawTypes.end()) {
    TESSERA_ASSIGN_OR_RETURN(elements.bytes, UnpackBytes(tensor, *raw));
    TESSERA_RETURN_IF_ERROR(CheckCount(tensor, count, elements.bytes.size()));
    return elements;
  }
  if (raw->size() != static_cast<size_t>(count) * type->size) {
    return Wrong("input ", tensor.name(), ": ", count, " elements of ", tensor.datatype(), " are ",
                 static_cast<size_t>(count) * type->size, " bytes, the raw contents have ",
                 raw->size());
  }
  elements.json = type->read(*raw);
  return elements;
}

absl::StatusOr<std::string> ParameterJson(const std::string& name,
                                          const inference::InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case inference::InferParameter::kBoolParam:
      return std::string(parameter.bool_param() ? "true" : "false");
    case inference::InferParameter::kInt64Param:
      return absl::StrCat(parameter.int64_param());
    case inference::InferParameter::kUint64Param:
      return absl::StrCat(parameter.uint64_param());
    case inference::InferParameter::kDoubleParam:
      return JsonOf(parameter.double_param());
    case inference::InferParameter::kStringParam:
      return JsonOf(std::string_view(parameter.string_param()));
    case inference::InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return Wrong("parameter ", name, " has no value");
}

// Name to JSON value.
using Options = std::map<std::string, std::string>;

absl::Status AddOption(const std::string& name, std::string json, Options& options) {
  if (std::ranges::find(kOptions, name) == kOptions.end()) {
    return Wrong("there is no option '", name, "'; there are ",
                 absl::StrJoin(kOptions, ", ", [](std::string* out, std::string_view option) {
                   out->append(option);
                 }));
  }
  if (!options.emplace(name, std::move(json)).second) {
    return Wrong("the option ", name, " stands twice");
  }
  return absl::OkStatus();
}

absl::Status AddTensorOption(const InputTensor& tensor, const Elements& elements,
                             Options& options) {
  std::vector<std::string> json = elements.json;
  for (const std::string& text : elements.bytes) json.push_back(JsonOf(std::string_view(text)));
  if (tensor.name() == "stop") {
    return AddOption(tensor.name(), absl::StrCat("[", absl::StrJoin(json, ","), "]"), options);
  }
  if (json.size() != 1) {
    return Wrong("input ", tensor.name(), " has ", json.size(), " elements; expected 1");
  }
  return AddOption(tensor.name(), std::move(json[0]), options);
}

absl::Status ReadTexts(const InputTensor& tensor, const Elements& elements, std::string& json) {
  if (tensor.datatype() != "BYTES") {
    return Wrong("input ", tensor.name(), " is ", tensor.datatype(), "; expected BYTES");
  }
  JsonWriter writer(json);
  writer.Open('[');
  for (size_t i = 0; i < elements.bytes.size(); ++i) {
    const size_t invalid = FindInvalidUtf8(elements.bytes[i]);
    if (invalid != std::string_view::npos) {
      return Wrong("input ", tensor.name(), ", element ", i, " is not UTF-8 at byte ", invalid);
    }
    writer.String(elements.bytes[i]);
  }
  writer.Close(']');
  return absl::OkStatus();
}

absl::Status ReadOutputs(const inference::ModelInferRequest& request, InferForm& result) {
  if (request.outputs_size() == 0) return absl::OkStatus();
  result.want_text = result.want_reason = false;
  for (const auto& output : request.outputs()) {
    if (output.name() == kTextOutput) {
      result.want_text = true;
    } else if (output.name() == kReasonOutput) {
      result.want_reason = true;
    } else {
      return Wrong("there is no output '", output.name(),
                   "'; there are text_output and finish_reason");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<InferRequest> ReadInferRequest(const inference::ModelInferRequest& request) {
  InferRequest result;
  result.form.id = request.id();
  result.form.is_raw = request.raw_input_contents_size() > 0;
  if (result.form.is_raw && request.raw_input_contents_size() != request.inputs_size()) {
    return Wrong("there are ", request.inputs_size(), " inputs and ",
                 request.raw_input_contents_size(), " raw_input_contents; expected one each");
  }
  TESSERA_RETURN_IF_ERROR(ReadOutputs(request, result.form));
  std::optional<std::string> prompts;
  Options options;
  for (const auto& [name, parameter] : request.parameters()) {
    TESSERA_ASSIGN_OR_RETURN(std::string json, ParameterJson(name, parameter));
    TESSERA_RETURN_IF_ERROR(AddOption(name, std::move(json), options));
  }
  for (int i = 0; i < request.inputs_size(); ++i) {
    const InputTensor& tensor = request.inputs(i);
    TESSERA_ASSIGN_OR_RETURN(
        const Elements elements,
        ReadElements(tensor, result.form.is_raw ? &request.raw_input_contents(i) : nullptr));
    if (tensor.name() != kTextInput) {
      TESSERA_RETURN_IF_ERROR(AddTensorOption(tensor, elements, options));
      continue;
    }
    if (prompts.has_value()) return Wrong("the input text_input stands twice");
    TESSERA_RETURN_IF_ERROR(ReadTexts(tensor, elements, prompts.emplace()));
    result.form.shape.assign(tensor.shape().begin(), tensor.shape().end());
  }
  if (!prompts.has_value()) return Wrong("the input text_input (BYTES) is missing");
  JsonWriter json(result.body);
  json.Open('{').Key("model").String(request.model_name()).Key("prompt").Raw(*prompts);
  for (const auto& [name, value] : options) json.Key(name).Raw(value);
  json.Close('}');
  return result;
}

void WriteInferReply(const InferForm& form, std::span<const InferChoice> choices,
                     const Usage& usage, inference::ModelInferResponse& reply) {
  const auto add = [&](std::string_view name, const auto& text_of) {
    auto& output = *reply.add_outputs();
    output.set_name(std::string(name));
    output.set_datatype("BYTES");
    output.mutable_shape()->Add(form.shape.begin(), form.shape.end());
    std::string* raw = form.is_raw ? reply.add_raw_output_contents() : nullptr;
    for (const InferChoice& choice : choices) {
      const std::string text(text_of(choice));
      if (raw == nullptr) {
        output.mutable_contents()->add_bytes_contents(text);
        continue;
      }
      const auto size = static_cast<uint32_t>(text.size());
      raw->append(reinterpret_cast<const char*>(&size), sizeof(size));
      raw->append(text);
    }
  };
  if (form.want_text) add(kTextOutput, [](const InferChoice& choice) { return choice.text; });
  if (form.want_reason) {
    add(kReasonOutput, [](const InferChoice& choice) { return NameOf(choice.reason); });
  }
  auto& parameters = *reply.mutable_parameters();
  parameters["prompt_tokens"].set_int64_param(usage.prompt_tokens);
  parameters["completion_tokens"].set_int64_param(usage.completion_tokens);
}

void WriteInferMetadata(inference::ModelMetadataResponse& reply) {
  reply.set_platform(std::string(kInferPlatform));
  const auto describe = [](std::string_view name, auto& tensor) {
    tensor.set_name(std::string(name));
    tensor.set_datatype("BYTES");
    tensor.add_shape(-1);
  };
  describe(kTextInput, *reply.add_inputs());
  describe(kTextOutput, *reply.add_outputs());
  describe(kReasonOutput, *reply.add_outputs());
}

}  // namespace tessera::gateway
