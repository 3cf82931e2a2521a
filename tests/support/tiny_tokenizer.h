#pragma once

// A byte-level tokenizer for small vocabularies, and a model folder that a whole cluster can serve:
// random weights, this tokenizer, a ChatML template.

#include <cstddef>
#include <string>

#include "common/base/ids.h"
#include "common/model/model_spec.h"

namespace tessera::testing {

// Ids of the tiny tokenizer: special tokens first, then tags, then one id for each byte; ids behind
// are not used.
inline constexpr TokenId kTinyBos = 0;    // <|begin_of_text|>, which the post-processor adds
inline constexpr TokenId kTinyPad = 1;    // <|pad|>
inline constexpr TokenId kTinyStart = 2;  // <|im_start|>
inline constexpr TokenId kTinyEos = 3;    // <|im_end|>
inline constexpr TokenId kTinyThink = 4;  // <think>, </think>, <tool_call>, </tool_call>
inline constexpr TokenId kTinyFirstByte = 16;
inline constexpr TokenId kTinyEnd = kTinyFirstByte + 256;

// The id of a byte.
constexpr TokenId TinyId(char byte) {
  return kTinyFirstByte + static_cast<TokenId>(static_cast<unsigned char>(byte));
}

std::string TinyTokenizerText();     // tokenizer.json
std::string TinyChatTemplateText();  // chat_template.jinja: ChatML, tools as Hermes writes them

// TinySpec() with a vocabulary that holds the tokenizer's and a longer context.
ModelSpec TinyServedSpec(size_t context_max = 512);

// tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json beside the
// config.json of `spec`, which is written too if there is none; no weights.
void WriteTinyText(const ModelSpec& spec, const std::string& folder);
// The same with random weights: a model that can be served.
void WriteTinyServedModel(const ModelSpec& spec, const std::string& folder);

}  // namespace tessera::testing
