#pragma once

// TESSERA_LOG(INFO) << "shard 3 joined, epoch 18";   levels: INFO, WARNING, ERROR.
// A line is for an operator: an event, ids, what we do about it. None per token, no prompt text.

#include <sstream>
#include <string_view>

namespace tessera {

enum class LogLevel { INFO, WARNING, ERROR };

// Once, at the start of main: text lines (for people) or JSON lines (for collectors), on standard
// error. Before this call lines are text.
void StartLogging(bool json);

// One line, made when the object dies. Thread-safe between objects.
class LogLine {
 public:
  LogLine(LogLevel level, const char* file, int line) : level_(level), file_(file), line_(line) {}
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;
  std::ostream& stream() { return text_; }

 private:
  LogLevel level_;
  const char* file_;
  int line_;
  std::ostringstream text_;
};

}  // namespace tessera

#define TESSERA_LOG(level) \
  ::tessera::LogLine(::tessera::LogLevel::level, __FILE__, __LINE__).stream()
