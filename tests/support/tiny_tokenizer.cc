#include "tests/support/tiny_tokenizer.h"

#include <array>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

namespace tessera::testing {
namespace {

struct Added {
  TokenId id;
  const char* text;
  bool special;
};
constexpr std::array<Added, 8> kAdded = {{{kTinyBos, "<|begin_of_text|>", true},
                                          {kTinyPad, "<|pad|>", true},
                                          {kTinyStart, "<|im_start|>", true},
                                          {kTinyEos, "<|im_end|>", true},
                                          {kTinyThink, "<think>", false},
                                          {kTinyThink + 1, "</think>", false},
                                          {kTinyThink + 2, "<tool_call>", false},
                                          {kTinyThink + 3, "</tool_call>", false}}};

// The JSON escape of the character that stands for a byte in a byte-level vocabulary.
std::string ByteSymbol(int byte) {
  const auto prints = [](int b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  int code = byte;
  if (!prints(byte)) {
    code = 0x100;
    for (int b = 0; b < byte; ++b) code += !prints(b);
  }
  return absl::StrCat("\\u", absl::Hex(code, absl::kZeroPad4));
}

}  // namespace

std::string TinyTokenizerText() {
  std::string added;
  std::string vocab;
  for (const Added& token : kAdded) {
    absl::StrAppend(&added, added.empty() ? "" : ",", "{\"id\":", token.id, ",\"content\":\"",
                    token.text, "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,",
                    "\"normalized\":false,\"special\":", token.special ? "true" : "false", "}");
    absl::StrAppend(&vocab, vocab.empty() ? "" : ",", "\"", token.text, "\":", token.id);
  }
  for (int byte = 0; byte < 256; ++byte) {
    absl::StrAppend(&vocab, ",\"", ByteSymbol(byte), "\":", kTinyFirstByte + byte);
  }
  return absl::StrCat(
      "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[", added,
      "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
      "\"trim_offsets\":true,\"use_regex\":false},\"post_processor\":{\"type\":"
      "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<|begin_of_text|>\","
      "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{"
      "\"id\":"
      "\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{"
      "\"<|begin_of_text|>\":{\"id\":\"<|begin_of_text|>\",\"ids\":[0],\"tokens\":["
      "\"<|begin_of_text|>\"]}}},\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
      "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,"
      "\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
      "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{",
      vocab, "},\"merges\":[]}}");
}

std::string TinyChatTemplateText() {
  return R"({%- if tools %}
<|im_start|>system
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '\n<tool_call>\n' + (call.function | tojson) + '\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking %}
{{- '<think>\n' }}
{%- endif %}
{%- endif %}
)";
}

ModelSpec TinyServedSpec(size_t context_max) {
  ModelSpec spec = TinySpec();
  spec.vocab = 320;
  spec.context_max = context_max;
  spec.eos_token_ids = {kTinyEos};
  spec.bos_token_id = kTinyBos;
  return spec;
}

void WriteTinyText(const ModelSpec& spec, const std::string& folder) {
  WriteFile(folder + "/tokenizer.json", TinyTokenizerText());
  WriteFile(folder + "/chat_template.jinja", TinyChatTemplateText());
  WriteFile(folder + "/tokenizer_config.json",
            R"({"bos_token":"<|begin_of_text|>","eos_token":"<|im_end|>","pad_token":"<|pad|>"})");
  WriteFile(folder + "/generation_config.json",
            absl::StrCat(R"({"bos_token_id":0,"eos_token_id":)", kTinyEos,
                         R"(,"temperature":0.7,"top_p":0.9,"do_sample":true})"));
  if (!std::filesystem::exists(folder + "/config.json")) {
    WriteFile(folder + "/config.json", ConfigText(spec));
  }
}

void WriteTinyServedModel(const ModelSpec& spec, const std::string& folder) {
  WriteTinyModel(spec, {.dtype = DType::kBF16}, folder);
  WriteTinyText(spec, folder);
}

}  // namespace tessera::testing
