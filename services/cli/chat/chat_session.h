#pragma once

// A conversation at a terminal, or over pipes: lines in, answers out.
//
//   line --command?--> /load /reset /quit
//        --prompt----> POST /v1/chat/completions (stream) --> printed as it comes --> history

#include <deque>
#include <istream>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/http/http_client.h"
#include "services/cli/chat/chat_stream.h"

namespace tessera::cli {

struct ChatSessionConfig {
  std::string model;        // empty: the served one
  std::string system;       // first message; empty: none
  std::string tools_json;   // array of tools as clients send it; empty: none
  double temperature = -1;  // < 0: the model's default
  size_t max_tokens = 0;    // of an answer; 0: what the context leaves
  // A person reads and types: prompts are shown, reasoning is shown dimmed, an error is no end.
  // Otherwise every line is a prompt, only answers are printed, and the first error ends it.
  bool is_interactive = false;
  bool uses_color = false;
};

// Owned by one thread.
class ChatSession {
 public:
  // All borrowed.
  ChatSession(const ChatSessionConfig& config, const HttpClient& client, std::istream& in,
              std::ostream& out, std::ostream& err)
      : config_(config), client_(client), in_(in), out_(out), err_(err) {}

  // Until the end of `in` or /quit. Errors: those of HttpClient and ChatStream.
  absl::Status Run();

 private:
  // What the model is told in the next request, as JSON objects.
  struct Message {
    std::string json;
  };

  void ShowPrompt();
  absl::Status Ask(const std::string& line);
  absl::Status ShowLoad();
  std::string Body() const;
  void Remember(const ChatAnswer& answer);
  void Print(std::string_view text, bool dimmed);
  void ShowCalls(const ChatAnswer& answer);

  const ChatSessionConfig& config_;
  const HttpClient& client_;
  std::istream& in_;
  std::ostream& out_;
  std::ostream& err_;
  std::vector<Message> history_;
  std::deque<ChatToolCall> open_calls_;  // the next lines are their results
  bool is_dimmed_ = false;
};

// `text` without the control characters that would move a terminal's cursor, colour it or worse;
// line ends and tabs stay.
std::string PlainText(std::string_view text);

}  // namespace tessera::cli
