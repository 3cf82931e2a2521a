#pragma once

// Small tokenizer files for the tests of the text room.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/tokenizer.h"

namespace tessera::testing {

// A tokenizer file in parts; each member is JSON.
struct TokenizerFixture {
  std::string added_tokens = "[]";
  std::string normalizer = "null";
  std::string pre_tokenizer = "null";
  std::string post_processor = "null";
  std::string decoder = "null";
  std::vector<std::string>
      vocab;  // pieces, id by position; ByteLevelVocab() first for byte-level ones
  std::vector<std::string> merges;  // "left right"
  std::string model_options;        // ,"unk_token":"<unk>" and the like

  std::string Json() const;
  absl::StatusOr<std::unique_ptr<Tokenizer>> Load() const;
};

// The 256 characters of the byte-level alphabet, by byte.
std::vector<std::string> ByteLevelVocab();

// A byte-level BPE with a few English merges and a GPT-2 like split; ids 0-255 are the bytes.
TokenizerFixture ByteLevelFixture();

// A BPE over characters with byte fallback, spaces as U+2581: ids 0 <unk>, 1 <s>, 2-257
// <0x00>-<0xFF>, then more.
TokenizerFixture FallbackFixture();

}  // namespace tessera::testing
