// Filters of strings, numbers and dicts.
#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "services/gateway/template/template_builtins.h"

namespace tessera::gateway {
namespace {

using Arguments = CallArguments;
using Result = absl::StatusOr<TemplateValue>;

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

bool Flag(const Arguments& arguments, size_t index, std::string_view name, bool otherwise) {
  const TemplateValue* value = arguments.Find(index, name);
  return value == nullptr ? otherwise : value->Truth();
}

Result ToJsonFilter(const TemplateValue& value, const Arguments& arguments, RenderBudget& budget) {
  JsonStyle style;
  const TemplateValue* indent = arguments.Find(0, "indent");
  if (indent != nullptr && indent->is_integer()) {
    if (indent->AsInteger() > 64) return Wrong("tojson: indent is at most 64");
    style.indent = static_cast<int>(std::max<int64_t>(indent->AsInteger(), 0));
    style.item_separator = ",";
  }
  for (const auto& [name, argument] : arguments.named) {
    if (name == "ensure_ascii") {
      style.ascii_only = argument.Truth();
    } else if (name == "sort_keys") {
      style.sort_keys = argument.Truth();
    } else if (name == "separators" && argument.is_list() && argument.AsList().size() == 2) {
      style.item_separator = ToText(argument.AsList()[0], 100);
      style.key_separator = ToText(argument.AsList()[1], 100);
    }
  }
  TESSERA_ASSIGN_OR_RETURN(std::string text, ToJson(value, style, budget.bytes_left()));
  return MakeString(std::move(text), budget);
}

Result Length(const TemplateValue& value) {
  size_t length = 0;
  if (value.is_string()) {
    length = CharacterCount(value.AsString());
  } else if (value.is_list()) {
    length = value.AsList().size();
  } else if (value.is_dict()) {
    length = value.AsDict().members.size();
  } else if (!value.is_undefined()) {
    return Wrong(absl::StrCat(std::string(value.KindName()), " has no length"));
  }
  return TemplateValue::Integer(static_cast<int64_t>(length));
}

// Upper and lower case of ASCII; other letters stay, as templates change case of keywords only.
std::string InCase(std::string_view text, std::string_view name) {
  std::string out;
  bool starts_word = true;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool upper = name == "upper" || (name != "lower" && starts_word);
    out += upper ? absl::ascii_toupper(byte) : absl::ascii_tolower(byte);
    starts_word = name == "title" ? byte < 0x80 && !absl::ascii_isalpha(byte) : false;
  }
  return out;
}

Result Replace(const std::string& text, const Arguments& arguments, RenderBudget& budget) {
  const TemplateValue* old_text = arguments.Find(0, "old");
  const TemplateValue* new_text = arguments.Find(1, "new");
  if (old_text == nullptr || new_text == nullptr || !old_text->is_string() ||
      !new_text->is_string()) {
    return Wrong("replace needs two strings");
  }
  const TemplateValue* limit = arguments.Find(2, "count");
  int64_t left = limit != nullptr && limit->is_integer() ? limit->AsInteger() : -1;
  const std::string& from = old_text->AsString();
  if (from.empty()) return Wrong("replace needs something to look for");
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos && left-- != 0;
       at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += new_text->AsString();
    done = at + from.size();
    if (out.size() > budget.bytes_left()) return Wrong("rendering takes too much memory");
  }
  out.append(text, done);
  return MakeString(std::move(out), budget);
}

Result Indent(const std::string& text, const Arguments& arguments, RenderBudget& budget) {
  const TemplateValue* width = arguments.Find(0, "width");
  std::string margin(4, ' ');
  if (width != nullptr && width->is_string()) {
    margin = width->AsString();
  } else if (width != nullptr && width->is_integer()) {
    margin.assign(static_cast<size_t>(std::clamp<int64_t>(width->AsInteger(), 0, 1000)), ' ');
  }
  const bool first = Flag(arguments, 1, "first", false);
  const bool blank = Flag(arguments, 2, "blank", false);
  std::string out;
  for (size_t at = 0, line = 0; at <= text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view content = std::string_view(text).substr(at, end - at);
    if (line > 0) out += '\n';
    if ((line > 0 || first) && (blank || !content.empty())) out += margin;
    out += content;
    if (out.size() > budget.bytes_left()) return Wrong("rendering takes too much memory");
    at = end + 1;
  }
  return MakeString(std::move(out), budget);
}

