#pragma once

// Texts of models with what they mean, for the tests of the parsers and their fuzz tests.

#include <string>
#include <string_view>
#include <vector>

#include "services/gateway/parse/output_parser.h"

namespace tessera::gateway {

// The tools of the cases: f(a: string, b: integer, c: boolean, d: object, e: string or null,
// g: number, h: array, i: one of two words, j: a reference to an integer) and noop().
std::vector<ToolDefinition> CaseTools();

// Events in short: "R(reasoning)", "C(content)", "T0(name)", "A0(arguments)", in order.
std::string Shown(const std::vector<OutputEvent>& events);

struct ParseCase {
  const char* name;
  ToolFormat format;
  const char* text;
  const char* shown;  // of Shown
  uint32_t failures = 0;
};
extern const std::vector<ParseCase> kParseCases;

// Options with the case's tools, and ids call_0, call_1...
OutputParserOptions CaseOptions(ToolFormat format);

// What a parser says about `pieces`, one Push each.
std::string Parse(OutputParserOptions options, const std::vector<std::string_view>& pieces,
                  uint32_t* failures = nullptr);

}  // namespace tessera::gateway
