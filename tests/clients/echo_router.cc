// A router without a model, as a program: its answers are known, so clients can be held against
// them. Speaks the tiny tokenizer. The first line of its output is its address.
//   A last message "say: TEXT" is answered TEXT, any other one "You said: " and the message.
//   Other prompts are repeated.
// Commands, a line each, on standard input; each is answered with a line; the end of the input ends
// the program.
//   hold N      requests stop before token N; "release" lets them go on
//   announce N  says that it has room for N tokens
//   refuse SECONDS   refuses new requests, to come back in so many seconds; "accept" ends it
//   requests    answers how many requests arrived so far
//   running     answers how many run now
//   die, revive

#include <algorithm>
#include <iostream>
#include <sstream>
#include <string>

#include "tests/support/stub_router.h"
#include "tests/support/tiny_tokenizer.h"

namespace tessera::testing {
namespace {

using Ids = std::vector<TokenId>;

Ids IdsOf(std::string_view text) {
  Ids ids;
  for (const char c : text) ids.push_back(TinyId(c));
  return ids;
}

bool StartsWith(const Ids& ids, const Ids& with) {
  return ids.size() >= with.size() && std::equal(with.begin(), with.end(), ids.begin());
}

// What stands in the last message before the one to be written, without its role.
Ids LastMessage(const Ids& prompt) {
  const auto next = std::find(prompt.rbegin(), prompt.rend(), kTinyStart);
  if (next == prompt.rend()) return prompt;
  const auto start = std::find(next + 1, prompt.rend(), kTinyStart);
  Ids message(start.base(), next.base());
  message.erase(message.begin(), std::find(message.begin(), message.end(), TinyId('\n')));
  if (!message.empty()) message.erase(message.begin());
  message.erase(std::find(message.begin(), message.end(), kTinyEos), message.end());
  return message;
}

TokenId Answer(const wire::GenerationParams& params, uint32_t index) {
  Ids answer = LastMessage(params.prompt);
  const Ids say = IdsOf("say: ");
  if (StartsWith(answer, say)) {
    answer.erase(answer.begin(), answer.begin() + static_cast<ptrdiff_t>(say.size()));
  } else if (answer.size() < params.prompt.size()) {
    const Ids words = IdsOf("You said: ");
    answer.insert(answer.begin(), words.begin(), words.end());
  }
  return index < answer.size() ? answer[index] : kTinyEos;
}

std::string Obey(StubRouter& router, const std::string& line) {
  std::istringstream words(line);
  std::string command;
  double number = 0;
  words >> command >> number;
  if (command == "hold") {
    router.HoldAt(static_cast<uint32_t>(number));
  } else if (command == "release") {
    router.Release();
  } else if (command == "announce") {
    router.Announce(static_cast<uint32_t>(number));
  } else if (command == "refuse") {
    router.RefuseWith(absl::ResourceExhaustedError("the cache is full"), absl::Seconds(number));
  } else if (command == "accept") {
    router.RefuseWith(absl::OkStatus(), absl::ZeroDuration());
  } else if (command == "requests") {
    return std::to_string(router.requests().size());
  } else if (command == "running") {
    return std::to_string(router.running_count());
  } else if (command == "die") {
    router.Die();
  } else if (command == "revive") {
    router.Revive();
  } else {
    return "unknown command";
  }
  return "done";
}

}  // namespace
}  // namespace tessera::testing

int main() {
  tessera::testing::StubRouterOptions options;
  options.eos_token = tessera::testing::kTinyEos;
  options.token = tessera::testing::Answer;
  tessera::testing::StubRouter router(options);
  std::cout << router.address() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << tessera::testing::Obey(router, line) << std::endl;
  }
  return 0;
}
