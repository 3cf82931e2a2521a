#include "services/gateway/parse/output_parser.h"

#include <utility>

namespace tessera::gateway {

OutputParser::OutputParser(OutputParserOptions options)
    : reasoning_(options.reasoning, options.starts_in_reasoning),
      tools_(MakeToolParser(options.tools, std::move(options.tool_options))) {}

OutputParser::~OutputParser() = default;

void OutputParser::Push(std::string_view text, std::vector<OutputEvent>& events) {
  std::string reasoning;
  std::string rest;
  reasoning_.Push(text, reasoning, rest);
  Add(std::move(reasoning), std::move(rest), events);
}

void OutputParser::Flush(std::vector<OutputEvent>& events) {
  std::string reasoning;
  std::string rest;
  reasoning_.Flush(reasoning, rest);
  Add(std::move(reasoning), std::move(rest), events);
  if (tools_ != nullptr) tools_->Flush(events);
}

void OutputParser::Add(std::string reasoning, std::string rest, std::vector<OutputEvent>& events) {
  AppendEvent({.kind = OutputEvent::Kind::kReasoning, .text = std::move(reasoning)}, events);
  if (tools_ != nullptr) {
    tools_->Push(rest, events);
  } else {
    AppendEvent({.kind = OutputEvent::Kind::kContent, .text = std::move(rest)}, events);
  }
}

uint32_t OutputParser::call_count() const { return tools_ != nullptr ? tools_->call_count() : 0; }

uint32_t OutputParser::failure_count() const {
  return tools_ != nullptr ? tools_->failure_count() : 0;
}

}  // namespace tessera::gateway
