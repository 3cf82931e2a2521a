#pragma once

// A value of a chat template: what Python's templates call undefined, None, bool, int, float, str,
// list, dict.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/json/json.h"

namespace tessera::gateway {

class TemplateValue;
struct MacroNode;

// Arguments of a call: positional ones, then named ones.
struct CallArguments {
  std::vector<TemplateValue> positional;
  std::vector<std::pair<std::string, TemplateValue>> named;

  // Argument `index`, or the one called `name`; null if it was not passed.
  const TemplateValue* Find(size_t index, std::string_view name) const;
};

using ValueList = std::vector<TemplateValue>;
// In the order of insertion. Few members: looked up one by one.
struct ValueMap {
  std::vector<std::pair<std::string, TemplateValue>> members;
  bool is_namespace = false;  // the only thing that `set` may change

  const TemplateValue* Find(std::string_view key) const;
  void Set(std::string_view key, TemplateValue value);
};

// A function of the interpreter: raise_exception, a method bound to its object, loop.cycle.
using NativeFunction = std::function<absl::StatusOr<TemplateValue>(const CallArguments&)>;

// Copying shares strings, lists and dicts, which never change but for namespaces.
// Thread-compatible.
class TemplateValue {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInteger,
    kFloat,
    kString,
    kList,
    kDict,
    kFunction,
    kMacro
  };

  TemplateValue();  // undefined
  // Out of line, all of them: they are large, and the compiler's warnings lose their way in them.
  ~TemplateValue();
  TemplateValue(const TemplateValue&);
  TemplateValue(TemplateValue&&) noexcept;
  TemplateValue& operator=(const TemplateValue&);
  TemplateValue& operator=(TemplateValue&&) noexcept;
  static TemplateValue None();
  static TemplateValue Bool(bool value);
  static TemplateValue Integer(int64_t value);
  static TemplateValue Float(double value);
  static TemplateValue String(std::string value);
  static TemplateValue List(ValueList value);
  static TemplateValue Dict(ValueMap value);
  static TemplateValue Function(NativeFunction value);
  static TemplateValue Macro(const MacroNode* value);
  // Numbers without fraction and exponent are integers if they fit; members keep their order.
  static TemplateValue FromJson(const JsonValue& json);

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool is_undefined() const { return kind() == Kind::kUndefined; }
  bool is_none() const { return kind() == Kind::kNone; }
  bool is_bool() const { return kind() == Kind::kBool; }
  bool is_integer() const { return kind() == Kind::kInteger; }
  bool is_number() const { return kind() == Kind::kInteger || kind() == Kind::kFloat; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_list() const { return kind() == Kind::kList; }
  bool is_dict() const { return kind() == Kind::kDict; }
  bool is_callable() const { return kind() == Kind::kFunction || kind() == Kind::kMacro; }

  // Each only for its kind; AsFloat for both kinds of numbers.
  bool AsBool() const { return std::get<bool>(data_); }
  int64_t AsInteger() const { return std::get<int64_t>(data_); }
  double AsFloat() const;
  const std::string& AsString() const { return *std::get<StringPtr>(data_); }
  const ValueList& AsList() const { return *std::get<ListPtr>(data_); }
  const ValueMap& AsDict() const { return *std::get<DictPtr>(data_); }
  ValueMap& AsNamespace() const { return *std::get<DictPtr>(data_); }
  std::shared_ptr<ValueMap> SharedDict() const { return std::get<DictPtr>(data_); }
  const NativeFunction& AsFunction() const { return *std::get<FunctionPtr>(data_); }
  const MacroNode* AsMacro() const { return std::get<const MacroNode*>(data_); }

  bool Truth() const;  // as `if` sees it
  // Lists and dicts inside each other, itself included; a namespace counts as one.
  int height() const { return height_; }
  std::string_view KindName() const;  // "undefined", "a string"...

 private:
  using StringPtr = std::shared_ptr<const std::string>;
  using ListPtr = std::shared_ptr<const ValueList>;
  using DictPtr = std::shared_ptr<ValueMap>;
  using FunctionPtr = std::shared_ptr<const NativeFunction>;
  struct NoneTag {};

  std::variant<std::monostate, NoneTag, bool, int64_t, double, StringPtr, ListPtr, DictPtr,
               FunctionPtr, const MacroNode*>
      data_;
  int height_ = 0;
};

// Equality as == sees it: 1 == 1.0 == true, lists and dicts by their content.
// After a million parts of them it gives up and says no.
bool Equal(const TemplateValue& a, const TemplateValue& b);
// Negative, zero or positive; nothing if the two cannot be ordered, or as above.
std::optional<int> Compare(const TemplateValue& a, const TemplateValue& b);

// What {{ value }} prints: a string itself, Python's str() of the rest. Stops at `bytes_max` (the
// text is then longer than that).
std::string ToText(const TemplateValue& value, size_t bytes_max);

struct JsonStyle {
  int indent = -1;  // below 0: one line
  bool ascii_only = false;
  bool sort_keys = false;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// Python's json.dumps. kInvalidArgument for what JSON does not have (undefined, functions) and
// below 100 levels.
absl::StatusOr<std::string> ToJson(const TemplateValue& value, const JsonStyle& style,
                                   size_t bytes_max);

}  // namespace tessera::gateway
