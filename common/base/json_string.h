#pragma once

// Text as a JSON string, for all who write JSON: logs, config files, replies (common/json has the
// writer of objects and arrays, and the reader).

#include <string>
#include <string_view>

namespace tessera {

// Appends `text` as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD, so the
// result is always valid; nothing but quotes, backslashes and controls is escaped, and U+2028,
// U+2029, which old readers of event streams take for ends of lines.
void AppendJsonString(std::string_view text, std::string& out);

// The same as a string of its own.
std::string JsonQuoted(std::string_view text);

}  // namespace tessera
