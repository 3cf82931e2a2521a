// The commands that load a checkpoint into their own process, as a shell calls them: exit codes,
// what they print and write, on the checkpoint whose logits the reference computed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/json/json.h"
#include "services/cli/command.h"
#include "tests/support/golden.h"
#include "tests/support/temp_folder.h"

namespace tessera::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr size_t kVocab = 512;  // of afmoe-tiny-f32

class CommandsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<testing::Golden> golden = testing::ReadGolden("afmoe-tiny-f32");
    ASSERT_TRUE(golden.ok()) << golden.status();
    golden_ = *std::move(golden);
    model_ = absl::StrCat("--model=", golden_.model_dir);
  }

  int Run(const std::vector<std::string>& args) {
    const std::vector<std::string_view> views(args.begin(), args.end());
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    const int code = RunCommand(views, {in, out, err});
    out_ = out.str();
    err_ = err.str();
    return code;
  }
  // A refusal: nothing on standard output, and nothing was loaded.
  void ExpectRefused(const std::vector<std::string>& args, const std::string& why) {
    EXPECT_EQ(Run(args), 2) << absl::StrJoin(args, " ");
    EXPECT_EQ(out_, "");
    EXPECT_THAT(err_, AllOf(HasSubstr(why), Not(HasSubstr("loading"))));
  }
  std::vector<std::string> FilesOfFolder() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  testing::Golden golden_;
  std::string model_;
  testing::TempFolder folder_;
  std::string out_;
  std::string err_;
};

TEST_F(CommandsTest, LogitsAreThoseOfTheReference) {
  for (const testing::GoldenPrompt& prompt : {golden_.prompts.front(), golden_.prompts.back()}) {
    const std::string file = folder_.File("logits");
    ASSERT_EQ(Run({"logits", model_, absl::StrCat("--ids=", absl::StrJoin(prompt.ids, ",")),
                   absl::StrCat("--out=", file), "--threads=2"}),
              0)
        << err_;
    EXPECT_EQ(out_, "");
    const std::string bytes = testing::ReadFile(file);
    ASSERT_EQ(bytes.size(), prompt.ids.size() * kVocab * sizeof(float));
    for (size_t row = 0; row < prompt.ids.size(); ++row) {
      ASSERT_EQ(prompt.logits[row].size(), kVocab);
      for (size_t v = 0; v < kVocab; ++v) {
        // Little-endian whatever this machine is.
        uint32_t bits = 0;
        for (size_t byte = 4; byte-- > 0;) {
          bits = bits << 8 | static_cast<uint8_t>(bytes[(row * kVocab + v) * 4 + byte]);
        }
        float value = 0;
        std::memcpy(&value, &bits, sizeof(value));
        ASSERT_NEAR(value, prompt.logits[row][v], 1e-3f) << "row " << row << " token " << v;
      }
    }
  }
  EXPECT_THAT(FilesOfFolder(), ::testing::ElementsAre("logits"));  // nothing beside it
}

TEST_F(CommandsTest, LogitsThatFailLeaveTheFileAsItWas) {
  const std::string file = folder_.File("logits");
  const std::string out = absl::StrCat("--out=", file);
  testing::WriteFile(file, "old");
  // Found out before, while and after the model is read.
  EXPECT_EQ(Run({"logits", "--model=/nowhere/at/all", "--ids=1", out}), 1);
  EXPECT_THAT(err_, AllOf(StartsWith("error: "), HasSubstr("/nowhere/at/all")));
  EXPECT_EQ(Run({"logits", model_, "--ids=1", "--precision=double", out}), 2);
  EXPECT_THAT(err_, HasSubstr("double"));
  EXPECT_EQ(Run({"logits", model_, "--ids=1,512", out}), 2);
  EXPECT_THAT(err_, HasSubstr("512"));
  EXPECT_EQ(testing::ReadFile(file), "old");
  EXPECT_THAT(FilesOfFolder(), ::testing::ElementsAre("logits"));
  // And none is made where there was none.
  std::filesystem::remove(file);
  EXPECT_EQ(Run({"logits", model_, "--ids=1,512", out}), 2);
  EXPECT_THAT(FilesOfFolder(), IsEmpty());
}

TEST_F(CommandsTest, LogitsRefuseWhatTheyCannotRead) {
  const std::string out = absl::StrCat("--out=", folder_.File("logits"));
  ExpectRefused({"logits", model_, "--ids=1"}, "--out=FILE");
  ExpectRefused({"logits", "--ids=1", out}, "--model=DIR");
  ExpectRefused({"logits", model_, out}, "--ids=1,2,3");
  for (const char* ids : {"1,,2", "one", "-1", "1,2,", "99999999999", "1;2"}) {
    ExpectRefused({"logits", model_, absl::StrCat("--ids=", ids), out}, "is not a token id");
  }
  ExpectRefused({"logits", model_, "--ids=1", out, "--heads=3"}, "--heads is unknown");
  ExpectRefused({"logits", model_, "--ids=1", "--out=/nowhere/logits"}, "cannot write");
  ExpectRefused({"logits", model_, "--ids=1", absl::StrCat("--out=", folder_.path())},
                "Is a directory");
  EXPECT_THAT(FilesOfFolder(), IsEmpty());
}

