#pragma once

// TESSERA_LOG(INFO) << "shard 3 joined, epoch 18";   levels: INFO, WARNING, ERROR.
// A line is for an operator: an event, ids, what we do about it. None per token, no prompt text.

#include <cstddef>
#include <sstream>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera {

enum class LogLevel { INFO, WARNING, ERROR };

struct LogOptions {
  std::string file;                 // empty: standard error
  LogLevel level = LogLevel::INFO;  // lines below it are dropped
  bool json = false;  // one JSON object a line (for collectors), else text (for people)
  size_t file_bytes_max = size_t{16} << 20;  // then FILE is renamed FILE.1 and begun anew; > 0
  size_t files_max = 4;                      // renamed files that are kept
};

// Once, at the start of main, before threads. Before this call lines are text on standard error.
// A line that cannot be written (the disk is full) is lost, and said so on standard error at most
// once a second; nobody waits. kInvalidArgument: the file cannot be opened.
absl::Status StartLogging(const LogOptions& options);
// "info", "warning", "error"; kInvalidArgument for another name.
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name);

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
