// Filters of lists.
#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/template/template_builtins.h"

namespace tessera::gateway {
namespace {

using Arguments = CallArguments;
using Result = absl::StatusOr<TemplateValue>;

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

// "a.b.0" of a value, step by step.
Result Path(const TemplateValue& value, std::string_view path) {
  TemplateValue at = value;
  while (true) {
    const size_t dot = path.find('.');
    TESSERA_ASSIGN_OR_RETURN(at, Attribute(at, path.substr(0, dot)));
    if (dot == std::string_view::npos) return at;
    path.remove_prefix(dot + 1);
  }
}

// The value by which a list is sorted, grouped or added up.
Result KeyOf(const TemplateValue& item, const TemplateValue* attribute, bool folds_case) {
  TemplateValue key = item;
  if (attribute != nullptr && !attribute->is_none()) {
    TESSERA_ASSIGN_OR_RETURN(key, Path(item, ToText(*attribute, 1000)));
  }
  if (folds_case && key.is_string())
    return TemplateValue::String(absl::AsciiStrToLower(key.AsString()));
  return key;
}

Result Join(const ValueList& items, const Arguments& arguments, RenderBudget& budget) {
  const TemplateValue* separator = arguments.Find(0, "d");
  const std::string mark = separator == nullptr ? "" : ToText(*separator, 10000);
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += mark;
    TESSERA_ASSIGN_OR_RETURN(const TemplateValue item,
                             KeyOf(items[i], arguments.Find(1, "attribute"), false));
    out += ToText(item, budget.bytes_left());
    if (out.size() > budget.bytes_left()) return Wrong("rendering takes too much memory");
  }
  return MakeString(std::move(out), budget);
}

Result Map(const ValueList& items, const Arguments& arguments, RenderBudget& budget) {
  ValueList out;
  const TemplateValue* attribute = arguments.Find(SIZE_MAX, "attribute");
  if (attribute == nullptr &&
      (arguments.positional.empty() || !arguments.positional[0].is_string())) {
    return Wrong("map needs a filter's name or attribute=");
  }
  Arguments rest = arguments;
  if (attribute == nullptr) rest.positional.erase(rest.positional.begin());
  for (const TemplateValue& item : items) {
    TESSERA_RETURN_IF_ERROR(budget.Step());
    TemplateValue mapped;
    if (attribute == nullptr) {
      TESSERA_ASSIGN_OR_RETURN(mapped,
                               ApplyFilter(arguments.positional[0].AsString(), item, rest, budget));
    } else {
      TESSERA_ASSIGN_OR_RETURN(mapped, Path(item, ToText(*attribute, 1000)));
      const TemplateValue* otherwise = arguments.Find(SIZE_MAX, "default");
      if (mapped.is_undefined() && otherwise != nullptr) mapped = *otherwise;
    }
    out.push_back(std::move(mapped));
  }
  return MakeList(std::move(out), budget);
}

// select, reject, selectattr and rejectattr.
Result Select(std::string_view name, const ValueList& items, Arguments arguments,
              RenderBudget& budget) {
  const bool wanted = name.substr(0, 6) == "select";
  std::string attribute;
  if (name.substr(6) == "attr") {
    if (arguments.positional.empty())
      return Wrong(absl::StrCat(std::string(name), " needs an attribute"));
    attribute = ToText(arguments.positional[0], 1000);
    arguments.positional.erase(arguments.positional.begin());
  }
  std::string test;
  if (!arguments.positional.empty()) {
    test = ToText(arguments.positional[0], 1000);
    arguments.positional.erase(arguments.positional.begin());
  }
  ValueList out;
  for (const TemplateValue& item : items) {
    TESSERA_RETURN_IF_ERROR(budget.Step());
    TemplateValue tested = item;
    if (!attribute.empty()) {
      TESSERA_ASSIGN_OR_RETURN(tested, Path(item, attribute));
    }
    bool passes = tested.Truth();
    if (!test.empty()) {
      TESSERA_ASSIGN_OR_RETURN(passes, ApplyTest(test, tested, arguments));
    }
    if (passes == wanted) out.push_back(item);
  }
  return MakeList(std::move(out), budget);
}

// Sorts by keys; an error if two of them have no order.
absl::Status SortByKeys(std::vector<std::pair<TemplateValue, TemplateValue>>* keyed, bool reverse,
                        RenderBudget& budget) {
  TESSERA_RETURN_IF_ERROR(budget.Step(keyed->size() * 16));
  for (size_t i = 1; i < keyed->size(); ++i) {  // before, for sort must not see a half order
    if (!Compare((*keyed)[0].first, (*keyed)[i].first).has_value()) {
      return Wrong("what is sorted must be all numbers or all strings");
    }
  }
  std::stable_sort(keyed->begin(), keyed->end(), [reverse](const auto& a, const auto& b) {
    const int order = Compare(a.first, b.first).value_or(0);
    return reverse ? order > 0 : order < 0;
  });
  return absl::OkStatus();
}

Result Sort(const ValueList& items, const Arguments& arguments, RenderBudget& budget) {
  const TemplateValue* reverse = arguments.Find(0, "reverse");
  const TemplateValue* sensitive = arguments.Find(1, "case_sensitive");
  std::vector<std::pair<TemplateValue, TemplateValue>> keyed;
  for (const TemplateValue& item : items) {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue key, KeyOf(item, arguments.Find(2, "attribute"),
                                                      sensitive == nullptr || !sensitive->Truth()));
    if (key.is_list()) return Wrong("lists cannot be sorted by");
    keyed.emplace_back(std::move(key), item);
  }
  TESSERA_RETURN_IF_ERROR(SortByKeys(&keyed, reverse != nullptr && reverse->Truth(), budget));
  ValueList out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return MakeList(std::move(out), budget);
}