Result ToNumber(std::string_view name, const TemplateValue& value, const Arguments& arguments) {
  const TemplateValue* otherwise = arguments.Find(0, "default");
  double number = 0;
  bool is_good = true;
  if (value.is_integer() && name == "int") return value;
  if (value.is_number()) {
    number = value.AsFloat();
  } else if (value.is_bool()) {
    number = value.AsBool() ? 1 : 0;
  } else {
    is_good = value.is_string() && absl::SimpleAtod(value.AsString(), &number);
  }
  if (!is_good && otherwise != nullptr) return *otherwise;
  if (!is_good || !std::isfinite(number)) number = 0;
  if (name == "float") return TemplateValue::Float(number);
  if (std::abs(number) >= 9.2e18) return Wrong("int: the number is too large");
  return TemplateValue::Integer(static_cast<int64_t>(number));
}

Result Round(const TemplateValue& value, const Arguments& arguments) {
  if (!value.is_number()) return Wrong("round needs a number");
  const TemplateValue* precision = arguments.Find(0, "precision");
  const TemplateValue* method = arguments.Find(1, "method");
  const int64_t digits =
      precision != nullptr && precision->is_integer() ? precision->AsInteger() : 0;
  const double scale = std::pow(10.0, static_cast<double>(std::clamp<int64_t>(digits, -15, 15)));
  const double scaled = value.AsFloat() * scale;
  const std::string how = method != nullptr ? ToText(*method, 10) : "common";
  const double rounded = how == "ceil"    ? std::ceil(scaled)
                         : how == "floor" ? std::floor(scaled)
                                          : std::nearbyint(scaled);
  return TemplateValue::Float(rounded / scale);
}

Result StringFilter(std::string_view name, const std::string& text, const Arguments& arguments,
                    RenderBudget& budget, bool* is_known) {
  *is_known = true;
  if (name == "trim") {
    return MakeString(std::string(StripText(text, arguments.Find(0, "chars"), true, true)), budget);
  }
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize") {
    return MakeString(InCase(text, name), budget);
  }
  if (name == "replace") return Replace(text, arguments, budget);
  if (name == "indent") return Indent(text, arguments, budget);
  if (name == "e" || name == "escape") {
    return MakeString(
        absl::StrReplaceAll(
            text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&#34;"}, {"'", "&#39;"}}),
        budget);
  }
  *is_known = false;
  return TemplateValue();
}

}  // namespace

absl::StatusOr<TemplateValue> ApplyFilter(std::string_view name, const TemplateValue& value,
                                          const CallArguments& arguments, RenderBudget& budget) {
  TESSERA_RETURN_IF_ERROR(budget.Step(1 + (value.is_string() ? value.AsString().size() / 64 : 0)));
  if (name == "default" || name == "d") {
    const bool missing =
        value.is_undefined() || (Flag(arguments, 1, "boolean", false) && !value.Truth());
    const TemplateValue* otherwise = arguments.Find(0, "default_value");
    if (!missing) return value;
    return otherwise == nullptr ? TemplateValue::String("") : *otherwise;
  }
  if (name == "tojson") return ToJsonFilter(value, arguments, budget);
  if (name == "length" || name == "count") return Length(value);
  if (name == "int" || name == "float") return ToNumber(name, value, arguments);
  if (name == "round") return Round(value, arguments);
  if (name == "abs") {
    if (value.is_integer()) {
      return TemplateValue::Integer(value.AsInteger() < 0 ? -value.AsInteger() : value.AsInteger());
    }
    if (!value.is_number()) return Wrong("abs needs a number");
    return TemplateValue::Float(std::fabs(value.AsFloat()));
  }
  if (name == "string" || name == "safe") {
    return MakeString(ToText(value, budget.bytes_left()), budget);
  }
  if (name == "items") {
    if (value.is_undefined()) return MakeList({}, budget);
    if (!value.is_dict()) return Wrong("items needs a dict");
    return CallMethod(value, "items", {}, budget);
  }
  bool is_known = false;
  TESSERA_ASSIGN_OR_RETURN(TemplateValue result,
                           ApplyListFilter(name, value, arguments, budget, &is_known));
  if (is_known) return result;
  const std::string text =
      value.is_string() ? value.AsString() : ToText(value, budget.bytes_left());
  TESSERA_ASSIGN_OR_RETURN(result, StringFilter(name, text, arguments, budget, &is_known));
  if (is_known) return result;
  return Wrong(absl::StrCat("the filter '", std::string(name), "' is not supported"));
}

}  // namespace tessera::gateway
