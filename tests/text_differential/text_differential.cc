// Our side of differential.mjs and template_differential.mjs:
//   text_differential render                           renders chat templates, line by line
//   text_differential tokenize ARGS...                 what `tessera tokenize ARGS...` does
//   text_differential bench TOKENIZER FILE             encode speed of FILE's texts, separated by
//                                                      NUL, on one thread, in megabytes a second:
//                                                      {"first": of the first round, "median": N}
#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/tokenizer.h"
#include "services/cli/tokenize_command.h"
#include "services/gateway/template/chat_template.h"

namespace {

int RunBench(const std::string& tokenizer_path, const std::string& text_path) {
  constexpr int kRounds = 5;
  const auto tokenizer = tessera::Tokenizer::Load(tokenizer_path);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << '\n';
    return EXIT_FAILURE;
  }
  std::ifstream file(text_path, std::ios::binary);
  std::vector<std::string> texts;
  size_t bytes = 0;
  for (std::string line; std::getline(file, line, '\0');) {
    bytes += line.size();
    texts.push_back(std::move(line));
  }
  std::vector<double> rates;
  for (int round = 0; round < kRounds; ++round) {
    // Processor time: other programs on the machine do not count.
    const std::clock_t begin = std::clock();
    for (const std::string& text : texts) {
      if (!(*tokenizer)->Encode(text, {.add_special_tokens = false}).ok()) return EXIT_FAILURE;
    }
    rates.push_back(static_cast<double>(bytes) / 1e6 * CLOCKS_PER_SEC /
                    static_cast<double>(std::clock() - begin));
  }
  const double first = rates.front();
  std::sort(rates.begin(), rates.end());
  std::cout << "{\"first\": " << first << ", \"median\": " << rates[kRounds / 2] << "}\n";
  return EXIT_SUCCESS;
}

// {"template": "...", "variables": {...}} a line -> {"text": "..."} or {"error": "..."} a line.
int RunRender() {
  using tessera::gateway::TemplateValue;
  for (std::string line; std::getline(std::cin, line, '\n');) {
    const auto document = tessera::JsonDocument::Parse(line);
    if (!document.ok()) {
      std::cerr << document.status().message() << '\n';
      return EXIT_FAILURE;
    }
    const TemplateValue request = TemplateValue::FromJson(document->root());
    const TemplateValue* source = request.AsDict().Find("template");
    const TemplateValue* variables = request.AsDict().Find("variables");
    const auto parsed = tessera::gateway::ChatTemplate::Parse(source->AsString());
    const auto text = parsed.ok() ? (*parsed)->Render(variables->AsDict(), absl::UnixEpoch())
                                  : absl::StatusOr<std::string>(parsed.status());
    tessera::gateway::ValueMap answer;
    answer.Set(text.ok() ? "text" : "error",
               TemplateValue::String(text.ok() ? *text : std::string(text.status().message())));
    std::cout << *ToJson(TemplateValue::Dict(std::move(answer)), {}, size_t{1} << 30) << '\n';
  }
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  if (!args.empty() && args.front() == "tokenize") {
    std::ios::sync_with_stdio(false);
    return tessera::cli::RunTokenize(std::span(args).subspan(1), std::cin, std::cout, std::cerr);
  }
  if (args.size() == 3 && args.front() == "bench") return RunBench(argv[2], argv[3]);
  if (!args.empty() && args.front() == "render") return RunRender();
  std::cerr << "usage: text_differential tokenize ARGS... | bench TOKENIZER FILE | render\n";
  return 2;
}
