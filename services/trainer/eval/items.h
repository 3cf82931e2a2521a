#pragma once

// Held-out items: conversations whose last message is the answer that is expected.

#include <cstdint>
#include <span>
#include <string_view>

#include "services/trainer/corpus/conversation.h"

namespace tessera::trainer {

// How an answer is held against the expected one.
enum class Scoring {
  kText,    // the content, white space at its ends aside
  kNumber,  // the last number in the content
  kCalls,   // names and arguments of all calls, as JSON
};

struct EvalSkill {
  std::string_view name;
  std::string_view what;
  Scoring scoring;
};

// faq_frame, faq_topic, talk, refuse, add_1 to sub_3, tool_named, tool_need, tool_everyday,
// tool_pair, tool_result, recall_windows, recall_turns, repeat, reverse, upper, sort.
std::span<const EvalSkill> EvalSkills();

// Item `index` of a skill; made-up words, pairs of numbers, frames or topics are never in the
// corpus. An unknown skill is a bug.
Conversation MakeItem(std::string_view skill, uint64_t seed, uint64_t index);

}  // namespace tessera::trainer
