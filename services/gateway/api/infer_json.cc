#include "services/gateway/api/infer_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json.h"
#include "common/json/json_writer.h"
#include "inference/grpc_service.pb.h"
#include "services/gateway/api/common_fields.h"
#include "services/gateway/api/field_reader.h"
#include "services/gateway/api/infer_names.h"
#include "services/gateway/api/infer_tensors.h"

namespace tessera::gateway {
namespace {

using inference::InferTensorContents;

// What fits a datatype of less than 64 bits.
struct IntegerType {
  std::string_view name;
  int64_t min;
  int64_t max;
};
constexpr std::array<IntegerType, 6> kIntegerTypes = {{{"INT8", INT8_MIN, INT8_MAX},
                                                       {"INT16", INT16_MIN, INT16_MAX},
                                                       {"INT32", INT32_MIN, INT32_MAX},
                                                       {"UINT8", 0, UINT8_MAX},
                                                       {"UINT16", 0, UINT16_MAX},
                                                       {"UINT32", 0, UINT32_MAX}}};

void AddInteger(const JsonValue& value, const IntegerType& type, FieldReader& tensor,
                InferTensorContents& contents) {
  const absl::StatusOr<int64_t> integer = value.AsInteger(type.min, type.max);
  if (!integer.ok()) {
    tensor.Refuse(value, absl::StrCat("a whole number from ", type.min, " to ", type.max));
  } else if (type.min < 0) {
    contents.add_int_contents(static_cast<int32_t>(*integer));
  } else {
    contents.add_uint_contents(static_cast<uint32_t>(*integer));
  }
}

void AddNumber(const JsonValue& value, bool is_double, FieldReader& tensor,
               InferTensorContents& contents) {
  const absl::StatusOr<double> number = value.AsNumber();
  if (!number.ok()) {
    tensor.Refuse(value, "a number");
  } else if (is_double) {
    contents.add_fp64_contents(*number);
  } else if (std::abs(*number) > std::numeric_limits<float>::max()) {
    tensor.Refuse(value, "a number that fits FP32");
  } else {
    contents.add_fp32_contents(static_cast<float>(*number));
  }
}

// One element, into the field its datatype asks for. Of a datatype there is not nothing is kept:
// the tensor's reader says so.
void AddElement(const JsonValue& value, std::string_view datatype, FieldReader& tensor,
                InferTensorContents& contents) {
  if (datatype == "BYTES") {
    if (const auto text = value.AsString(); text.ok()) {
      contents.add_bytes_contents(std::string(*text));
    } else {
      tensor.Refuse(value, "a string");
    }
  } else if (datatype == "BOOL") {
    if (const auto boolean = value.AsBool(); boolean.ok()) {
      contents.add_bool_contents(*boolean);
    } else {
      tensor.Refuse(value, "true or false");
    }
  } else if (datatype == "INT64") {
    if (const auto integer = value.AsInteger(); integer.ok()) {
      contents.add_int64_contents(*integer);
    } else {
      tensor.Refuse(value, "a whole number of 64 bits");
    }
  } else if (datatype == "UINT64") {
    if (const auto integer = value.AsUnsigned(); integer.ok()) {
      contents.add_uint64_contents(*integer);
    } else {
      tensor.Refuse(value, "a whole number of 64 bits that is not negative");
    }
  } else if (datatype == "FP32" || datatype == "FP64") {
    AddNumber(value, datatype == "FP64", tensor, contents);
  } else if (const auto type = std::ranges::find(kIntegerTypes, datatype, &IntegerType::name);
             type != kIntegerTypes.end()) {
    AddInteger(value, *type, tensor, contents);
  }
}

// Row by row, however deep the rows are nested; the document's depth is bounded.
void EachElement(const JsonValue& data, const FieldReader& tensor,
                 absl::FunctionRef<void(const JsonValue& element)> add) {
  for (const JsonValue element : data.elements()) {
    if (!tensor.ok()) return;
    if (element.is_array()) {
      EachElement(element, tensor, add);
    } else {
      add(element);
    }
  }
}

void ReadInput(const JsonValue& value, absl::Status& status,
               inference::ModelInferRequest::InferInputTensor& tensor) {
  FieldReader fields(value, status);
  tensor.set_name(fields.RequiredString("name"));
  tensor.set_datatype(fields.RequiredString("datatype"));
  const std::optional<JsonValue> shape = fields.RequiredArray("shape");
  if (!shape.has_value()) return;
  for (const JsonValue size : shape->elements()) {
    const absl::StatusOr<int64_t> integer = size.AsInteger(1, INT32_MAX);
    if (!integer.ok()) return fields.Refuse(size, "a whole number of at least 1");
    tensor.add_shape(*integer);
  }
  const std::optional<JsonValue> data = fields.RequiredArray("data");
  if (!data.has_value()) return;
  EachElement(*data, fields, [&](const JsonValue& element) {
    AddElement(element, tensor.datatype(), fields, *tensor.mutable_contents());
  });
}

void ReadParameter(std::string_view name, const JsonValue& value, FieldReader& fields,
                   inference::ModelInferRequest& message) {
  if (value.is_null()) return;
  inference::InferParameter parameter;
  if (value.is_bool()) {
    parameter.set_bool_param(*value.AsBool());
  } else if (value.is_string()) {
    parameter.set_string_param(std::string(*value.AsString()));
  } else if (const auto integer = value.AsInteger(); value.is_integer() && integer.ok()) {
    parameter.set_int64_param(*integer);
  } else if (value.is_number()) {
    parameter.set_double_param(*value.AsNumber());
  } else {
    return fields.Refuse(value, "a string, a number, true or false");
  }
  (*message.mutable_parameters())[std::string(name)] = std::move(parameter);
}

absl::StatusOr<InferRequest> ReadMessage(std::string_view body, const std::string& model,
                                         const RequestLimits& limits) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, ParseBody(body, limits));
  absl::Status status;
  FieldReader fields(document.root(), status);
  inference::ModelInferRequest message;
  message.set_model_name(model);
  message.set_id(fields.String("id").value_or(""));
  if (const std::optional<JsonValue> parameters = fields.Object("parameters")) {
    for (const auto& [name, value] : parameters->members()) {
      ReadParameter(name, value, fields, message);
    }
  }
  if (const std::optional<JsonValue> inputs = fields.RequiredArray("inputs")) {
    for (const JsonValue input : inputs->elements()) {
      if (fields.ok()) ReadInput(input, status, *message.add_inputs());
    }
  }
  if (const std::optional<JsonValue> outputs = fields.Array("outputs")) {
    for (const JsonValue output : outputs->elements()) {
      if (!fields.ok()) break;
      message.add_outputs()->set_name(FieldReader(output, status).RequiredString("name"));
    }
  }
  if (!status.ok()) return status;
  return ReadInferRequest(message);
}

