// Methods of strings, dicts and lists.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "services/gateway/template/template_builtins.h"

namespace tessera::gateway {
namespace {

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

absl::StatusOr<std::string_view> StringArgument(const CallArguments& arguments, size_t index,
                                                std::string_view name, std::string_view method) {
  const TemplateValue* value = arguments.Find(index, name);
  if (value == nullptr || !value->is_string()) {
    return Wrong(absl::StrCat(std::string(method), "() needs a string"));
  }
  return std::string_view(value->AsString());
}

// split() and split(separator, maxsplit), as Python has them.
absl::StatusOr<TemplateValue> Split(std::string_view text, const CallArguments& arguments,
                                    bool from_right, RenderBudget& budget) {
  const TemplateValue* separator = arguments.Find(0, "sep");
  const TemplateValue* limit = arguments.Find(1, "maxsplit");
  int64_t left = limit != nullptr && limit->is_integer() ? limit->AsInteger() : -1;
  ValueList parts;
  const auto add = [&](std::string_view part) -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue value, MakeString(std::string(part), budget));
    parts.push_back(std::move(value));
    return absl::OkStatus();
  };
  if (separator == nullptr || separator->is_none()) {
    if (from_right && left >= 0) return Wrong("rsplit() with a limit needs a separator");
    text = StripText(text, nullptr, true, false);
    while (!text.empty() && left-- != 0) {
      size_t end = 0;
      while (end < text.size() &&
             !StripText(text.substr(end, LengthOfLead(text[end])), nullptr, true, false).empty()) {
        end += LengthOfLead(text[end]);
      }
      TESSERA_RETURN_IF_ERROR(add(text.substr(0, end)));
      text = StripText(text.substr(end), nullptr, true, false);
    }
    text = StripText(text, nullptr, false, true);
    if (!text.empty()) TESSERA_RETURN_IF_ERROR(add(text));
    return MakeList(std::move(parts), budget);
  }
  if (!separator->is_string() || separator->AsString().empty()) {
    return Wrong("split() needs a separator that is not empty");
  }
  const std::string& mark = separator->AsString();
  if (from_right) {
    for (size_t at = text.rfind(mark); at != std::string_view::npos && left-- != 0;
         at = text.rfind(mark)) {
      TESSERA_RETURN_IF_ERROR(add(text.substr(at + mark.size())));
      text = text.substr(0, at);
    }
    TESSERA_RETURN_IF_ERROR(add(text));
    std::reverse(parts.begin(), parts.end());
    return MakeList(std::move(parts), budget);
  }
  for (size_t at = text.find(mark); at != std::string_view::npos && left-- != 0;
       at = text.find(mark)) {
    TESSERA_RETURN_IF_ERROR(add(text.substr(0, at)));
    text.remove_prefix(at + mark.size());
  }
  TESSERA_RETURN_IF_ERROR(add(text));
  return MakeList(std::move(parts), budget);
}

absl::StatusOr<bool> StartsOrEnds(std::string_view text, const CallArguments& arguments,
                                  bool starts) {
  const TemplateValue* wanted = arguments.Find(0, "prefix");
  const auto matches = [&](const TemplateValue& v) {
    if (!v.is_string() || v.AsString().size() > text.size()) return false;
    const std::string& part = v.AsString();
    return (starts ? text.substr(0, part.size()) : text.substr(text.size() - part.size())) == part;
  };
  if (wanted != nullptr && wanted->is_string()) return matches(*wanted);
  if (wanted != nullptr && wanted->is_list()) {  // a tuple of them
    return std::any_of(wanted->AsList().begin(), wanted->AsList().end(), matches);
  }
  return Wrong("startswith() and endswith() need a string");
}

