#include "services/trainer/run/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "services/trainer/run/train_log.h"
#include "tests/services/trainer/run/copying_documents.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

namespace tessera::trainer {
namespace {

TrainConfig SmallConfig() {
  TrainConfig config;
  config.seed = 3;
  config.model = testing::TinySpec();
  config.model.d_model = 32;
  config.model.layer_count = 4;
  config.model.vocab = 24;
  config.packer = {.row_tokens = 96, .buffer_documents = 64, .seed = 3};
  config.phases[0].schedule.steps = 300;
  return config;
}

struct SmallRun {
  explicit SmallRun(const TrainConfig& config, size_t threads = 1)
      : documents(config.model.vocab), pool({.thread_count = threads, .spin_rounds = 0}) {
    auto created = Trainer::Create(config, documents, pool);
    EXPECT_TRUE(created.ok()) << created.status();
    trainer = std::move(*created);
  }
  StepReport Steps(size_t count) {
    StepReport last;
    for (size_t i = 0; i < count; ++i) {
      absl::StatusOr<StepReport> report = trainer->Step();
      EXPECT_TRUE(report.ok()) << report.status();
      last = *report;
    }
    return last;
  }
  std::vector<float> Weights() const {
    const std::span<const float> values = trainer->weights().values;
    return {values.begin(), values.end()};
  }
  std::vector<float> Bias() const {
    const std::span<const float> bias = trainer->weights().expert_bias;
    return {bias.begin(), bias.end()};
  }

