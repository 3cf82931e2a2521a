// What filters, tests and methods share, and the tests.
#include "services/gateway/template/template_builtins.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace tessera::gateway {
namespace {

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

// The text of character `index`, which may count from the end; empty if there is none.
std::string_view CharacterAt(std::string_view text, int64_t index) {
  if (index < 0) index += static_cast<int64_t>(CharacterCount(text));
  if (index < 0) return {};
  for (size_t at = 0; at < text.size(); at += LengthOfLead(text[at])) {
    if (index-- == 0) return text.substr(at, LengthOfLead(text[at]));
  }
  return {};
}

// The tests that look at the kind alone; -1: none of them.
int TestKind(std::string_view name, const TemplateValue& v) {
  if (name == "defined") return !v.is_undefined();
  if (name == "undefined") return v.is_undefined();
  if (name == "none") return v.is_none();
  if (name == "string") return v.is_string();
  if (name == "number") return v.is_number() || v.is_bool();
  if (name == "integer") return v.is_integer();
  if (name == "float") return v.kind() == TemplateValue::Kind::kFloat;
  if (name == "boolean") return v.is_bool();
  if (name == "true") return v.is_bool() && v.AsBool();
  if (name == "false") return v.is_bool() && !v.AsBool();
  if (name == "mapping") return v.is_dict();
  if (name == "sequence") return v.is_list() || v.is_string() || v.is_dict();
  if (name == "iterable") return v.is_list() || v.is_string() || v.is_dict() || v.is_undefined();
  if (name == "callable") return v.is_callable();
  return -1;
}

absl::StatusOr<bool> TestOrder(std::string_view name, const TemplateValue& a,
                               const TemplateValue& b) {
  const std::optional<int> order = Compare(a, b);
  if (!order.has_value()) {
    return Wrong(absl::StrCat(std::string(a.KindName()), " and ", std::string(b.KindName()),
                              " have no order"));
  }
  if (name == "lt" || name == "lessthan" || name == "<") return *order < 0;
  if (name == "le" || name == "<=") return *order <= 0;
  if (name == "gt" || name == "greaterthan" || name == ">") return *order > 0;
  return *order >= 0;
}

absl::StatusOr<bool> TestInteger(std::string_view name, const TemplateValue& value,
                                 const TemplateValue* argument) {
  if (!value.is_integer())
    return Wrong(absl::StrCat("'is ", std::string(name), "' needs an integer"));
  if (name == "even") return value.AsInteger() % 2 == 0;
  if (name == "odd") return value.AsInteger() % 2 != 0;
  if (argument == nullptr || !argument->is_integer() || argument->AsInteger() == 0) {
    return Wrong("'is divisibleby' needs an integer other than 0");
  }
  return argument->AsInteger() == -1 || value.AsInteger() % argument->AsInteger() == 0;
}

}  // namespace