TEST_F(CommandsTest, ThreadsBeyondAnyMachineAreRefused) {
  const std::string out = absl::StrCat("--out=", folder_.File("logits"));
  for (const char* count : {"4097", "1000000", "18446744073709551615"}) {
    const std::string threads = absl::StrCat("--threads=", count);
    ExpectRefused({"logits", model_, "--ids=1", out, threads}, "expected 0..4096");
    ExpectRefused({"bench", model_, threads}, "expected 0..4096");
  }
  ExpectRefused({"bench", model_, "--threads=-1"}, "--threads");
}

TEST_F(CommandsTest, InspectCountsParametersAndBytesByRole) {
  ASSERT_EQ(Run({"inspect", golden_.model_dir}), 0) << err_;
  EXPECT_EQ(err_, "");
  // 6 layers of attention: query, gate and output 64x64, key and value 64x32; 4 of 8 experts and a
  // shared one, each 3 x 64x32; 2 of experts computed for a token, so 6 x 3 x 64x32 x 4 are idle.
  EXPECT_THAT(out_, HasSubstr("d_model 64, 6 layers (2 dense, 4 MoE; 5 sliding with window 8, 1 "
                              "full)"));
  EXPECT_THAT(out_, HasSubstr("425760 total, 278304 active a token"));
  struct Role {
    const char* name;
    size_t numbers;
    size_t tensors;
  };
  const std::vector<Role> roles = {
      {"embeddings", 512 * 64, 1},
      {"head", 512 * 64, 1},
      {"norms", 6 * (4 * 64 + 2 * 16) + 64, 6 * 6 + 1},
      {"attention", 6 * (3 * 64 * 64 + 2 * 64 * 32), 6 * 5},
      {"dense mlp", 2 * 3 * 64 * 96, 2 * 3},
      {"gate", 4 * (64 * 8 + 8), 4 * 2},
      {"shared experts", 4 * 3 * 64 * 32, 4 * 3},
      {"routed experts", 4 * 8 * 3 * 64 * 32, 4 * 8 * 3},
  };
  size_t total = 0;
  for (const Role& role : roles) total += role.numbers;
  EXPECT_EQ(total, 425760u);
  const std::vector<std::string> lines = absl::StrSplit(out_, '\n');
  for (const Role& role : roles) {
    // All are float32, so a role's share of the bytes is that of the numbers.
    const std::string share =
        absl::StrFormat("%.1f %%", 100.0 * static_cast<double>(role.numbers) / 425760.0);
    const std::string end = absl::StrCat(role.numbers, " numbers in ", role.tensors, " tensors");
    EXPECT_THAT(lines, ::testing::Contains(AllOf(StartsWith(absl::StrCat("  ", role.name, " ")),
                                                 HasSubstr(" F32 "), HasSubstr(share),
                                                 ::testing::EndsWith(" " + end))))
        << out_;
  }
}

TEST_F(CommandsTest, InspectSaysWhatItCannotRead) {
  ExpectRefused({"inspect"}, "needs one checkpoint folder");
  ExpectRefused({"inspect", "a", "b"}, "'b' is a word too many");
  EXPECT_EQ(Run({"inspect", folder_.path()}), 1);
  EXPECT_EQ(out_, "");
  EXPECT_THAT(err_, AllOf(StartsWith("error: "), HasSubstr(folder_.File("config.json"))));
}

