#pragma once

// Greetings and thanks, and what the model cannot do.

#include "services/trainer/corpus/conversation.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {

void AddTalk(Draw& draw, Conversation& conversation);
// A request for something the model cannot do, about random words, refused politely.
void AddRefusal(Draw& draw, Conversation& conversation);

}  // namespace tessera::trainer