  CopyingDocuments documents;
  ThreadPool pool;
  std::unique_ptr<Trainer> trainer;
};

TEST(TrainerTest, LearnsToCopy) {
  SmallRun run(SmallConfig());
  const double before = run.Steps(1).loss;
  EXPECT_GT(before, 2.0);
  const StepReport after = run.Steps(299);
  EXPECT_TRUE(run.trainer->done());
  EXPECT_LT(after.loss, 0.5);
  EXPECT_GT(after.accuracy, 0.8);
}

TEST(TrainerTest, ThreadsChangeNoBit) {
  SmallRun one(SmallConfig(), 1), two(SmallConfig(), 2);
  EXPECT_EQ(one.Steps(5).loss, two.Steps(5).loss);
  EXPECT_EQ(one.Weights(), two.Weights());
  EXPECT_EQ(one.Bias(), two.Bias());
}

TEST(TrainerTest, AResumedRunTakesTheSameSteps) {
  const testing::TempFolder folder;
  const std::string state = folder.File("state.safetensors");
  SmallRun whole(SmallConfig()), first(SmallConfig());
  whole.Steps(8);
  first.Steps(5);
  ASSERT_TRUE(first.trainer->Save(state).ok());
  SmallRun second(SmallConfig());
  ASSERT_TRUE(second.trainer->Restore(state).ok());
  EXPECT_EQ(second.trainer->step(), 5u);
  second.Steps(3);
  EXPECT_EQ(second.Weights(), whole.Weights());
  EXPECT_EQ(second.Bias(), whole.Bias());
}

TEST(TrainerTest, AnInterruptedWriteLeavesTheLastCheckpoint) {
  const testing::TempFolder folder;
  const std::string state = folder.File("state.safetensors");
  SmallRun run(SmallConfig());
  run.Steps(2);
  ASSERT_TRUE(run.trainer->Save(state).ok());
  // What a process that was killed while writing leaves: a part of the next file.
  testing::WriteFile(state + ".part", testing::ReadFile(state).substr(0, 1000));
  SmallRun again(SmallConfig());
  ASSERT_TRUE(again.trainer->Restore(state).ok());
  EXPECT_EQ(again.Weights(), run.Weights());
}

TEST(TrainerTest, DamagedAndForeignCheckpointsAreRefused) {
  const testing::TempFolder folder;
  const std::string state = folder.File("state.safetensors");
  SmallRun run(SmallConfig());
  run.Steps(1);
  ASSERT_TRUE(run.trainer->Save(state).ok());
  TrainConfig other = SmallConfig();
  other.optimizer.muon_rate = 0.01;
  SmallRun foreign(other);
  EXPECT_EQ(foreign.trainer->Restore(state).code(), absl::StatusCode::kFailedPrecondition);
  const std::string bytes = testing::ReadFile(state);
  testing::WriteFile(state, bytes.substr(0, bytes.size() / 2));
  EXPECT_EQ(run.trainer->Restore(state).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(run.trainer->Restore(folder.File("none")).code(), absl::StatusCode::kNotFound);
}

TEST(TrainerTest, ACheckpointOfOtherDataIsRefusedAndOneOfUnknownDataIsNot) {
  const testing::TempFolder folder;
  const std::string state = folder.File("state.safetensors");
  const auto with = [](const std::string& data) {
    TrainConfig config = SmallConfig();
    config.phases[0].data_identity = data;
    return config;
  };
  const auto restore = [&](const std::string& data) {
    return SmallRun(with(data)).trainer->Restore(state);
  };
  const auto save = [&](const std::string& data) {
    SmallRun first(with(data));
    first.Steps(1);
    ASSERT_TRUE(first.trainer->Save(state).ok());
  };
  save("tokenizer 1, corpus 2");
  EXPECT_TRUE(restore("tokenizer 1, corpus 2").ok());
  EXPECT_TRUE(restore("").ok());
  const absl::Status status = restore("tokenizer 1, corpus 3");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("found tokenizer 1, corpus 2; expected tokenizer 1, corpus 3"),
            std::string::npos)
      << status;
  save("");
  EXPECT_EQ(testing::ReadFile(state).find("\"data\""), std::string::npos);
  EXPECT_TRUE(restore("tokenizer 1, corpus 3").ok());
}

// The documents prefer some experts; the bias must even that out.
TEST(TrainerTest, SmebuEvensTheLoad) {
  const auto mean_load = [](BalanceMethod method) {
    TrainConfig config = SmallConfig();
    config.balance.method = method;
    config.phases[0].schedule.steps = 90;
    SmallRun run(config);
    double sum = 0;
    run.Steps(60);
    for (size_t i = 0; i < 30; ++i) {
      for (const LoadFigures& layer : run.Steps(1).load) sum += layer.mean_over_max;
    }
    return sum / (30.0 * static_cast<double>(config.model.moe_layer_count()));
  };
  const double smebu = mean_load(BalanceMethod::kSmebu), none = mean_load(BalanceMethod::kNone);
  EXPECT_GT(smebu, none + 0.1);
  EXPECT_GT(smebu, 0.6);
}

TrainConfig ThreePhases() {
  TrainConfig config = SmallConfig();
  config.experts = ExpertFormat::kFp8;
  config.batch_rows = 4;
  config.packer.row_tokens = 1100;  // four steps are a load window, three are not
  config.packer.buffer_documents = 600;
  config.phases.resize(3);
  config.phases[0].schedule.steps = 4;
  config.phases[1] = {.schedule = {.steps = 3, .warmup = 0, .decay = 1}, .rate = 0.5};
  config.phases[2] = {.schedule = {.steps = 9, .warmup = 0, .decay = 1},
                      .settles = true,
                      .balance_rate = 0.1,
                      .balance_rate_end = 0};
  return config;
}

TEST(TrainerTest, EachPhaseHasItsRatesAndItsDocuments) {
  SmallRun run(ThreePhases());
  EXPECT_DOUBLE_EQ(run.Steps(4).rate_scale, 0.625);  // 1 / 1.6: the schedule of 4 steps alone
  EXPECT_DOUBLE_EQ(run.Steps(1).rate_scale, 0.5);
  EXPECT_DOUBLE_EQ(run.Steps(2).rate_scale, 0.5 / 3);
  EXPECT_GE(run.documents.largest(), FirstDocument(1));
  EXPECT_LT(run.documents.largest(), FirstDocument(2));
  EXPECT_DOUBLE_EQ(run.Steps(1).rate_scale, 0);
  EXPECT_GE(run.documents.largest(), FirstDocument(2));
  run.Steps(8);
  EXPECT_TRUE(run.trainer->done());
}

// While it settles the weights are what is read back from the files, and only the biases move, at
// the end of each load window.
TEST(TrainerTest, SettlingMovesBiasesOfTheModelAsItIsWritten) {
  SmallRun run(ThreePhases());
  run.Steps(7);
  const std::vector<float> trained = run.Weights();
  const std::vector<float> bias = run.Bias();
  EXPECT_GT(run.Steps(1).loss, 0);
  const std::vector<float> rounded = run.Weights();
  EXPECT_NE(rounded, trained);
  EXPECT_EQ(run.Bias(), bias);  // a quarter of a window
  run.Steps(2);
  EXPECT_EQ(run.Bias(), bias);
  EXPECT_FALSE(run.Steps(1).window_load.empty());
  EXPECT_NE(run.Bias(), bias);
  run.Steps(5);
  EXPECT_EQ(run.Weights(), rounded);
  const testing::TempFolder folder;
  const Trainer& trainer = *run.trainer;
  ASSERT_TRUE(
      WriteModel(folder.path(), trainer.layout(), trainer.weights(), ExpertFormat::kFp8).ok());
  std::vector<float> read(trainer.layout().size), read_bias(run.Bias().size());
  ASSERT_TRUE(ReadModel(folder.path(), trainer.layout(), read, read_bias).ok());
  EXPECT_EQ(read_bias, run.Bias());
  for (size_t i = 0; i < read.size(); ++i) {
    ASSERT_FLOAT_EQ(read[i], rounded[i]) << i;  // a scale may end in another last bit
  }
}

TEST(TrainerTest, PhasesAddedToAFinishedRunAreThoseOfALongerRun) {
  const testing::TempFolder folder;
  const std::string state = folder.File("state.safetensors");
  TrainConfig first_phase = ThreePhases();
  first_phase.phases.resize(1);
  SmallRun finished(first_phase), whole(ThreePhases());
  finished.Steps(4);
  ASSERT_TRUE(finished.trainer->done());
  ASSERT_TRUE(finished.trainer->Save(state).ok());
  SmallRun longer(ThreePhases());
  ASSERT_TRUE(longer.trainer->Restore(state).ok());
  longer.Steps(6);  // stops in the middle of what settles, and of a load window
  ASSERT_TRUE(longer.trainer->Save(state).ok());
  SmallRun last(ThreePhases());
  ASSERT_TRUE(last.trainer->Restore(state).ok());
  last.Steps(6);
  whole.Steps(16);
  EXPECT_EQ(last.Weights(), whole.Weights());
  EXPECT_EQ(last.Bias(), whole.Bias());
  // The finished run itself ends there.
  EXPECT_EQ(finished.trainer->Restore(state).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(TrainerTest, ABufferTooSmallForABatchIsNamed) {
  TrainConfig config = SmallConfig();
  config.packer.buffer_documents = 2;
  SmallRun run(config);
  const absl::Status status = run.trainer->Step().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("buffer_documents"), std::string::npos) << status;
}

TEST(StepLogTest, ResumingDropsLaterLines) {
  const testing::TempFolder folder;
  const std::string path = folder.File("steps.csv");
  const TrainConfig config = SmallConfig();
  const auto report = [&](uint64_t step, double loss) {
    return StepReport{.step = step,
                      .tokens = 10,
                      .loss = loss,
                      .load = std::vector<LoadFigures>(config.model.moe_layer_count())};
  };
  {
    absl::StatusOr<StepLog> log = StepLog::Open(path, config.model, 0);
    ASSERT_TRUE(log.ok()) << log.status();
    for (uint64_t step = 1; step <= 5; ++step) log->Add(report(step, 1.0), absl::Seconds(1));
    ASSERT_TRUE(log->Flush().ok());
  }
  absl::StatusOr<StepLog> log = StepLog::Open(path, config.model, 3);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->tokens(), 30u);
  log->Add(report(4, 2.0), absl::Seconds(1));
  ASSERT_TRUE(log->Flush().ok());
  const std::string text = testing::ReadFile(path);
  EXPECT_EQ(std::ranges::count(text, '\n'), 5);
  EXPECT_NE(text.find("\n4,40,2.000000,"), std::string::npos) << text;
}

TEST(ProgressLineTest, ShowsSpeedAndTimeLeft) {
  std::ostringstream out;
  FakeClock clock;
  ProgressLine line(out, /*is_terminal=*/false, clock, 10, 30);
  clock.Advance(absl::Seconds(20));
  line.Show({.step = 20, .tokens = 4000, .loss = 0.5});
  EXPECT_NE(out.str().find("step 20/30  loss 0.5000  200 tokens/s"), std::string::npos)
      << out.str();
  EXPECT_NE(out.str().find("left 20s"), std::string::npos) << out.str();
}

}  // namespace
}  // namespace tessera::trainer
