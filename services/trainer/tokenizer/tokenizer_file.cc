#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/json_string.h"
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

// A byte as byte-level vocabularies write it: bytes that print stand for themselves, the others
// follow from U+0100 on.
std::string ByteSymbol(unsigned char byte) {
  const auto prints = [](unsigned b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  unsigned code = byte;
  if (!prints(byte)) {
    code = 0x100;
    for (unsigned b = 0; b < byte; ++b) code += prints(b) ? 0 : 1;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

std::string Symbols(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += ByteSymbol(static_cast<unsigned char>(c));
  return text;
}

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
  for (unsigned byte = 0; byte < 256; ++byte) add(ByteSymbol(static_cast<unsigned char>(byte)));
  for (const BpeMerge& merge : merges) {
    absl::StrAppend(&pairs, pairs.empty() ? "" : ",\n      ", "[", JsonQuoted(Symbols(merge.left)),
                    ", ", JsonQuoted(Symbols(merge.right)), "]");
    add(Symbols(merge.left + merge.right));
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
