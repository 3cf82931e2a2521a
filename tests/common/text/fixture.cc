#include "tests/common/text/fixture.h"

#include <sstream>

#include "common/base/json_string.h"
#include "common/base/utf8.h"
#include "common/text/byte_level.h"

namespace tessera::testing {

std::string TokenizerFixture::Json() const {
  std::ostringstream json;
  json << "{\"added_tokens\":" << added_tokens << ",\"normalizer\":" << normalizer
       << ",\"pre_tokenizer\":" << pre_tokenizer << ",\"post_processor\":" << post_processor
       << ",\"decoder\":" << decoder << ",\"model\":{\"type\":\"BPE\"" << model_options
       << ",\"vocab\":{";
  for (size_t i = 0; i < vocab.size(); ++i) {
    json << (i == 0 ? "" : ",") << JsonQuoted(vocab[i]) << ':' << i;
  }
  json << "},\"merges\":[";
  for (size_t i = 0; i < merges.size(); ++i) json << (i == 0 ? "" : ",") << JsonQuoted(merges[i]);
  json << "]}}";
  return json.str();
}

absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerFixture::Load() const {
  absl::StatusOr<JsonDocument> document = JsonDocument::Parse(Json());
  if (!document.ok()) return document.status();
  return Tokenizer::FromJson(document->root());
}

std::vector<std::string> ByteLevelVocab() {
  std::vector<std::string> vocab;
  for (const char32_t c : kByteCharacters) vocab.push_back(ToUtf8(c));
  return vocab;
}

TokenizerFixture ByteLevelFixture() {
  TokenizerFixture fixture;
  fixture.vocab = ByteLevelVocab();
  fixture.merges = {"h e", "l l",        "he ll",       "hell o",      "\u0120 w",
                    "o r", "\u0120w or", "\u0120wor l", "\u0120worl d"};
  for (const std::string& merge : fixture.merges) {
    const size_t space = merge.find(' ');
    fixture.vocab.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  fixture.pre_tokenizer =
      R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":" ?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
  fixture.decoder = R"({"type":"ByteLevel"})";
  fixture.added_tokens =
      R"([{"id":265,"content":"<|bos|>","special":true},{"id":266,"content":"<tool>","special":false}])";
  fixture.post_processor =
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|bos|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<|bos|>":{"id":"<|bos|>","ids":[265],"tokens":["<|bos|>"]}}})";
  return fixture;
}

TokenizerFixture FallbackFixture() {
  TokenizerFixture fixture;
  fixture.vocab = {"<unk>", "<s>"};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", static_cast<unsigned>(byte));
    fixture.vocab.push_back(name);
  }
  for (const char* piece : {"\u2581", "a", "b", "c", "\u2581a", "ab", "\u2581ab", "\u00e4"}) {
    fixture.vocab.push_back(piece);
  }
  fixture.merges = {"\u2581 a", "a b", "\u2581a b"};
  fixture.model_options = R"(,"unk_token":"<unk>","fuse_unk":true,"byte_fallback":true)";
  fixture.normalizer =
      "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\u2581\"},{"
      "\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}]}";
  fixture.decoder =
      "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
      "\"\u2581\"},\"content\":\" "
      "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
      "\",\"start\":1,\"stop\":0}]}";
  fixture.added_tokens = R"([{"id":1,"content":"<s>","special":true}])";
  return fixture;
}

}  // namespace tessera::testing
