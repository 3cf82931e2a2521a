#include "common/base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/json_string.h"
#include "common/base/log_event.h"

namespace tessera {
namespace {

// spdlog's default logger is the one process-wide thing it keeps; StartLogging replaces it before
// threads start.
constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%e %L %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})";
bool json_lines = false;

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::INFO:
      return spdlog::level::info;
    case LogLevel::WARNING:
      return spdlog::level::warn;
    case LogLevel::ERROR:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

void Write(LogLevel level, const std::string& text) {
  spdlog::default_logger_raw()->log(LevelOf(level),
                                    spdlog::string_view_t(text.data(), text.size()));
}

std::string ValueOf(const LogField& field) {
  if (const auto* text = std::get_if<std::string>(&field.value)) return JsonQuoted(*text);
  if (const auto* number = std::get_if<int64_t>(&field.value)) return absl::StrCat(*number);
  const double number = std::get<double>(field.value);
  return std::isfinite(number) ? absl::StrCat(number) : "null";
}

}  // namespace

absl::Status StartLogging(const LogOptions& options) {
  spdlog::sink_ptr sink;
  try {
    if (options.file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
          options.file, options.file_bytes_max, options.files_max);
    }
  } catch (const spdlog::spdlog_ex& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write the log file ", options.file, ": ", error.what()));
  }
  // What a sink throws while it writes ends in the logger's own error handler: a line on standard
  // error, at most one a second.
  auto logger = std::make_shared<spdlog::logger>("tessera", std::move(sink));
  json_lines = options.json;
  logger->set_pattern(options.json ? kJsonPattern : kTextPattern);
  logger->set_level(LevelOf(options.level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name) {
  if (name == "info") return LogLevel::INFO;
  if (name == "warning") return LogLevel::WARNING;
  if (name == "error") return LogLevel::ERROR;
  return absl::InvalidArgumentError(
      absl::StrCat("log level '", std::string(name), "' is unknown; use info, warning or error"));
}

LogLine::~LogLine() {
  std::string text = text_.str();
  if (json_lines) {
    text = absl::StrCat("\"message\":", JsonQuoted(text),
                        ",\"source\":", JsonQuoted(absl::StrCat(file_, ":", line_)));
  }
  Write(level_, text);
}

void LogEvent(LogLevel level, const std::string& message, std::span<const LogField> fields) {
  std::string text =
      json_lines ? absl::StrCat("\"message\":", JsonQuoted(message)) : std::string(message);
  for (const LogField& field : fields) {
    if (json_lines) {
      absl::StrAppend(&text, ",\"", field.name, "\":", ValueOf(field));
    } else {
      absl::StrAppend(&text, " ", field.name, "=", ValueOf(field));
    }
  }
  Write(level, text);
}

}  // namespace tessera
