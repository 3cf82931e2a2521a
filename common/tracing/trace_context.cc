#include "common/tracing/trace_context.h"

#include <span>

#include "absl/strings/str_cat.h"

namespace tessera {
namespace {

constexpr size_t kTraceparentBytes = 55;

// -1: no digit of lower-case hex.
int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// `text` has two digits for each byte of `out`. False: it has something else.
bool ReadHex(std::string_view text, std::span<uint8_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = DigitOf(text[2 * i]);
    const int low = DigitOf(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

std::string WriteHex(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    text.push_back("0123456789abcdef"[byte >> 4]);
    text.push_back("0123456789abcdef"[byte & 15]);
  }
  return text;
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(std::string_view text) {
  if (text.size() != kTraceparentBytes || !text.starts_with("00-") || text[35] != '-' ||
      text[52] != '-') {
    return std::nullopt;
  }
  TraceContext context;
  std::array<uint8_t, 1> flags{};
  if (!ReadHex(text.substr(3, 32), context.trace) || !ReadHex(text.substr(36, 16), context.span) ||
      !ReadHex(text.substr(53, 2), flags)) {
    return std::nullopt;
  }
  if (context.trace == kNoTrace || context.span == kNoSpan) return std::nullopt;
  context.sampled = (flags[0] & 1) != 0;
  return context;
}

std::string FormatTraceparent(const TraceContext& context) {
  return absl::StrCat("00-", HexOf(context.trace), "-", HexOf(context.span), "-",
                      context.sampled ? "01" : "00");
}

std::string HexOf(const TraceId& id) { return WriteHex(id); }
std::string HexOf(const SpanId& id) { return WriteHex(id); }

}  // namespace tessera
