#include "services/gateway/template/template_value.h"

#include <algorithm>
#include <cmath>

namespace tessera::gateway {
namespace {

constexpr int kDepthMax = 100;

}  // namespace

const TemplateValue* CallArguments::Find(size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return nullptr;
}

const TemplateValue* ValueMap::Find(std::string_view key) const {
  for (const auto& [name, value] : members) {
    if (name == key) return &value;
  }
  return nullptr;
}

void ValueMap::Set(std::string_view key, TemplateValue value) {
  for (auto& [name, old] : members) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  members.emplace_back(key, std::move(value));
}

TemplateValue::TemplateValue() = default;
TemplateValue::~TemplateValue() = default;
TemplateValue::TemplateValue(const TemplateValue&) = default;
TemplateValue::TemplateValue(TemplateValue&&) noexcept = default;
TemplateValue& TemplateValue::operator=(const TemplateValue&) = default;
TemplateValue& TemplateValue::operator=(TemplateValue&&) noexcept = default;

TemplateValue TemplateValue::None() {
  TemplateValue v;
  v.data_ = NoneTag();
  return v;
}
TemplateValue TemplateValue::Bool(bool value) {
  TemplateValue v;
  v.data_ = value;
  return v;
}
TemplateValue TemplateValue::Integer(int64_t value) {
  TemplateValue v;
  v.data_ = value;
  return v;
}
TemplateValue TemplateValue::Float(double value) {
  TemplateValue v;
  v.data_ = value;
  return v;
}
TemplateValue TemplateValue::String(std::string value) {
  TemplateValue v;
  v.data_ = std::make_shared<const std::string>(std::move(value));
  return v;
}
TemplateValue TemplateValue::List(ValueList value) {
  TemplateValue v;
  for (const TemplateValue& item : value) v.height_ = std::max(v.height_, item.height_);
  ++v.height_;
  v.data_ = std::make_shared<const ValueList>(std::move(value));
  return v;
}
TemplateValue TemplateValue::Dict(ValueMap value) {
  TemplateValue v;
  if (!value.is_namespace) {
    for (const auto& [name, member] : value.members)
      v.height_ = std::max(v.height_, member.height_);
  }
  ++v.height_;
  v.data_ = std::make_shared<ValueMap>(std::move(value));
  return v;
}
TemplateValue TemplateValue::Function(NativeFunction value) {
  TemplateValue v;
  v.data_ = std::make_shared<const NativeFunction>(std::move(value));
  return v;
}
TemplateValue TemplateValue::Macro(const MacroNode* value) {
  TemplateValue v;
  v.data_ = value;
  return v;
}

TemplateValue TemplateValue::FromJson(const JsonValue& json) {
  switch (json.kind()) {
    case JsonKind::kNull:
      return None();
    case JsonKind::kBool:
      return Bool(*json.AsBool());
    case JsonKind::kNumber: {
      const absl::StatusOr<int64_t> integer = json.AsInteger();
      if (json.is_integer() && integer.ok()) return Integer(*integer);
      return Float(*json.AsNumber());
    }
    case JsonKind::kString:
      return String(std::string(*json.AsString()));
    case JsonKind::kArray: {
      ValueList list;
      list.reserve(json.size());
      for (const JsonValue element : json.elements()) list.push_back(FromJson(element));
      return List(std::move(list));
    }
    case JsonKind::kObject: {
      ValueMap map;
      map.members.reserve(json.size());
      for (const auto [key, member] : json.members()) {
        map.members.emplace_back(key, FromJson(member));
      }
      return Dict(std::move(map));
    }
  }
  return None();
}

double TemplateValue::AsFloat() const {
  return is_integer() ? static_cast<double>(AsInteger()) : std::get<double>(data_);
}

bool TemplateValue::Truth() const {
  switch (kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return AsBool();
    case Kind::kInteger:
      return AsInteger() != 0;
    case Kind::kFloat:
      return AsFloat() != 0;
    case Kind::kString:
      return !AsString().empty();
    case Kind::kList:
      return !AsList().empty();
    case Kind::kDict:
      return AsDict().is_namespace || !AsDict().members.empty();
    case Kind::kFunction:
    case Kind::kMacro:
      return true;
  }
  return false;
}

std::string_view TemplateValue::KindName() const {
  constexpr std::string_view kNames[] = {"undefined",  "none",     "a boolean", "an integer",
                                         "a float",    "a string", "a list",    "a dict",
                                         "a function", "a macro"};
  return kNames[data_.index()];
}

namespace {

// Booleans count as numbers, as in Python.
std::optional<double> NumberOf(const TemplateValue& v) {
  if (v.is_bool()) return v.AsBool() ? 1.0 : 0.0;
  if (v.is_number()) return v.AsFloat();
  return std::nullopt;
}

}  // namespace

namespace {

// Values can share parts, so that walking them takes more steps than they have parts.
class Comparer {
 public:
  bool Equal(const TemplateValue& a, const TemplateValue& b, int depth) {
    if (depth > kDepthMax || ++steps_ > kStepsMax) return false;
    if (a.is_integer() && b.is_integer()) return a.AsInteger() == b.AsInteger();
    const std::optional<double> x = NumberOf(a);
    const std::optional<double> y = NumberOf(b);
    if (x.has_value() || y.has_value()) return x == y;
    if (a.kind() != b.kind()) return false;
    switch (a.kind()) {
      case TemplateValue::Kind::kString:
        return a.AsString() == b.AsString();
      case TemplateValue::Kind::kList:
        return std::equal(a.AsList().begin(), a.AsList().end(), b.AsList().begin(),
                          b.AsList().end(),
                          [&](const auto& p, const auto& q) { return Equal(p, q, depth + 1); });
      case TemplateValue::Kind::kDict:
        return EqualDicts(a.AsDict(), b.AsDict(), depth);
      case TemplateValue::Kind::kMacro:
        return a.AsMacro() == b.AsMacro();
      case TemplateValue::Kind::kFunction:
        return &a.AsFunction() == &b.AsFunction();
      default:
        return true;  // undefined, none
    }
  }

