// Operators of templates.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/template/interpreter.h"
#include "services/gateway/template/template_builtins.h"

namespace tessera::gateway {
namespace {

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

absl::StatusOr<TemplateValue> OfIntegers(std::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  if (op == "+") {
    overflows = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflows = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflows = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    if (b < 0)
      return TemplateValue::Float(std::pow(static_cast<double>(a), static_cast<double>(b)));
    result = 1;
    if (a == 0 || a == 1) return TemplateValue::Integer(b == 0 ? 1 : a);
    if (a == -1) return TemplateValue::Integer(b % 2 == 0 ? 1 : -1);
    for (int64_t i = 0; i < b && !overflows; ++i)
      overflows = __builtin_mul_overflow(result, a, &result);
  } else {  // // and %, which round towards minus infinity
    if (b == 0) return Wrong("division by zero");
    if (b == -1) {
      overflows = op == "//" && __builtin_sub_overflow(int64_t{0}, a, &result);
    } else {
      const int64_t remainder = a % b;
      const bool adjusts = remainder != 0 && (remainder < 0) != (b < 0);
      result = op == "%" ? remainder + (adjusts ? b : 0) : a / b - (adjusts ? 1 : 0);
    }
  }
  if (overflows) return Wrong("an integer grows beyond 64 bits");
  return TemplateValue::Integer(result);
}

absl::StatusOr<TemplateValue> OfFloats(std::string_view op, double a, double b) {
  if (op == "+") return TemplateValue::Float(a + b);
  if (op == "-") return TemplateValue::Float(a - b);
  if (op == "*") return TemplateValue::Float(a * b);
  if (op == "**") return TemplateValue::Float(std::pow(a, b));
  if (b == 0) return Wrong("division by zero");
  if (op == "/") return TemplateValue::Float(a / b);
  const double quotient = std::floor(a / b);
  return TemplateValue::Float(op == "//" ? quotient : a - b * quotient);
}

// Python's rules for the bounds of a slice of `size` items; the positions it takes.
std::vector<size_t> SlicePositions(int64_t size, const TemplateValue& start,
                                   const TemplateValue& stop, int64_t step) {
  const auto bound = [&](const TemplateValue& v, int64_t otherwise) {
    if (!v.is_integer()) return otherwise;
    int64_t at = v.AsInteger();
    if (at < 0) at = at < -size ? -1 : at + size;
    const int64_t low = step > 0 ? 0 : -1;
    const int64_t high = step > 0 ? size : size - 1;
    return std::clamp(at, low, std::max(low, high));
  };
  const int64_t first = bound(start, step > 0 ? 0 : size - 1);
  const int64_t last = bound(stop, step > 0 ? size : -1);
  std::vector<size_t> positions;
  for (int64_t at = first; step > 0 ? at < last : at > last;) {
    positions.push_back(static_cast<size_t>(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return positions;
}

}  // namespace

absl::StatusOr<TemplateValue> Calculate(std::string_view op, const TemplateValue& a,
                                        const TemplateValue& b, RenderBudget& budget) {
  if (op == "~") {
    return MakeString(ToText(a, budget.bytes_left()) + ToText(b, budget.bytes_left()), budget);
  }
  if (op == "+" && a.is_string() && b.is_string())
    return MakeString(a.AsString() + b.AsString(), budget);
  if (op == "+" && a.is_list() && b.is_list()) {
    ValueList joined = a.AsList();
    joined.insert(joined.end(), b.AsList().begin(), b.AsList().end());
    return MakeList(std::move(joined), budget);
  }
  if (op == "*" && a.is_string() && b.is_integer()) {
    const size_t count = static_cast<size_t>(std::max<int64_t>(b.AsInteger(), 0));
    if (count > 0 && a.AsString().size() > budget.bytes_left() / count) {
      return Wrong("rendering takes too much memory");
    }
    std::string text;
    for (size_t i = 0; i < count && !a.AsString().empty(); ++i) text += a.AsString();
    return MakeString(std::move(text), budget);
  }
  const auto counts = [](const TemplateValue& v) { return v.is_number() || v.is_bool(); };
  if (!counts(a) || !counts(b)) {
    return Wrong(absl::StrCat("'", std::string(op), "' is not defined for ",
                              std::string(a.KindName()), " and ", std::string(b.KindName())));
  }
  const auto number = [](const TemplateValue& v) {
    return v.is_bool() ? TemplateValue::Integer(v.AsBool() ? 1 : 0) : v;
  };
  const TemplateValue x = number(a);
  const TemplateValue y = number(b);
  if (op != "/" && x.is_integer() && y.is_integer())
    return OfIntegers(op, x.AsInteger(), y.AsInteger());
  return OfFloats(op, x.AsFloat(), y.AsFloat());
}

absl::StatusOr<TemplateValue> Slice(const TemplateValue& value, const TemplateValue& start,
                                    const TemplateValue& stop, const TemplateValue& step,
                                    RenderBudget& budget) {
  const int64_t stride = step.is_integer() ? step.AsInteger() : 1;
  if (stride == 0) return Wrong("the step of a slice is 0");
  if (!value.is_string() && !value.is_list()) {
    return Wrong(absl::StrCat(std::string(value.KindName()), " has no slices"));
  }
  TESSERA_ASSIGN_OR_RETURN(const ValueList items, Items(value, budget));
  TESSERA_RETURN_IF_ERROR(budget.Step(1 + items.size() / 8));
  ValueList taken;
  std::string text;
  for (const size_t at : SlicePositions(static_cast<int64_t>(items.size()), start, stop, stride)) {
    if (value.is_string()) {
      text += items[at].AsString();
    } else {
      taken.push_back(items[at]);
    }
  }
  return value.is_string() ? MakeString(std::move(text), budget)
                           : MakeList(std::move(taken), budget);
}

}  // namespace tessera::gateway
