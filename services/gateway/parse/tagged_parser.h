#pragma once

// What the parsers of calls share: content up to a tag, and the events of calls. For the sources of
// this folder only.

#include <string>
#include <string_view>
#include <vector>

#include "services/gateway/parse/tag_scan.h"
#include "services/gateway/parse/tool_parser.h"

namespace tessera::gateway {

// Every decision is about the front of held_ and is put off until the text that it needs is there,
// or the end: that is why the cuts of the text do not matter. What is put off is bounded.
class TaggedParser : public ToolParser {
 public:
  explicit TaggedParser(ToolParserOptions options) : options_(std::move(options)) {}

  void Push(std::string_view text, std::vector<OutputEvent>& events) final;
  void Flush(std::vector<OutputEvent>& events) final;
  uint32_t call_count() const final { return call_count_; }
  uint32_t failure_count() const final { return failure_count_; }

 protected:
  // Whether a call begins at `text`, where `line_start` tells whether a line does. On kYes *length
  // is what the parser's own part shall take away before AdvanceCall is called.
  virtual TagMatch MatchStart(std::string_view text, bool line_start, bool final,
                              size_t* length) = 0;
  // One decision inside a call; false if it needs more text, which with `final`
  // it never does.
  virtual bool AdvanceCall(bool final) = 0;
  // The text has ended inside a call; held_ is empty.
  virtual void EndInside() = 0;

  // Takes `bytes` of held_ away; they come back as content should the call turn out to be none.
  void Take(size_t bytes);
  // The call is none: what was taken since its start is content.
  void Fail();
  // The call has been told: it cannot be taken back any more.
  void BeginCall(std::string_view name);
  void AddArguments(std::string_view text);
  // Another call begins inside the same tag: from here on text is kept for Fail again.
  void RestartCall();
  // White space that follows belongs to the call.
  void LeaveCalls();
  void CountFailure() { ++failure_count_; }
  const ToolParserOptions& options() const { return options_; }

  std::string held_;

 private:
  void Run(bool final);
  bool AdvanceContent(bool final);
  void EmitContent(std::string_view text);

  const ToolParserOptions options_;
  std::vector<OutputEvent>* events_ = nullptr;  // of the call under way
  bool in_call_ = false;
  bool after_call_ = false;  // white space is dropped, at most kGapBytesMax of it
  size_t gap_dropped_ = 0;
  bool line_start_ = true;  // where held_ begins
  std::string taken_;       // since the start of what may be a call
  bool told_ = false;       // the call has been begun: taken_ is not kept
  bool shown_ = false;      // and is not one too many
  uint32_t call_count_ = 0;
  uint32_t failure_count_ = 0;
};

std::unique_ptr<ToolParser> MakeHermesParser(ToolParserOptions options);
std::unique_ptr<ToolParser> MakeQwen3CoderParser(ToolParserOptions options);

}  // namespace tessera::gateway