TEST_F(CommandsTest, BenchPrintsALineOfJsonForEachBatch) {
  // A name that has to be escaped in the right way.
  const std::string model = folder_.File("d'\"été\\x");
  std::filesystem::create_directory_symlink(golden_.model_dir, model);
  ASSERT_EQ(Run({"bench", "--json", absl::StrCat("--model=", model), "--threads=2", "--batch=1,3",
                 "--prompt_tokens=20", "--generate_tokens=4", "--logits=all", "--rounds=2"}),
            0)
      << err_;
  std::vector<std::string> lines = absl::StrSplit(out_, '\n');
  ASSERT_EQ(lines.size(), 3u) << out_;
  EXPECT_EQ(lines.back(), "");
  for (size_t i = 0; i < 2; ++i) {
    const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(lines[i]);
    ASSERT_TRUE(document.ok()) << document.status() << "\n" << lines[i];
    const JsonValue line = document->root();
    const auto text = [&](const char* key) { return std::string(*line.Member(key)->AsString()); };
    const auto whole = [&](const char* key) { return *line.Member(key)->AsUnsigned(); };
    const auto number = [&](const char* key) { return *line.Member(key)->AsNumber(); };
    EXPECT_EQ(text("model"), model);
    EXPECT_EQ(text("dtype"), "f32");
    EXPECT_EQ(text("transport"), "none");
    EXPECT_EQ(text("logits"), "all");
    EXPECT_EQ(*line.Member("strict")->AsBool(), false);
    EXPECT_EQ(whole("threads"), 2u);
    EXPECT_EQ(whole("shards"), 0u);
    EXPECT_EQ(whole("batch"), i == 0 ? 1u : 3u);
    EXPECT_EQ(whole("prompt_tokens"), 20u);
    EXPECT_EQ(whole("generate_tokens"), 4u);
    // Some matrices are padded when they are packed.
    EXPECT_GE(whole("weight_bytes"), 425760u * sizeof(float));
    EXPECT_LE(number("weight_bytes"), 1.02 * 425760 * sizeof(float));
    for (const char* key :
         {"decode_tokens_per_second", "prefill_tokens_per_second", "ms_per_token_p50",
          "ms_per_token_p99", "bytes_read_per_token", "read_bandwidth_bytes_per_second",
          "load_seconds", "time_to_first_token_seconds", "peak_rss_bytes", "resident_bytes",
          "kv_bytes"}) {
      EXPECT_GT(number(key), 0) << key;
    }
    EXPECT_LE(number("ms_per_token_p50"), number("ms_per_token_p99"));
    // A step of one sequence reads what is active but one row of the embedding; three share it.
    const double alone = (278304.0 - 512 * 64) * sizeof(float);
    EXPECT_LE(number("bytes_read_per_token"), (i == 0 ? 1.02 : 0.9) * alone);
    EXPECT_GE(number("bytes_read_per_token"), (i == 0 ? 1.0 : 1.0 / 3) * alone);
    for (const char* word : {"fast ", "dense=f32", "experts=f32", "weights=packed", "cpu="}) {
      EXPECT_THAT(text("kernels"), HasSubstr(word));
    }
  }
}

TEST_F(CommandsTest, BenchPrintsAnOrdinaryLineToo) {
  ASSERT_EQ(Run({"bench", model_, "--threads=1", "--prompt_tokens=5", "--generate_tokens=2",
                 "--rounds=1", "--precision=float32"}),
            0)
      << err_;
  EXPECT_THAT(out_, AllOf(StartsWith("batch 1: prefill 5 (last) "), HasSubstr(" tokens/s; decode "),
                          HasSubstr("float32 dense=f32")));
}

TEST_F(CommandsTest, BenchTakesAsManySequencesAsAStepHasRows) {
  ASSERT_EQ(Run({"bench", "--json", model_, "--threads=2", "--batch=2048", "--prompt_tokens=0",
                 "--generate_tokens=2", "--rounds=1"}),
            0)
      << err_;
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(out_);
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ(*document->root().Member("batch")->AsUnsigned(), 2048u);
  EXPECT_GT(*document->root().Member("decode_tokens_per_second")->AsNumber(), 0);
  EXPECT_EQ(*document->root().Member("prefill_tokens_per_second")->AsNumber(), 0);  // not asked for
}

TEST_F(CommandsTest, BenchRefusesBeforeItLoads) {
  ExpectRefused({"bench"}, "--model=DIR");
  for (const char* batch : {"0", "2049", "1,x", "", "-1"}) {
    ExpectRefused({"bench", model_, absl::StrCat("--batch=", batch)}, "from 1 to 2048");
  }
  ExpectRefused({"bench", model_, "--logits=some"}, "use last or all");
  ExpectRefused({"bench", model_, "--rounds=0"}, "at least 1");
  for (const char* tokens : {"16777217", "4294967296", "18446744073709551615"}) {
    ExpectRefused({"bench", model_, absl::StrCat("--generate_tokens=", tokens)},
                  "--generate_tokens is ");
    ExpectRefused({"bench", model_, absl::StrCat("--prompt_tokens=", tokens)},
                  "--prompt_tokens is ");
  }
  EXPECT_EQ(Run({"bench", "--model=/nowhere/at/all"}), 1);
  EXPECT_THAT(err_, AllOf(StartsWith("error: "), HasSubstr("/nowhere/at/all")));
}

TEST_F(CommandsTest, GenerateRefusesNumbersBeyondTheRequest) {
  ExpectRefused({"generate", "--ids=1", "--max_tokens=4294967296"},
                "--max_tokens is 4294967296, expected 0..4294967295");
  ExpectRefused({"generate", "--ids=1", "--logprobs=4294967297"},
                "--logprobs is 4294967297, expected 0..4294967295");
}

TEST_F(CommandsTest, EveryCommandHasHelpAndUnknownOnesAreRefused) {
  for (const Command& command : Commands()) {
    EXPECT_EQ(Run({std::string(command.name), "--help"}), 0) << command.name;
    EXPECT_THAT(out_ + err_, HasSubstr(absl::StrCat("usage: tessera ", std::string(command.name))));
  }
  ExpectRefused({"benhc"}, "no command 'benhc'");
  ExpectRefused({}, "usage: tessera COMMAND");
}

}  // namespace
}  // namespace tessera::cli
