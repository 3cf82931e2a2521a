// Requests to a router that listens elsewhere, for netns_test.sh:
//
//   cluster_traffic ROUTER_ADDRESS TOKENS_PER_REQUEST TOKENS_FILE UNDER_WAY_FILE
//
// Makes UNDER_WAY_FILE when every request has a tenth of its tokens, writes all tokens to
// TOKENS_FILE, prints the longest gap in milliseconds. Exit code 1: a request failed.

#include <cstdio>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/support/generation_traffic.h"
#include "tests/support/golden.h"
#include "tests/support/temp_folder.h"

int main(int argc, char** argv) {
  using tessera::testing::GenerationTraffic;
  uint32_t tokens = 0;
  if (argc != 5 || !absl::SimpleAtoi(argv[2], &tokens)) {
    std::fprintf(stderr, "usage: cluster_traffic ROUTER TOKENS TOKENS_FILE UNDER_WAY_FILE\n");
    return 2;
  }
  const auto golden = tessera::testing::ReadGolden("afmoe-tiny-f32");
  if (!golden.ok()) {
    std::fprintf(stderr, "%s\n", golden.status().ToString().c_str());
    return 2;
  }
  tessera::testing::TrafficConfig config{.router_address = argv[1], .prompts = {}};
  config.tokens = tokens;
  for (const auto& prompt : golden->prompts) config.prompts.push_back(prompt.ids);
  GenerationTraffic traffic(config);
  traffic.AwaitTokens(tokens / 10);
  tessera::testing::WriteFile(argv[4], "");
  if (const absl::Status status = traffic.AwaitEnd(); !status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  std::string text;
  for (const auto& produced : traffic.tokens()) {
    absl::StrAppend(&text, absl::StrJoin(produced, ","), "\n");
  }
  tessera::testing::WriteFile(argv[3], text);
  std::printf("%.0f\n", absl::ToDoubleMilliseconds(traffic.longest_gap()));
  return 0;
}
