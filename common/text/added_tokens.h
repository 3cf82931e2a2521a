#pragma once

// The "added_tokens" of a tokenizer file: strings that are found in text before anything else cuts
// it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/json/json.h"
#include "common/text/bpe_model.h"
#include "common/text/normalizer.h"
#include "common/text/text_span.h"
#include "common/text/unicode.h"

namespace tessera {

struct AddedToken {
  TokenId id = 0;
  std::string content;       // never empty
  bool single_word = false;  // only where no word character stands before or behind
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space behind it along
  bool normalized = false;   // is looked for in normalized text, in its own normalized form
  bool special = false;      // left out by Decode on request
};

// Finds strings of a set in a text: at each place the longest one. Immutable, thread-safe.
class StringFinder {
 public:
  struct Match {
    TextSpan span;
    uint32_t index = 0;  // of the string
  };

  // Empty strings are never found; of equal ones the first counts.
  explicit StringFinder(const std::vector<std::string>& strings);

  // The first match at or behind `from`; false if there is none.
  bool Find(std::string_view text, size_t from, Match* match) const;

 private:
  struct Node {
    uint32_t first_edge = 0;
    uint32_t edge_count = 0;
    int32_t index = -1;  // of the string that ends here
  };
  struct Edge {
    unsigned char byte;
    uint32_t node;
  };
  uint32_t Child(const Node& node, unsigned char byte) const;

  bool starts_[256] = {};
  std::vector<Node> nodes_;  // the root first
  std::vector<Edge> edges_;  // of a node: in order of the byte
};

// Immutable, thread-safe.
class AddedTokens {
 public:
  // One part of a text: an added token or text between them.
  using Visit = absl::FunctionRef<absl::Status(TextSpan span, const AddedToken* token)>;

  // `json` may be null. Errors: kInvalidArgument with the path: a wrong member, an id that
  // contradicts the vocabulary or another token. `normalizer` (may be null) gives normalized tokens
  // their form.
  static absl::StatusOr<AddedTokens> FromJson(const JsonValue& json, const BpeModel& model,
                                              const Normalizer* normalizer);

  // Visits the parts of `text` in order; empty text in between is left out. `is_normalized` says
  // which of the two sets of tokens is looked for. The first error ends it.
  absl::Status Cut(std::string_view text, bool is_normalized, const UnicodeProperties& properties,
                   Visit visit) const;

  // Whether any token is looked for in normalized text.
  bool has_normalized() const { return !normalized_order_.empty(); }
  const std::vector<AddedToken>& tokens() const { return tokens_; }  // in the file's order
  const AddedToken* FindId(TokenId id) const;
  const AddedToken* FindContent(std::string_view content) const;

 private:
  explicit AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& raw,
                       const std::vector<std::string>& normalized);

  std::vector<AddedToken> tokens_;
  std::vector<uint32_t> raw_order_;         // finder's index -> tokens_ index
  std::vector<uint32_t> normalized_order_;  // the same
  StringFinder raw_;
  StringFinder normalized_;
  absl::flat_hash_map<TokenId, uint32_t> by_id_;
  absl::flat_hash_map<std::string, uint32_t> by_content_;
};

}  // namespace tessera
