#pragma once

// Questions about Tessera.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "services/trainer/corpus/conversation.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {

// One fact and the ways to ask for it. Patterns hold alternatives: "(start|run) (it|Tessera)" are
// four topics.
struct Fact {
  std::string_view answer;
  std::vector<std::string_view> how;    // patterns that complete "How do I ...?"
  std::vector<std::string_view> what;   // patterns that complete "What is ...?"
  std::vector<std::string_view> whole;  // patterns that are questions already, without "?"
};

std::span<const Fact> Facts();

// Every text of a pattern.
std::vector<std::string> Alternatives(std::string_view pattern);

enum class FaqKind {
  kTraining,  // frames and topics that are trained on
  kNewFrame,  // a frame that never is, around a topic that is
  kNewTopic,  // a topic that never is, in a frame that is
};

// One question and its answer.
void AddFaq(FaqKind kind, Draw& draw, Conversation& conversation);

// The question as people type it: perhaps without capital letter or mark at its end, with a
// greeting.
std::string Casual(std::string question, Draw& draw);

}  // namespace tessera::trainer
