#include "services/cli/token_ids.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tessera::cli {

absl::StatusOr<std::vector<TokenId>> ParseTokenIds(const std::string& text) {
  std::vector<TokenId> ids;
  for (absl::string_view word : absl::StrSplit(text, ',')) {
    TokenId id = 0;
    if (!absl::SimpleAtoi(word, &id) || id < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--ids: '", word, "' is not a token id; give a list such as 1,2,3"));
    }
    ids.push_back(id);
  }
  return ids;
}

}  // namespace tessera::cli
