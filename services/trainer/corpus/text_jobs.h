#pragma once

// Jobs on a few words: repeat, reverse, upper-case, sort.

#include "services/trainer/corpus/conversation.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {

enum class TextJob { kRepeat, kReverse, kUpper, kSort };
inline constexpr size_t kTextJobCount = 4;

// One job and its result. Words to sort begin with different letters.
void AddTextJob(TextJob job, Draw& draw, Conversation& conversation);

}  // namespace tessera::trainer
