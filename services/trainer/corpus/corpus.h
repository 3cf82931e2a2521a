#pragma once

// The generated corpus: conversations of all skills, mixed, as documents.
//
//   (seed, index) --MakeConversation--> Conversation --Render--> parts --Tokenizer--> Document

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/text/tokenizer.h"
#include "services/trainer/corpus/conversation.h"
#include "services/trainer/corpus/course.h"
#include "services/trainer/corpus/document.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {

inline constexpr size_t kDocumentTokensMax = 1024;

// What Conversation::skill can be: kCorpusSkills.
std::span<const std::string_view> CorpusSkills();

// A conversation of the course's mix: a pure function of its arguments. Split::kTraining: to train
// on; kHeldOut: the same mix of skills with words, numbers, frames and topics that are never
// trained on.
Conversation MakeConversation(uint64_t seed, uint64_t index, Split split = Split::kTraining,
                              const Course& course = {});
// The same of one of CorpusSkills(). An unknown skill is a bug.
Conversation MakeConversationOf(std::string_view skill, uint64_t seed, uint64_t index,
                                const Course& course = {});

// The conversation as ids, each token of an assistant's text with loss, its <|im_end|> included.
// kInvalidArgument: the tokenizer refuses the text.
absl::StatusOr<Document> Encode(const Conversation& conversation, const Tokenizer& tokenizer);

// A number for the text that Corpus makes of a seed and a course: that of its first conversations.
// It differs where the generator does, but for changes that only rare conversations show.
uint64_t CorpusIdentity(uint64_t seed, const Course& course = {});

// Documents of at most kDocumentTokensMax tokens; thread-safe.
class Corpus final : public DocumentSource {
 public:
  // `tokenizer` must outlive it. courses: of each phase, at least one; phases beyond have the last.
  Corpus(const Tokenizer& tokenizer, uint64_t seed, Split split = Split::kTraining,
         std::vector<Course> courses = {{}})
      : tokenizer_(tokenizer), seed_(seed), split_(split), courses_(std::move(courses)) {}

  Document Make(uint64_t index) const override;

 private:
  const Tokenizer& tokenizer_;
  const uint64_t seed_;
  const Split split_;
  const std::vector<Course> courses_;
};

}  // namespace tessera::trainer
