#include "services/trainer/trainer_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

namespace tessera::trainer {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string OutputOf(const std::vector<std::string_view>& args) {
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(RunTrainerCommand(args, {in, out, err}), 0) << err.str();
  return out.str();
}

// The words in the lines of the list that the program prints.
std::vector<std::string> CommandsOf(const std::string& list) {
  std::vector<std::string> commands;
  std::istringstream lines(list);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("  ")) commands.push_back(line.substr(2, line.find(' ', 2) - 2));
  }
  return commands;
}

TEST(TrainerCommandsTest, HelpSaysHowThisProgramIsCalled) {
  const std::vector<std::string> commands = CommandsOf(OutputOf({"--help"}));
  EXPECT_THAT(commands, SizeIs(6));
  for (const std::string& command : commands) {
    EXPECT_THAT(OutputOf({command, "--help"}), StartsWith("usage: tessera-train " + command));
  }
}

TEST(TrainerCommandsTest, AWordThatIsNoCommand) {
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  const std::vector<std::string_view> args = {"trian"};
  EXPECT_EQ(RunTrainerCommand(args, {in, out, err}), 2);
  EXPECT_THAT(err.str(), HasSubstr("tessera-train has no command 'trian'"));
}

TEST(TrainerCommandsTest, TokenizerMakesItsFolderOrSaysWhyNot) {
  const testing::TempFolder folder;
  const std::string out = "--out=" + folder.File("new/run");
  EXPECT_THAT(OutputOf({"tokenizer", "--conversations=20", out}), HasSubstr("merges from 20"));
  EXPECT_TRUE(std::filesystem::exists(folder.File("new/run/tokenizer.json")));

  std::istringstream in;
  std::ostringstream printed;
  std::ostringstream err;
  const std::string below_a_file = out + "/tokenizer.json/deeper";
  const std::vector<std::string_view> args = {"tokenizer", "--conversations=20", below_a_file};
  EXPECT_EQ(RunTrainerCommand(args, {in, printed, err}), 2);
  EXPECT_THAT(err.str(), HasSubstr("Not a directory"));
}

}  // namespace
}  // namespace tessera::trainer
