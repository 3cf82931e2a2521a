#pragma once

// One request's output in each dialect, for the tests of replies and the check against OpenAI's
// own schema.

#include <string>
#include <vector>

#include "services/gateway/api/reply.h"

namespace tessera::gateway {

// Something with everything: reasoning, content, two calls, logprobs, ids, experts.
ChoiceOutput FullChoice();
// A request of `dialect` that asks for what FullChoice has.
GenerationRequest FullRequest(ApiDialect dialect);
ReplyHead SampleHead(ApiDialect dialect);
inline constexpr Usage kSampleUsage = {
    .prompt_tokens = 10, .cached_tokens = 4, .completion_tokens = 7, .reasoning_tokens = 2};

// The stream of `choices`, an event a step, then End.
std::string Streamed(const GenerationRequest& request, const std::vector<ChoiceOutput>& choices);
// The JSON of each "data:" line but [DONE].
std::vector<std::string> DataOf(const std::string& stream);

}  // namespace tessera::gateway