  std::optional<int> Compare(const TemplateValue& a, const TemplateValue& b, int depth) {
    const auto order = [](const auto& p, const auto& q) { return p < q ? -1 : q < p ? 1 : 0; };
    if (depth > kDepthMax || ++steps_ > kStepsMax) return std::nullopt;
    if (a.is_integer() && b.is_integer()) return order(a.AsInteger(), b.AsInteger());
    const std::optional<double> x = NumberOf(a);
    const std::optional<double> y = NumberOf(b);
    if (x.has_value() && y.has_value()) return order(*x, *y);
    if (a.is_string() && b.is_string()) return order(a.AsString(), b.AsString());
    if (!a.is_list() || !b.is_list()) return std::nullopt;
    const size_t both = std::min(a.AsList().size(), b.AsList().size());
    for (size_t i = 0; i < both; ++i) {
      const std::optional<int> item = Compare(a.AsList()[i], b.AsList()[i], depth + 1);
      if (!item.has_value() || *item != 0) return item;
    }
    return order(a.AsList().size(), b.AsList().size());
  }

 private:
  static constexpr size_t kStepsMax = 1'000'000;

  bool EqualDicts(const ValueMap& p, const ValueMap& q, int depth) {
    return p.members.size() == q.members.size() &&
           std::all_of(p.members.begin(), p.members.end(), [&](const auto& member) {
             const TemplateValue* other = q.Find(member.first);
             return other != nullptr && Equal(member.second, *other, depth + 1);
           });
  }

  size_t steps_ = 0;
};

}  // namespace

bool Equal(const TemplateValue& a, const TemplateValue& b) { return Comparer().Equal(a, b, 0); }

std::optional<int> Compare(const TemplateValue& a, const TemplateValue& b) {
  return Comparer().Compare(a, b, 0);
}

}  // namespace tessera::gateway
