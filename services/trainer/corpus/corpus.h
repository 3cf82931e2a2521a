#pragma once

// The generated corpus: conversations of all skills, mixed, as documents.
//
//   (seed, index) --MakeConversation--> Conversation --Render--> parts --Tokenizer--> Document

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/text/tokenizer.h"
#include "services/trainer/corpus/conversation.h"
#include "services/trainer/corpus/document.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {

inline constexpr size_t kDocumentTokensMax = 1024;

// What Conversation::skill can be: "faq", "arithmetic", "tools", "recall", "talk", "text".
std::span<const std::string_view> CorpusSkills();

// A conversation of the mix: a pure function of its arguments. Split::kTraining: to train on;
// kHeldOut: the same mix of skills with words, numbers, frames and topics that are never trained
// on.
Conversation MakeConversation(uint64_t seed, uint64_t index, Split split = Split::kTraining);
// The same of one of CorpusSkills(). An unknown skill is a bug.
Conversation MakeConversationOf(std::string_view skill, uint64_t seed, uint64_t index);

// The conversation as ids, each token of an assistant's text with loss, its <|im_end|> included.
// kInvalidArgument: the tokenizer refuses the text.
absl::StatusOr<Document> Encode(const Conversation& conversation, const Tokenizer& tokenizer);

// A number for the text that Corpus makes of a seed: that of its first conversations. It differs
// where the generator does, but for changes that only rare conversations show.
uint64_t CorpusIdentity(uint64_t seed);

// Documents of at most kDocumentTokensMax tokens; thread-safe.
class Corpus final : public DocumentSource {
 public:
  // `tokenizer` must outlive it.
  Corpus(const Tokenizer& tokenizer, uint64_t seed, Split split = Split::kTraining)
      : tokenizer_(tokenizer), seed_(seed), split_(split) {}

  Document Make(uint64_t index) const override;

 private:
  const Tokenizer& tokenizer_;
  const uint64_t seed_;
  const Split split_;
};

}  // namespace tessera::trainer
