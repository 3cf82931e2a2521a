#include "services/trainer/trainer_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

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

}  // namespace
}  // namespace tessera::trainer
