// Our side of differential.mjs:
//   text_differential tokenize ARGS...                 what `tessera tokenize ARGS...` does
//   text_differential bench TOKENIZER FILE [ROUNDS]    encode speed of FILE, line by line, on one
//   thread
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/text/tokenizer.h"
#include "services/cli/tokenize_command.h"

namespace {

int RunBench(const std::string& tokenizer_path, const std::string& text_path, int rounds) {
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
  const tessera::RealClock clock;
  std::vector<double> rates;
  size_t ids = 0;
  for (int round = 0; round < rounds; ++round) {
    const absl::Duration begin = clock.Elapsed();
    ids = 0;
    for (const std::string& text : texts) {
      ids += (*tokenizer)->Encode(text, {.add_special_tokens = false})->size();
    }
    rates.push_back(static_cast<double>(bytes) / 1e6 /
                    absl::ToDoubleSeconds(clock.Elapsed() - begin));
  }
  std::sort(rates.begin(), rates.end());
  std::cout << texts.size() << " texts, " << bytes << " bytes, " << ids << " ids: median "
            << rates[rates.size() / 2] << " MB/s, best " << rates.back() << " MB/s of " << rounds
            << " rounds\n";
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  if (!args.empty() && args.front() == "tokenize") {
    std::ios::sync_with_stdio(false);
    return tessera::cli::RunTokenize(std::span(args).subspan(1), std::cin, std::cout, std::cerr);
  }
  if (args.size() >= 3 && args.front() == "bench") {
    return RunBench(argv[2], argv[3], args.size() > 3 ? std::atoi(argv[4]) : 5);
  }
  std::cerr << "usage: text_differential tokenize ARGS... | bench TOKENIZER FILE [ROUNDS]\n";
  return 2;
}
