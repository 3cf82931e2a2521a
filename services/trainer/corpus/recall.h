#pragma once

// Facts that the user states and asks back later.

#include <string>
#include <vector>

#include "services/trainer/corpus/conversation.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {

// One fact about the user.
struct UserFact {
  std::vector<std::string> statements;  // ways to state it
  std::string confirmation;             // what the assistant says to it
  std::vector<std::string> questions;   // ways to ask it back
  std::string answer;
  std::string unknown;  // the answer if it was never stated
};

inline constexpr size_t kFactKindCount = 10;
// A fact of the kind, with values of this split; kinds ask different questions.
UserFact MakeUserFact(size_t kind, Draw& draw);

void AddStatement(const UserFact& fact, Draw& draw, Conversation& conversation);
void AddRecall(const UserFact& fact, Draw& draw, Conversation& conversation);
// Asks for a fact that was not stated.
void AddUnknown(const UserFact& fact, Draw& draw, Conversation& conversation);

// "Read this: ..." with so many words, and "Done.": fills the distance between statement and
// question.
void AddReading(size_t word_count, Draw& draw, Conversation& conversation);

}  // namespace tessera::trainer
