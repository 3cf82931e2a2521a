// How values look as text: Python's str() and repr(), and json.dumps.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "services/gateway/template/template_value.h"

namespace tessera::gateway {
namespace {

constexpr int kDepthMax = 100;
using Kind = TemplateValue::Kind;

// repr() of a float: the shortest digits that read back as the same number; "1e+16" from 16 digits
// on.
std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer;
  const auto scientific = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                        std::chars_format::scientific);
  const std::string text(buffer.data(), scientific.ptr);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  if (value != 0 && (exponent < -4 || exponent >= 16)) return text;
  const auto fixed =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
  std::string plain(buffer.data(), fixed.ptr);
  if (plain.find('.') == std::string::npos) plain += ".0";
  return plain;
}

// repr() of a string: single quotes unless only they occur in it.
std::string QuotedText(const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      absl::StrAppend(&out, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      out += c;
    }
  }
  return out += quote;
}

class TextWriter {
 public:
  TextWriter(size_t bytes_max, std::string* out) : bytes_max_(bytes_max), out_(*out) {}

  void Write(const TemplateValue& value, bool quoted, int depth) {
    if (out_.size() > bytes_max_) return;
    if (depth > kDepthMax) {
      out_ += "...";
      return;
    }
    switch (value.kind()) {
      case Kind::kUndefined:
        break;
      case Kind::kNone:
        out_ += "None";
        break;
      case Kind::kBool:
        out_ += value.AsBool() ? "True" : "False";
        break;
      case Kind::kInteger:
        absl::StrAppend(&out_, value.AsInteger());
        break;
      case Kind::kFloat:
        out_ += FloatText(value.AsFloat());
        break;
      case Kind::kString:
        out_ += quoted ? QuotedText(value.AsString()) : value.AsString();
        break;
      case Kind::kList:
        WriteList(value.AsList(), depth);
        break;
      case Kind::kDict:
        WriteDict(value.AsDict(), depth);
        break;
      case Kind::kFunction:
        out_ += "<function>";
        break;
      case Kind::kMacro:
        out_ += "<macro>";
        break;
    }
  }

 private:
  void WriteList(const ValueList& list, int depth) {
    out_ += '[';
    for (size_t i = 0; i < list.size(); ++i) {
      if (i > 0) out_ += ", ";
      Write(list[i], /*quoted=*/true, depth + 1);
    }
    out_ += ']';
  }

  void WriteDict(const ValueMap& map, int depth) {
    out_ += '{';
    bool is_first = true;
    for (const auto& [key, member] : map.members) {
      if (!is_first) out_ += ", ";
      is_first = false;
      out_ += QuotedText(key);
      out_ += ": ";
      Write(member, /*quoted=*/true, depth + 1);
    }
    out_ += '}';
  }

  const size_t bytes_max_;
  std::string& out_;
};

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, size_t bytes_max, std::string* out)
      : style_(style), bytes_max_(bytes_max), out_(*out) {}

  absl::Status Write(const TemplateValue& value, int depth) {
    if (depth > kDepthMax) return absl::InvalidArgumentError("tojson: nested too deeply");
    if (out_.size() > bytes_max_) return absl::InvalidArgumentError("tojson: the text is too long");
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        return absl::OkStatus();
      case Kind::kBool:
        out_ += value.AsBool() ? "true" : "false";
        return absl::OkStatus();
      case Kind::kInteger:
        absl::StrAppend(&out_, value.AsInteger());
        return absl::OkStatus();
      case Kind::kFloat:
        out_ += FloatText(value.AsFloat());
        return absl::OkStatus();
      case Kind::kString:
        WriteString(value.AsString());
        return absl::OkStatus();
      case Kind::kList:
        return WriteList(value.AsList(), depth);
      case Kind::kDict:
        return WriteDict(value.AsDict(), depth);
      default:
        return absl::InvalidArgumentError(
            absl::StrCat("tojson: JSON has no ", std::string(value.KindName())));
    }
  }

 private:
  void NewLine(int depth) {
    if (style_.indent < 0) return;
    out_ += '\n';
    out_.append(static_cast<size_t>(style_.indent) * static_cast<size_t>(depth), ' ');
  }

  absl::Status WriteList(const ValueList& list, int depth) {
    if (list.empty()) {
      out_ += "[]";
      return absl::OkStatus();
    }
    out_ += '[';
    for (size_t i = 0; i < list.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine(depth + 1);
      TESSERA_RETURN_IF_ERROR(Write(list[i], depth + 1));
    }
    NewLine(depth);
    out_ += ']';
    return absl::OkStatus();
  }

  absl::Status WriteDict(const ValueMap& map, int depth) {
    if (map.members.empty()) {
      out_ += "{}";
      return absl::OkStatus();
    }
    std::vector<const std::pair<std::string, TemplateValue>*> members;
    for (const auto& member : map.members) members.push_back(&member);
    if (style_.sort_keys) {
      std::sort(members.begin(), members.end(),
                [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    out_ += '{';
    bool is_first = true;
    for (const auto* member : members) {
      if (!is_first) out_ += style_.item_separator;
      is_first = false;
      NewLine(depth + 1);
      WriteString(member->first);
      out_ += style_.key_separator;
      TESSERA_RETURN_IF_ERROR(Write(member->second, depth + 1));
    }
    NewLine(depth);
    out_ += '}';
    return absl::OkStatus();
  }

  void WriteUnit(uint32_t unit) { absl::StrAppend(&out_, "\\u", absl::Hex(unit, absl::kZeroPad4)); }

  void WriteString(const std::string& text) {
    out_ += '"';
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      const char32_t c = NextCodePoint(text, &at);
      constexpr std::string_view kPlain = "\"\\\b\f\n\r\t";
      constexpr std::string_view kEscapes = "\"\\bfnrt";
      const size_t known = c < 0x80 ? kPlain.find(static_cast<char>(c)) : std::string_view::npos;
      if (known != std::string_view::npos) {
        out_ += '\\';
        out_ += kEscapes[known];
      } else if (c < 0x20 || (style_.ascii_only && c >= 0x7F && c < 0x10000 && c != 0x7F)) {
        WriteUnit(c);
      } else if (style_.ascii_only && c >= 0x10000) {
        WriteUnit(0xD800 + ((c - 0x10000) >> 10));
        WriteUnit(0xDC00 + ((c - 0x10000) & 0x3FF));
      } else {
        out_.append(text, begin, at - begin);
      }
    }
    out_ += '"';
  }

  const JsonStyle& style_;
  const size_t bytes_max_;
  std::string& out_;
};

}  // namespace

std::string ToText(const TemplateValue& value, size_t bytes_max) {
  if (value.is_string()) return value.AsString();
  std::string out;
  TextWriter(bytes_max, &out).Write(value, /*quoted=*/false, 0);
  return out;
}

absl::StatusOr<std::string> ToJson(const TemplateValue& value, const JsonStyle& style,
                                   size_t bytes_max) {
  std::string out;
  TESSERA_RETURN_IF_ERROR(JsonWriter(style, bytes_max, &out).Write(value, 0));
  return out;
}

}  // namespace tessera::gateway
