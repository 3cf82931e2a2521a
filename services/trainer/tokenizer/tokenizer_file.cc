#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/json_string.h"
#include "common/base/utf8.h"
#include "common/text/byte_level.h"
#include "services/trainer/tokenizer/bpe_trainer.h"

namespace tessera::trainer {
namespace {

// Trinity's cuts: digits in groups of three from the right, runs of one script, then words with
// what stands before them.
constexpr const char* kPreTokenizer = R"json({"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": false},
    {"type": "Split", "pattern": {"Regex": "\\p{Nd}{1,510}(?=(?>\\p{Nd}{510})*(?:\\P{Nd}|$))|\\G\\p{Nd}{510}"}, "behavior": "Isolated", "invert": false},
    {"type": "Split", "pattern": {"Regex": "\\A\\p{Nd}{1,2}(?=\\p{Nd}{3}+\\z)"}, "behavior": "Isolated", "invert": false},
    {"type": "Split", "pattern": {"Regex": "\\A\\p{Nd}{3}|\\G\\p{Nd}{3}"}, "behavior": "Isolated", "invert": false},
    {"type": "Split", "pattern": {"Regex": "(?:[\\u4E00-\\u9FFF\\u3040-\\u309F\\u30A0-\\u30FF\\u3400-\\u4DBF\\uf900-\\uFAFF\\uFF65-\\uFF9F\\u2F00-\\u2FDF]+|[\\u0E00-\\u0E7F]+|[\\u0E80-\\u0EFF]+|[\\u1780-\\u17FF]+|[\\u1000-\\u109F\\uAA60-\\uAA7F\\uA9E0-\\uA9FF]+|[\\uAC00-\\uD7AF\\u1100-\\u11FF]+)"}, "behavior": "Isolated", "invert": false},
    {"type": "Split", "pattern": {"Regex": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
    {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
  ]})json";

std::string AddedTokens() {
  std::string text;
  for (size_t id = 0; id < ControlTokens().size(); ++id) {
    const ControlToken& token = ControlTokens()[id];
    absl::StrAppend(&text, id == 0 ? "" : ",\n    ", "{\"id\": ", id,
                    ", \"content\": ", JsonQuoted(token.text),
                    ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                    "\"normalized\": false, \"special\": ",
                    token.is_special ? "true" : "false", "}");
  }
  return text;
}

}  // namespace

std::string TokenizerJson(const std::vector<BpeMerge>& merges) {
  std::string vocab, pairs;
  size_t id = 0;
  const auto add = [&](const std::string& piece) {
    absl::StrAppend(&vocab, id == 0 ? "" : ",\n      ", JsonQuoted(piece), ": ", id);
    ++id;
  };
  for (const ControlToken& token : ControlTokens()) add(std::string(token.text));
  for (const char32_t character : kByteCharacters) add(ToUtf8(character));
  for (const BpeMerge& merge : merges) {
    absl::StrAppend(&pairs, pairs.empty() ? "" : ",\n      ", "[",
                    JsonQuoted(ToByteLevel(merge.left)), ", ", JsonQuoted(ToByteLevel(merge.right)),
                    "]");
    add(ToByteLevel(merge.left + merge.right));
  }
  return absl::StrCat(
      "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
      "  \"added_tokens\": [\n    ",
      AddedTokens(), "\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": ", kPreTokenizer,
      ",\n  \"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
      "\"trim_offsets\": false, \"use_regex\": true},\n"
      "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": "
      "true, "
      "\"use_regex\": true},\n"
      "  \"model\": {\n    \"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
      "\"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null, \"fuse_unk\": "
      "false, "
      "\"byte_fallback\": false, \"ignore_merges\": false,\n    \"vocab\": {\n      ",
      vocab, "\n    },\n    \"merges\": [\n      ", pairs, "\n    ]\n  }\n}\n");
}

}  // namespace tessera::trainer
