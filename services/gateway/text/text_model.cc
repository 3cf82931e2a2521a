#include "services/gateway/text/text_model.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/model/model_config.h"
#include "common/text/byte_level.h"

namespace tessera::gateway {
namespace {

// The file as JSON; nothing if there is no such file.
absl::StatusOr<std::optional<JsonDocument>> ReadIfThere(const std::string& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  TESSERA_ASSIGN_OR_RETURN(JsonDocument document, JsonDocument::ReadFile(path));
  return document;
}

// "chat_template": a string, or a list of {"name", "template"} of which "default" counts.
std::string TemplateOf(const JsonValue& root) {
  const std::optional<JsonValue> value = root.Find("chat_template");
  if (!value.has_value()) return "";
  if (value->is_string()) return std::string(*value->AsString());
  for (const JsonValue entry : value->elements()) {
    const auto name = entry.Find("name");
    const auto text = entry.Find("template");
    if (name.has_value() && name->is_string() && *name->AsString() == "default" &&
        text.has_value() && text->is_string()) {
      return std::string(*text->AsString());
    }
  }
  return "";
}

// Stands behind the last message's text while it is rendered, for continue_final_message: what a
// template puts behind the message may begin with, or contain, whatever the message ends with.
constexpr std::string_view kEndMark = "TesseraEndOfLastMessage7f3d09c1b54ea862";

absl::Status NotShown() {
  return absl::InvalidArgumentError(
      "continue_final_message: the chat template does not show the last message as it stands");
}

// The messages, the mark behind the last one's text. White space at its end is left out: tokens of
// text begin with theirs.
absl::StatusOr<TemplateValue> MarkLastMessage(const TemplateValue& messages) {
  ValueList list = messages.AsList();
  if (list.empty() || !list.back().is_dict()) return NotShown();
  ValueMap last = list.back().AsDict();
  const TemplateValue* content = last.Find("content");
  if (content == nullptr || !content->is_string()) return NotShown();
  std::string text = content->AsString();
  text.resize(text.find_last_not_of(" \t\r\n") + 1);  // npos + 1 is 0
  last.Set("content", TemplateValue::String(text.append(kEndMark)));
  list.back() = TemplateValue::Dict(std::move(last));
  return TemplateValue::List(std::move(list));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const TextModel>> TextModel::Load(const TextModelConfig& config) {
  auto model = std::unique_ptr<TextModel>(new TextModel());
  TESSERA_ASSIGN_OR_RETURN(model->tokenizer_, Tokenizer::Load(config.folder + "/tokenizer.json"));
  TESSERA_ASSIGN_OR_RETURN(const ModelSpec spec, ReadModelSpec(config.folder));
  if (spec.vocab < static_cast<size_t>(model->tokenizer_->id_end())) {
    return absl::InvalidArgumentError(absl::StrCat(
        config.folder, ": tokenizer.json has ids up to ", model->tokenizer_->id_end() - 1,
        ", the model's vocabulary ends at ", spec.vocab - 1));
  }
  model->context_max_ = static_cast<uint32_t>(spec.context_max);
  if (config.context_max > 0) {
    model->context_max_ = std::min(model->context_max_, config.context_max);
  }
  model->vocab_size_ = static_cast<uint32_t>(model->tokenizer_->id_end());
  model->experts_per_token_ = static_cast<uint32_t>(spec.top_k);
  model->eos_tokens_.assign(spec.eos_token_ids.begin(), spec.eos_token_ids.end());
  TESSERA_RETURN_IF_ERROR(model->LoadTemplate(config));
  if (config.use_generation_defaults) {
    TESSERA_RETURN_IF_ERROR(model->LoadDefaults(config.folder + "/generation_config.json"));
  }
  // What the post-processor puts before an empty text.
  TESSERA_ASSIGN_OR_RETURN(const std::vector<TokenId> specials, model->tokenizer_->Encode(""));
  if (!specials.empty()) model->bos_ = specials.front();
  return model;
}

absl::Status TextModel::LoadTemplate(const TextModelConfig& config) {
  const std::string settings_path = config.folder + "/tokenizer_config.json";
  TESSERA_ASSIGN_OR_RETURN(const auto settings, ReadIfThere(settings_path));
  std::string path = config.chat_template_file;
  if (path.empty() && std::filesystem::exists(config.folder + "/chat_template.jinja")) {
    path = config.folder + "/chat_template.jinja";
  }
  if (!path.empty()) {
    TESSERA_ASSIGN_OR_RETURN(template_source_, ReadWholeFile(path));
  } else if (settings.has_value()) {
    path = settings_path;
    template_source_ = TemplateOf(settings->root());
  }
  if (settings.has_value()) LoadSpecials(settings->root());
  if (template_source_.empty()) return absl::OkStatus();
  auto parsed = ChatTemplate::Parse(template_source_);
  if (!parsed.ok()) return Annotate(parsed.status(), path);
  template_ = *std::move(parsed);
  return absl::OkStatus();
}

void TextModel::LoadSpecials(const JsonValue& tokenizer_config) {
  for (const char* name : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
    std::optional<JsonValue> value = tokenizer_config.Find(name);
    if (value.has_value() && value->is_object()) value = value->Find("content");
    if (value.has_value() && value->is_string()) {
      special_tokens_.Set(name, TemplateValue::String(std::string(*value->AsString())));
    }
  }
}

absl::Status TextModel::LoadDefaults(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const auto document, ReadIfThere(path));
  if (!document.has_value()) return absl::OkStatus();
  const auto read = [&](const char* name, double low, double high, float& value) -> absl::Status {
    const std::optional<JsonValue> member = document->root().Find(name);
    if (!member.has_value() || member->is_null()) return absl::OkStatus();
    TESSERA_ASSIGN_OR_RETURN(const double number, member->AsNumber());
    if (number < low || number > high) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", name, " is ", number, "; expected ", low, " to ", high));
    }
    value = static_cast<float>(number);
    return absl::OkStatus();
  };
  wire::SamplingOptions& to = sampling_defaults_;
  TESSERA_RETURN_IF_ERROR(read("temperature", 0, 2, to.temperature));
  TESSERA_RETURN_IF_ERROR(read("top_p", 1e-6, 1, to.top_p));
  TESSERA_RETURN_IF_ERROR(read("min_p", 0, 1, to.min_p));
  TESSERA_RETURN_IF_ERROR(read("repetition_penalty", wire::kRepetitionPenaltyMin,
                               wire::kRepetitionPenaltyMax, to.repetition_penalty));
  float top_k = 0;
  TESSERA_RETURN_IF_ERROR(read("top_k", 0, 1e6, top_k));
  to.top_k = static_cast<uint32_t>(top_k);
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextModel::Render(const ChatPrompt& prompt, absl::Time now) const {
  if (template_ == nullptr) {
    return absl::InvalidArgumentError(
        "the model has no chat template; use /v1/completions, or serve it with one");
  }
  ValueMap variables = special_tokens_;
  variables.Set("messages", prompt.messages);
  if (prompt.continue_final_message) {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue marked, MarkLastMessage(prompt.messages));
    variables.Set("messages", std::move(marked));
  }
  variables.Set("tools", prompt.tools);
  variables.Set("add_generation_prompt", TemplateValue::Bool(prompt.add_generation_prompt &&
                                                             !prompt.continue_final_message));
  for (const auto& [name, value] : prompt.template_variables.members) variables.Set(name, value);
  TESSERA_ASSIGN_OR_RETURN(std::string text, template_->Render(std::move(variables), now));
  if (!prompt.continue_final_message) return text;
  const size_t mark = text.rfind(kEndMark);
  if (mark == std::string::npos) return NotShown();
  text.resize(mark);
  return text;
}

absl::StatusOr<std::vector<TokenId>> TextModel::EncodeRendered(std::string_view text) const {
  // Templates write the special tokens they want; one of their own besides would be one too many.
  return tokenizer_->Encode(text, {.add_special_tokens = false});
}

absl::StatusOr<std::vector<TokenId>> TextModel::EncodeText(std::string_view text,
                                                           bool add_special_tokens) const {
  if (add_special_tokens && bos_.has_value() && text.starts_with(tokenizer_->PieceOf(*bos_))) {
    add_special_tokens = false;
  }
  return tokenizer_->Encode(text, {.add_special_tokens = add_special_tokens});
}

std::string TextModel::BytesOf(TokenId id) const {
  const std::string_view piece = tokenizer_->PieceOf(id);
  std::string text = tokenizer_->Decode(std::span<const TokenId>(&id, 1));
  if (text.find("\xEF\xBF\xBD") == std::string::npos) return text;
  // Not whole characters: the piece tells the bytes.
  unsigned byte = 0;
  if (piece.size() == 6 && piece.starts_with("<0x") &&
      absl::SimpleHexAtoi(std::string(piece.substr(3, 2)), &byte)) {
    return std::string(1, static_cast<char>(byte));
  }
  return FromByteLevel(piece).value_or(std::move(text));
}

bool TextModel::is_eos(TokenId id) const {
  return std::find(eos_tokens_.begin(), eos_tokens_.end(), id) != eos_tokens_.end();
}

}  // namespace tessera::gateway
