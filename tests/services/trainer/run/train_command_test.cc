// The program itself, on a small model with the demo model's tokenizer.

#include "services/trainer/run/train_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "services/cli/process/child_process.h"
#include "tests/support/temp_folder.h"
#include "tests/support/wait_until.h"

namespace tessera::trainer {
namespace {

using ::testing::HasSubstr;

constexpr const char* kConfig = R"({
  "steps": 100000,
  "model": {"model_type": "afmoe", "vocab_size": 1280, "hidden_size": 16, "num_hidden_layers": 2,
            "num_dense_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
            "head_dim": 8, "intermediate_size": 16, "moe_intermediate_size": 8, "num_experts": 8,
            "num_experts_per_tok": 2, "num_shared_experts": 1, "route_scale": 2.0,
            "rms_norm_eps": 1e-5, "rope_theta": 10000, "sliding_window": 32,
            "global_attn_every_n_layers": 2, "max_position_embeddings": 1024,
            "mup_enabled": true, "score_func": "sigmoid", "hidden_act": "silu"},
  "data": {"tokenizer": "tokenizer.json"},
  "batch": {"rows": 1, "row_tokens": 128, "buffer_documents": 16},
  "output": {"checkpoint_every": 1000000}
})";

class TrainCommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteFile(folder_.File("run.json"), kConfig);
    testing::WriteFile(
        folder_.File("tokenizer.json"),
        testing::ReadFile(TESSERA_SOURCE_DIR "/deploy/models/tessera-demo/tokenizer.json"));
  }
  std::unique_ptr<cli::ChildProcess> Start(const std::string& command,
                                           const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {command};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto child = cli::ChildProcess::Start({TESSERA_TRAIN, arguments, folder_.File("log")});
    EXPECT_TRUE(child.ok()) << child.status();
    return *std::move(child);
  }
  std::unique_ptr<cli::ChildProcess> Train(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--config=" + folder_.File("run.json"),
                                          "--out=" + folder_.File("out"), "--threads=1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Start("train", arguments);
  }
  int ExitCode(const std::unique_ptr<cli::ChildProcess>& child) {
    const auto end = child->Wait(absl::Seconds(60));
    EXPECT_TRUE(end.has_value()) << Log();
    return end && end->signal == 0 ? end->exit_code : -1;
  }
  size_t LoggedLines() const {
    const std::string path = folder_.File("out") + "/steps.csv";
    if (!std::filesystem::exists(path)) return 0;
    const std::string text = testing::ReadFile(path);
    return static_cast<size_t>(std::ranges::count(text, '\n'));
  }
  bool HasState() const {
    return std::filesystem::exists(folder_.File("out") + "/state.safetensors");
  }
  std::string Log() const { return testing::ReadFile(folder_.File("log")); }

  const testing::TempFolder folder_;
};

// Lines are in the file before any checkpoint; a signal brings the checkpoint, and the run goes on
// from it.
TEST_F(TrainCommandTest, ASignalMeansCheckpointAndEnd) {
  auto child = Train({});
  ASSERT_TRUE(testing::WaitUntil([&] { return LoggedLines() > 20; }, absl::Seconds(60))) << Log();
  EXPECT_FALSE(HasState());
  child->Signal(SIGTERM);
  EXPECT_EQ(ExitCode(child), 0);
  EXPECT_THAT(Log(), HasSubstr("stopped as asked"));
  ASSERT_TRUE(HasState());
  const size_t lines = LoggedLines();
  EXPECT_EQ(ExitCode(Train({"--resume", "--stop_after=" + std::to_string(lines + 2)})), 0);
  EXPECT_EQ(LoggedLines(), lines + 3);  // and the line of names
}

TEST_F(TrainCommandTest, AnotherTokenizerIsRefused) {
  ASSERT_EQ(ExitCode(Train({"--stop_after=1"})), 0) << Log();
  std::string tokenizer = testing::ReadFile(folder_.File("tokenizer.json"));
  testing::WriteFile(folder_.File("tokenizer.json"), tokenizer + "\n");
  EXPECT_EQ(ExitCode(Train({"--resume", "--stop_after=2"})), 1);
  EXPECT_THAT(Log(), HasSubstr("was trained on other data: found tokenizer "));
  testing::WriteFile(folder_.File("tokenizer.json"), tokenizer);
  EXPECT_EQ(ExitCode(Train({"--resume", "--stop_after=2"})), 0) << Log();
}

TEST_F(TrainCommandTest, TheSpeedOfARunIsPrintedBesideTheLimit) {
  const std::string config = "--config=" + folder_.File("run.json");
  EXPECT_EQ(ExitCode(Start("bench", {config, "--steps=2", "--threads=1"})), 0);
  EXPECT_THAT(Log(), HasSubstr("1 threads: "));
  EXPECT_THAT(Log(), HasSubstr(" tokens/s, "));
  EXPECT_THAT(Log(), HasSubstr("GFLOP/s that these threads can do in fused multiply-adds"));
  EXPECT_FALSE(std::filesystem::exists(folder_.File("out")));
  EXPECT_EQ(ExitCode(Start("bench", {})), 2);
  EXPECT_THAT(Log(), HasSubstr("bench needs --config=FILE"));
}

TEST_F(TrainCommandTest, TheBalanceOfWhatItWroteIsPrinted) {
  ASSERT_EQ(ExitCode(Train({"--stop_after=1"})), 0) << Log();
  const std::string model = "--model=" + folder_.File("out");
  EXPECT_EQ(ExitCode(Start("balance", {model, "--tokens=17000", "--threads=1"})), 0);
  EXPECT_THAT(Log(), HasSubstr("layer  mean/max"));
  EXPECT_THAT(Log(), HasSubstr("held-out tokens, 1 windows of 16384"));
  const std::string before = Log();
  EXPECT_EQ(ExitCode(Start("balance", {model, "--tokens=17000", "--threads=1", "--new_words"})), 0);
  const std::string table = Log().substr(before.size());
  EXPECT_THAT(table, HasSubstr("held-out tokens, 1 windows of 16384"));
  EXPECT_FALSE(before.ends_with(table));  // other documents
  // Documents of the run's last course.
  std::string run = testing::ReadFile(folder_.File("run.json"));
  run.insert(run.rfind('}'), R"(, "corpus": {"more_frames": true, "compares": true})");
  testing::WriteFile(folder_.File("later.json"), run);
  const std::string config = "--config=" + folder_.File("later.json");
  const size_t before_course = Log().size();
  EXPECT_EQ(ExitCode(Start("balance", {model, config, "--tokens=17000", "--threads=1"})), 0);
  EXPECT_FALSE(before.ends_with(Log().substr(before_course)));
  EXPECT_EQ(ExitCode(Start("balance", {model, "--tokens=100"})), 2);
  EXPECT_EQ(ExitCode(Start("balance", {})), 2);
  EXPECT_THAT(Log(), HasSubstr("balance needs --model=DIR"));
}

}  // namespace
}  // namespace tessera::trainer