size_t CharacterCount(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

absl::StatusOr<TemplateValue> MakeString(std::string text, RenderBudget& budget) {
  TESSERA_RETURN_IF_ERROR(budget.Make(text.size() + sizeof(std::string)));
  return TemplateValue::String(std::move(text));
}

absl::StatusOr<TemplateValue> MakeList(ValueList list, RenderBudget& budget) {
  TESSERA_RETURN_IF_ERROR(budget.Make((list.size() + 1) * sizeof(TemplateValue)));
  return TemplateValue::List(std::move(list));
}

std::string_view StripText(std::string_view text, const TemplateValue* set, bool left, bool right) {
  const bool by_space = set == nullptr || !set->is_string();
  const auto goes = [&](std::string_view character) {
    if (!by_space) return set->AsString().find(character) != std::string::npos;
    size_t at = 0;
    return IsSpace(NextCodePoint(character, &at));
  };
  while (left && !text.empty()) {
    const size_t length = LengthOfLead(text.front());
    if (!goes(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    const size_t start = PreviousStart(text, text.size());
    if (!goes(text.substr(start))) break;
    text = text.substr(0, start);
  }
  return text;
}

absl::StatusOr<TemplateValue> Attribute(const TemplateValue& value, std::string_view name) {
  if (value.is_undefined()) {
    return Wrong(absl::StrCat("'", std::string(name), "' is asked of something undefined"));
  }
  if (value.is_dict()) {
    const TemplateValue* member = value.AsDict().Find(name);
    return member == nullptr ? TemplateValue() : *member;
  }
  int64_t index = 0;
  if (value.is_list() && absl::SimpleAtoi(std::string(name), &index)) {
    return Element(value, TemplateValue::Integer(index));
  }
  return TemplateValue();
}

absl::StatusOr<TemplateValue> Element(const TemplateValue& value, const TemplateValue& index) {
  if (index.is_string()) return Attribute(value, index.AsString());
  if (value.is_undefined()) return Wrong("an element is asked of something undefined");
  if (value.is_dict()) return Attribute(value, ToText(index, 100));
  if (!index.is_integer()) return TemplateValue();
  int64_t at = index.AsInteger();
  if (value.is_string()) {
    const std::string_view character = CharacterAt(value.AsString(), at);
    return character.empty() ? TemplateValue() : TemplateValue::String(std::string(character));
  }
  if (!value.is_list()) return TemplateValue();
  const auto size = static_cast<int64_t>(value.AsList().size());
  if (at < 0) at += size;
  return at < 0 || at >= size ? TemplateValue() : value.AsList()[static_cast<size_t>(at)];
}

absl::StatusOr<ValueList> Items(const TemplateValue& value, RenderBudget& budget) {
  ValueList items;
  if (value.is_list()) {
    TESSERA_RETURN_IF_ERROR(budget.Make(value.AsList().size() * sizeof(TemplateValue)));
    items = value.AsList();
  } else if (value.is_dict()) {
    for (const auto& [key, member] : value.AsDict().members) {
      TESSERA_ASSIGN_OR_RETURN(TemplateValue name, MakeString(key, budget));
      items.push_back(std::move(name));
    }
  } else if (value.is_string()) {
    const std::string_view text = value.AsString();
    TESSERA_RETURN_IF_ERROR(
        budget.Make(text.size() * (sizeof(TemplateValue) + sizeof(std::string))));
    for (size_t at = 0; at < text.size(); at += LengthOfLead(text[at])) {
      items.push_back(TemplateValue::String(std::string(text.substr(at, LengthOfLead(text[at])))));
    }
  } else if (!value.is_undefined()) {
    return Wrong(absl::StrCat(std::string(value.KindName()), " cannot be run over"));
  }
  return items;
}

absl::StatusOr<bool> Contains(const TemplateValue& container, const TemplateValue& item) {
  if (container.is_undefined()) return false;
  if (container.is_string()) {
    if (!item.is_string()) return Wrong("'in' a string needs a string");
    return container.AsString().find(item.AsString()) != std::string::npos;
  }
  if (container.is_list()) {
    const ValueList& list = container.AsList();
    return std::any_of(list.begin(), list.end(),
                       [&](const TemplateValue& v) { return Equal(v, item); });
  }
  if (container.is_dict()) {
    return item.is_string() && container.AsDict().Find(item.AsString()) != nullptr;
  }
  return Wrong(absl::StrCat("nothing can be in ", std::string(container.KindName())));
}

absl::StatusOr<bool> ApplyTest(std::string_view name, const TemplateValue& value,
                               const CallArguments& arguments) {
  if (const int result = TestKind(name, value); result >= 0) return result != 0;
  const TemplateValue* argument = arguments.Find(0, "other");
  if (name == "even" || name == "odd" || name == "divisibleby") {
    return TestInteger(name, value, argument);
  }
  if (name == "lower" || name == "upper") {
    if (!value.is_string()) return false;
    const bool wants_lower = name == "lower";
    bool has_letter = false;
    for (const char c : value.AsString()) {
      const bool is_lower = c >= 'a' && c <= 'z';
      const bool is_upper = c >= 'A' && c <= 'Z';
      if (wants_lower ? is_upper : is_lower) return false;
      has_letter |= is_lower || is_upper;
    }
    return has_letter;
  }
  constexpr std::string_view kBinary[] = {
      "in", "eq", "equalto", "==", "sameas", "ne", "!=", "lt",         "lessthan",
      "<",  "le", "<=",      "gt", ">",      "ge", ">=", "greaterthan"};
  if (std::find(std::begin(kBinary), std::end(kBinary), name) == std::end(kBinary)) {
    return Wrong(absl::StrCat("the test '", std::string(name), "' is not supported"));
  }
  if (argument == nullptr)
    return Wrong(absl::StrCat("'is ", std::string(name), "' needs something to compare with"));
  if (name == "in") return Contains(*argument, value);
  if (name == "eq" || name == "equalto" || name == "==") return Equal(value, *argument);
  if (name == "sameas") return value.kind() == argument->kind() && Equal(value, *argument);
  if (name == "ne" || name == "!=") return !Equal(value, *argument);
  return TestOrder(name, value, *argument);
}

}  // namespace tessera::gateway