Result DictSort(const TemplateValue& value, const Arguments& arguments, RenderBudget& budget) {
  if (!value.is_dict()) return Wrong("dictsort needs a dict");
  const TemplateValue* sensitive = arguments.Find(0, "case_sensitive");
  const TemplateValue* by = arguments.Find(1, "by");
  const TemplateValue* reverse = arguments.Find(2, "reverse");
  const bool by_value = by != nullptr && by->is_string() && by->AsString() == "value";
  std::vector<std::pair<TemplateValue, TemplateValue>> keyed;
  for (const auto& [name, member] : value.AsDict().members) {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue text, MakeString(name, budget));
    TESSERA_ASSIGN_OR_RETURN(TemplateValue key, KeyOf(by_value ? member : text, nullptr,
                                                      sensitive == nullptr || !sensitive->Truth()));
    TESSERA_ASSIGN_OR_RETURN(TemplateValue pair, MakeList({std::move(text), member}, budget));
    keyed.emplace_back(std::move(key), std::move(pair));
  }
  TESSERA_RETURN_IF_ERROR(SortByKeys(&keyed, reverse != nullptr && reverse->Truth(), budget));
  ValueList out;
  for (auto& [key, pair] : keyed) out.push_back(std::move(pair));
  return MakeList(std::move(out), budget);
}

Result Unique(const ValueList& items, RenderBudget& budget) {
  ValueList out;
  for (const TemplateValue& item : items) {
    TESSERA_RETURN_IF_ERROR(budget.Step(1 + out.size() / 4));
    const bool is_new =
        std::none_of(out.begin(), out.end(), [&](const auto& v) { return Equal(v, item); });
    if (is_new) out.push_back(item);
  }
  return MakeList(std::move(out), budget);
}

// sum, min and max.
Result Fold(std::string_view name, const ValueList& items, const Arguments& arguments) {
  const TemplateValue* attribute = arguments.Find(name == "sum" ? 0 : 1, "attribute");
  TemplateValue folded = name == "sum" ? TemplateValue::Integer(0) : TemplateValue();
  for (const TemplateValue& item : items) {
    TESSERA_ASSIGN_OR_RETURN(const TemplateValue key, KeyOf(item, attribute, false));
    if (name == "sum") {
      if (!key.is_number()) return Wrong("sum needs numbers");
      int64_t sum = 0;
      const bool whole = folded.is_integer() && key.is_integer() &&
                         !__builtin_add_overflow(folded.AsInteger(), key.AsInteger(), &sum);
      folded = whole ? TemplateValue::Integer(sum)
                     : TemplateValue::Float(folded.AsFloat() + key.AsFloat());
      continue;
    }
    if (folded.is_undefined()) {
      folded = key;
      continue;
    }
    const std::optional<int> order = Compare(key, folded);
    if (!order.has_value())
      return Wrong(absl::StrCat(std::string(name), " needs values with an order"));
    if (name == "min" ? *order < 0 : *order > 0) folded = key;
  }
  return folded;
}

}  // namespace

absl::StatusOr<TemplateValue> ApplyListFilter(std::string_view name, const TemplateValue& value,
                                              const CallArguments& arguments, RenderBudget& budget,
                                              bool* is_known) {
  constexpr std::string_view kNames[] = {
      "first",  "last",       "join",       "list",   "map", "reverse", "sort", "select",
      "reject", "selectattr", "rejectattr", "unique", "sum", "min",     "max",  "dictsort"};
  *is_known = std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
  if (!*is_known) return TemplateValue();
  if (name == "dictsort") return DictSort(value, arguments, budget);
  if (name == "reverse" && value.is_string()) {
    TESSERA_ASSIGN_OR_RETURN(ValueList characters, Items(value, budget));
    std::reverse(characters.begin(), characters.end());
    return Join(characters, {}, budget);
  }
  TESSERA_ASSIGN_OR_RETURN(ValueList items, Items(value, budget));
  TESSERA_RETURN_IF_ERROR(budget.Step(1 + items.size() / 8));
  if (name == "first") return items.empty() ? TemplateValue() : items.front();
  if (name == "last") return items.empty() ? TemplateValue() : items.back();
  if (name == "join") return Join(items, arguments, budget);
  if (name == "list") return MakeList(std::move(items), budget);
  if (name == "map") return Map(items, arguments, budget);
  if (name == "sort") return Sort(items, arguments, budget);
  if (name == "unique") return Unique(items, budget);
  if (name == "reverse") {
    std::reverse(items.begin(), items.end());
    return MakeList(std::move(items), budget);
  }
  if (name == "sum" || name == "min" || name == "max") return Fold(name, items, arguments);
  return Select(name, items, arguments, budget);
}

}  // namespace tessera::gateway