void WriteOutput(const inference::ModelInferResponse::InferOutputTensor& output, JsonWriter& json) {
  json.Open('{').Key("name").String(output.name()).Key("datatype").String(output.datatype());
  json.Key("shape").Open('[');
  for (const int64_t size : output.shape()) json.Integer(size);
  json.Close(']').Key("data").Open('[');
  for (const std::string& text : output.contents().bytes_contents()) json.String(text);
  json.Close(']').Close('}');
}

InferChoice TextOf(const ChoiceOutput& choice) {
  InferChoice told;
  for (const OutputEvent& event : choice.events) told.text += event.text;
  told.reason = choice.end.reason;
  return told;
}

}  // namespace

absl::StatusOr<GenerationRequest> ReadInferBody(std::string_view body, const std::string& model,
                                                const RequestLimits& limits) {
  TESSERA_ASSIGN_OR_RETURN(InferRequest asked, ReadMessage(body, model, limits));
  TESSERA_ASSIGN_OR_RETURN(GenerationRequest request, ReadCompletionRequest(asked.body, limits));
  request.request_id = asked.form.id;
  request.infer = std::move(asked.form);
  return request;
}

std::string WriteInferBody(const GenerationRequest& request, std::string_view model,
                           std::span<const ChoiceOutput> choices, const Usage& usage) {
  std::vector<InferChoice> told;
  told.reserve(choices.size());
  for (const ChoiceOutput& choice : choices) told.push_back(TextOf(choice));
  inference::ModelInferResponse reply;
  WriteInferReply(*request.infer, told, usage, reply);
  std::string body;
  JsonWriter json(body);
  json.Open('{').Key("model_name").String(model).Key("model_version").String(kInferVersion);
  if (!request.infer->id.empty()) json.Key("id").String(request.infer->id);
  json.Key("parameters").Open('{');
  json.Key("prompt_tokens").Integer(reply.parameters().at("prompt_tokens").int64_param());
  json.Key("completion_tokens").Integer(reply.parameters().at("completion_tokens").int64_param());
  json.Close('}').Key("outputs").Open('[');
  for (const auto& output : reply.outputs()) WriteOutput(output, json);
  json.Close(']').Close('}');
  return body;
}

}  // namespace tessera::gateway
