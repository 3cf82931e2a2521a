#pragma once

// Calls of tools: names, keys and values are new in every conversation, so that the skill is to
// copy from the schema and from the request.

#include "services/trainer/corpus/conversation.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {

enum class ToolRequest {
  kNamed,   // the user names the tool
  kNeeded,  // the user only says what is wanted
};

// What a turn about tools is made of: a conversation needs its tools before its turns.
class ToolScene {
 public:
  // `count` tools; a share of `everyday` are tools that people really define.
  ToolScene(size_t count, double everyday, Draw& draw);

  const std::vector<Tool>& tools() const { return tools_; }

  // A request and the calls that it wants, as the last two messages. With `two` perhaps of two
  // tools.
  void AddRequest(ToolRequest kind, bool two, Draw& draw, Conversation& conversation) const;
  // The results of the calls in the last message, and what the assistant says of them.
  void AddResults(Draw& draw, Conversation& conversation) const;
  // A request that none of the tools can serve.
  void AddMisfit(Draw& draw, Conversation& conversation) const;

 private:
  // How a tool may be asked for without its name: "$" stands for the value of the first parameter,
  // or the value stands in the text and once more behind a "|".
  struct Need {
    size_t kind = 0;  // of an everyday tool: its number and one; 0: made up
    std::vector<std::string> requests;
  };
  void AddMadeUpTool(Draw& draw);
  void AddEverydayTool(Draw& draw);
  ToolCall NamedCall(size_t tool, Draw& draw, std::string* request) const;
  ToolCall NeededCall(size_t tool, Draw& draw, std::string* request) const;

  std::vector<Tool> tools_;
  std::vector<Need> needs_;  // of each tool
};

// A request for which there are no tools at all, and the refusal.
void AddRequestWithoutTools(Draw& draw, Conversation& conversation);

}  // namespace tessera::trainer
