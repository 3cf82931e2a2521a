#pragma once

// Filters, tests and methods of templates. All errors are kInvalidArgument.

#include <string_view>

#include "absl/status/statusor.h"
#include "services/gateway/template/render_budget.h"
#include "services/gateway/template/template_value.h"

namespace tessera::gateway {

// value | name(arguments).
absl::StatusOr<TemplateValue> ApplyFilter(std::string_view name, const TemplateValue& value,
                                          const CallArguments& arguments, RenderBudget& budget);

// The filters that take lists: map, select, join, sort... Same contract; undefined if `name` is
// none of them.
absl::StatusOr<TemplateValue> ApplyListFilter(std::string_view name, const TemplateValue& value,
                                              const CallArguments& arguments, RenderBudget& budget,
                                              bool* is_known);

// value is name(arguments).
absl::StatusOr<bool> ApplyTest(std::string_view name, const TemplateValue& value,
                               const CallArguments& arguments);

// value.name(arguments), of strings, dicts and lists.
absl::StatusOr<TemplateValue> CallMethod(const TemplateValue& value, std::string_view name,
                                         const CallArguments& arguments, RenderBudget& budget);

// value.name or value["name"]; undefined if there is no such thing. Error: the value itself is
// undefined.
absl::StatusOr<TemplateValue> Attribute(const TemplateValue& value, std::string_view name);
// value[index], also with a string.
absl::StatusOr<TemplateValue> Element(const TemplateValue& value, const TemplateValue& index);

// What a loop runs over: items of a list, keys of a dict, characters of a string, nothing of
// undefined.
absl::StatusOr<ValueList> Items(const TemplateValue& value, RenderBudget& budget);
// Whether `item` is in `container`, as `in` sees it.
absl::StatusOr<bool> Contains(const TemplateValue& container, const TemplateValue& item);
// Characters of a string.
size_t CharacterCount(std::string_view text);

// `text` without the characters of `set` at its ends; white space if `set` is null.
std::string_view StripText(std::string_view text, const TemplateValue* set, bool left, bool right);

// A string value, paid for.
absl::StatusOr<TemplateValue> MakeString(std::string text, RenderBudget& budget);
absl::StatusOr<TemplateValue> MakeList(ValueList list, RenderBudget& budget);

}  // namespace tessera::gateway
