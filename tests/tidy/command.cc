#include "tests/tidy/command.h"

#include <sys/wait.h>

#include <cstdio>

#include "common/base/check.h"

namespace tessera::tidy {

CommandResult RunCommand(const std::string& command) {
  CommandResult result;
  FILE* pipe = popen(("{ " + command + "; } 2>&1").c_str(), "r");
  TESSERA_CHECK(pipe != nullptr);
  char buffer[4096];
  while (const size_t size = fread(buffer, 1, sizeof(buffer), pipe))
    result.output.append(buffer, size);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

}  // namespace tessera::tidy
