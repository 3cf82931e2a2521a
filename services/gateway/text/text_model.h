#pragma once

// What a gateway knows of a model: its tokenizer, chat template, limits and defaults. Read once
// from the model's folder.
//
//   conversation --template--> prompt text --tokenizer--> ids
//   completion prompt         -------------tokenizer--> ids
//
// The begin-of-text token: a conversation has what its template writes, be it one or none, as the
// model was trained, and nothing is added; plain text gets the one of the tokenizer's own
// post-processor, unless it begins with it already.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/text/tokenizer.h"
#include "common/wire/generation_wire.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/template/chat_template.h"

namespace tessera::gateway {

struct TextModelConfig {
  std::string folder;                   // with tokenizer.json, config.json and what else there is
  std::string chat_template_file;       // empty: the folder's chat_template.jinja, or the one in
                                        // tokenizer_config.json
  uint32_t context_max = 0;             // tokens; 0: what config.json says
  bool use_generation_defaults = true;  // sampling of generation_config.json
};

struct RenderedPrompt {
  std::string text;
  std::vector<TokenId> ids;
};

// Immutable, thread-safe.
class TextModel {
 public:
  // Errors: kNotFound, kDataLoss, kInvalidArgument with the file's name.
  static absl::StatusOr<std::unique_ptr<const TextModel>> Load(const TextModelConfig& config);

  // kInvalidArgument: a template error, text that is not UTF-8, no template at all.
  absl::StatusOr<std::string> Render(const ChatPrompt& prompt, absl::Time now) const;
  // The ids of a rendered conversation.
  absl::StatusOr<std::vector<TokenId>> EncodeRendered(std::string_view text) const;
  // The ids of plain text, with the begin-of-text token unless told otherwise.
  absl::StatusOr<std::vector<TokenId>> EncodeText(std::string_view text,
                                                  bool add_special_tokens = true) const;

  // The bytes of one token, as they stand in text. Not always whole characters.
  std::string BytesOf(TokenId id) const;

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const std::string& template_source() const { return template_source_; }  // may be empty
  const wire::SamplingOptions& sampling_defaults() const { return sampling_defaults_; }
  const std::vector<TokenId>& eos_tokens() const { return eos_tokens_; }
  bool is_eos(TokenId id) const;
  uint32_t context_max() const { return context_max_; }
  uint32_t vocab_size() const { return vocab_size_; }  // ids below it may be asked for
  uint32_t experts_per_token() const { return experts_per_token_; }

 private:
  TextModel() = default;
  absl::Status LoadTemplate(const TextModelConfig& config);
  absl::Status LoadDefaults(const std::string& path);
  void LoadSpecials(const JsonValue& tokenizer_config);

  std::unique_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<const ChatTemplate> template_;  // null: there is none
  std::string template_source_;
  ValueMap special_tokens_;  // bos_token, eos_token... as templates want them
  std::optional<TokenId> bos_;
  wire::SamplingOptions sampling_defaults_;
  std::vector<TokenId> eos_tokens_;
  uint32_t context_max_ = 0;
  uint32_t vocab_size_ = 0;
  uint32_t experts_per_token_ = 0;
};

}  // namespace tessera::gateway
