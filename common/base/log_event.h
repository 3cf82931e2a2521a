#pragma once

// Lines of the log that programs read as well: words, and values with names.

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "common/base/log.h"

namespace tessera {

// What a line says beside its words: a member of the JSON object, name=value behind a text line.
struct LogField {
  const char* name;  // an identifier; not time, level, message, source
  std::variant<std::string, int64_t, double> value;
};

// As TESSERA_LOG, without the place in the code. Thread-safe.
void LogEvent(LogLevel level, const std::string& message, std::span<const LogField> fields);

}  // namespace tessera