absl::StatusOr<TemplateValue> CallStringMethod(const TemplateValue& value, std::string_view name,
                                               const CallArguments& arguments,
                                               RenderBudget& budget) {
  const std::string& text = value.AsString();
  TESSERA_RETURN_IF_ERROR(budget.Step(1 + text.size() / 64));
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    return MakeString(std::string(StripText(text, arguments.Find(0, "chars"), name != "rstrip",
                                            name != "lstrip")),
                      budget);
  }
  if (name == "split" || name == "rsplit") return Split(text, arguments, name == "rsplit", budget);
  if (name == "startswith" || name == "endswith") {
    TESSERA_ASSIGN_OR_RETURN(const bool result,
                             StartsOrEnds(text, arguments, name == "startswith"));
    return TemplateValue::Bool(result);
  }
  if (name == "find" || name == "rfind" || name == "index" || name == "count") {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view part,
                             StringArgument(arguments, 0, "sub", name));
    if (name == "count") {
      int64_t count = 0;
      for (size_t at = text.find(part); !part.empty() && at != std::string::npos;
           at = text.find(part, at + part.size())) {
        ++count;
      }
      return TemplateValue::Integer(count);
    }
    const size_t at = name == "rfind" ? text.rfind(part) : text.find(part);
    if (at == std::string::npos && name == "index") return Wrong("index(): there is no such part");
    return TemplateValue::Integer(
        at == std::string::npos ? -1 : static_cast<int64_t>(CharacterCount(text.substr(0, at))));
  }
  if (name == "isdigit" || name == "isalpha" || name == "isspace" || name == "isalnum") {
    const auto is_one = [&](char c) {
      const auto byte = static_cast<unsigned char>(c);
      if (name == "isdigit") return absl::ascii_isdigit(byte);
      if (name == "isspace") return absl::ascii_isspace(byte);
      return name == "isalpha" ? absl::ascii_isalpha(byte) : absl::ascii_isalnum(byte);
    };
    return TemplateValue::Bool(!text.empty() && std::all_of(text.begin(), text.end(), is_one));
  }
  if (name == "splitlines") {
    std::string plain = text;
    if (!plain.empty() && plain.back() == '\n') plain.pop_back();
    if (text.empty()) return MakeList({}, budget);
    CallArguments newline;
    newline.positional.push_back(TemplateValue::String("\n"));
    return Split(plain, newline, /*from_right=*/false, budget);
  }
  if (name == "join")
    return ApplyFilter("join",
                       arguments.positional.empty() ? TemplateValue() : arguments.positional[0],
                       {{value}, {}}, budget);
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize" ||
      name == "replace") {
    return ApplyFilter(name, value, arguments, budget);
  }
  return Wrong(absl::StrCat("strings have no method '", std::string(name), "'"));
}

absl::StatusOr<TemplateValue> CallDictMethod(const TemplateValue& value, std::string_view name,
                                             const CallArguments& arguments, RenderBudget& budget) {
  const ValueMap& map = value.AsDict();
  TESSERA_RETURN_IF_ERROR(budget.Step(1 + map.members.size() / 16));
  if (name == "get") {
    const TemplateValue* key = arguments.Find(0, "key");
    if (key == nullptr) return Wrong("get() needs a key");
    const TemplateValue* member = map.Find(ToText(*key, 1000));
    if (member != nullptr) return *member;
    const TemplateValue* otherwise = arguments.Find(1, "default");
    return otherwise == nullptr ? TemplateValue::None() : *otherwise;
  }
  if (name == "items" || name == "keys" || name == "values") {
    ValueList list;
    for (const auto& [key, member] : map.members) {
      if (name == "values") {
        list.push_back(member);
        continue;
      }
      TESSERA_ASSIGN_OR_RETURN(TemplateValue text, MakeString(key, budget));
      if (name == "keys") {
        list.push_back(std::move(text));
      } else {
        TESSERA_ASSIGN_OR_RETURN(TemplateValue pair, MakeList({std::move(text), member}, budget));
        list.push_back(std::move(pair));
      }
    }
    return MakeList(std::move(list), budget);
  }
  return Wrong(
      absl::StrCat("dicts have no method '", std::string(name), "' (and they do not change)"));
}

}  // namespace

absl::StatusOr<TemplateValue> CallMethod(const TemplateValue& value, std::string_view name,
                                         const CallArguments& arguments, RenderBudget& budget) {
  if (value.is_undefined()) {
    return Wrong(absl::StrCat("'", std::string(name), "' is called on something undefined"));
  }
  if (value.is_string()) return CallStringMethod(value, name, arguments, budget);
  if (value.is_dict()) return CallDictMethod(value, name, arguments, budget);
  if (value.is_list() && name == "index" && !arguments.positional.empty()) {
    const ValueList& list = value.AsList();
    for (size_t i = 0; i < list.size(); ++i) {
      if (Equal(list[i], arguments.positional[0]))
        return TemplateValue::Integer(static_cast<int64_t>(i));
    }
    return Wrong("index(): there is no such item");
  }
  if (value.is_list() && name == "count" && !arguments.positional.empty()) {
    const ValueList& list = value.AsList();
    return TemplateValue::Integer(
        std::count_if(list.begin(), list.end(),
                      [&](const TemplateValue& v) { return Equal(v, arguments.positional[0]); }));
  }
  return Wrong(absl::StrCat(std::string(value.KindName()), " has no method '", std::string(name),
                            value.is_list() ? "' (and lists do not change)" : "'"));
}

}  // namespace tessera::gateway
