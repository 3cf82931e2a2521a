#include "common/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

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

}  // namespace

void StartLogging(bool json) {
  auto logger = std::make_shared<spdlog::logger>("tessera",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  json_lines = json;
  logger->set_pattern(json ? kJsonPattern : kTextPattern);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

LogLine::~LogLine() {
  std::string text = text_.str();
  if (json_lines) {
    const auto quote = [](const std::string& s) {
      return nlohmann::json(s).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    text = "\"message\":" + quote(text) +
           ",\"source\":" + quote(std::string(file_) + ":" + std::to_string(line_));
  }
  spdlog::default_logger_raw()->log(LevelOf(level_),
                                    spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace tessera
