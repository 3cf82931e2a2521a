// Expressions of templates.
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/template/interpreter.h"
#include "services/gateway/template/template_builtins.h"

namespace tessera::gateway {
namespace {

using Kind = Expression::Kind;

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

// "messages[0].content" for messages about what is undefined; empty if it is more than a path.
std::string PathOf(const Expression& e) {
  if (e.kind == Kind::kName) return e.name;
  if (e.kind != Kind::kAttribute && e.kind != Kind::kIndex) return "";
  const std::string inner = PathOf(*e.children[0]);
  if (inner.empty()) return "";
  if (e.kind == Kind::kAttribute) return absl::StrCat(inner, ".", e.name);
  const Expression& index = *e.children[1];
  return absl::StrCat(inner, "[", index.kind == Kind::kLiteral ? ToText(index.literal, 100) : "...",
                      "]");
}

absl::StatusOr<bool> CompareBy(std::string_view op, const TemplateValue& a,
                               const TemplateValue& b) {
  if (op == "==") return Equal(a, b);
  if (op == "!=") return !Equal(a, b);
  if (op == "in") return Contains(b, a);
  if (op == "not in") {
    TESSERA_ASSIGN_OR_RETURN(const bool contained, Contains(b, a));
    return !contained;
  }
  CallArguments other;
  other.positional.push_back(b);
  return ApplyTest(op, a, other);
}

}  // namespace

absl::StatusOr<TemplateValue> Interpreter::Evaluate(const Expression& e) {
  TESSERA_RETURN_IF_ERROR(budget_.Step());
  TESSERA_RETURN_IF_ERROR(budget_.Enter());
  absl::StatusOr<TemplateValue> value = EvaluateKind(e);
  budget_.Leave();
  if (!value.ok()) return AtLine(e.line, value.status());
  constexpr int kHeightMax = 200;  // values are taken apart by recursion
  if (value->height() > kHeightMax) return AtLine(e.line, Wrong("a value is nested too deeply"));
  return value;
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateKind(const Expression& e) {
  switch (e.kind) {
    case Kind::kLiteral:
      return e.literal;
    case Kind::kName:
      return Lookup(e.name);
    case Kind::kList:
      return EvaluateList(e);
    case Kind::kDict:
      return EvaluateDict(e);
    case Kind::kAttribute:
    case Kind::kIndex: {
      TESSERA_ASSIGN_OR_RETURN(const TemplateValue object, Evaluate(*e.children[0]));
      if (object.is_undefined()) {
        const std::string path = PathOf(*e.children[0]);
        return Wrong(absl::StrCat(path.empty() ? "something" : absl::StrCat("'", path, "'"),
                                  " is undefined"));
      }
      if (e.kind == Kind::kAttribute) return Attribute(object, e.name);
      TESSERA_ASSIGN_OR_RETURN(const TemplateValue index, Evaluate(*e.children[1]));
      return Element(object, index);
    }
    case Kind::kSlice:
      return EvaluateSlice(e);
    case Kind::kCall:
      return EvaluateCall(e);
    case Kind::kFilter: {
      TESSERA_ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(*e.children[0]));
      TESSERA_ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateArguments(e));
      return ApplyFilter(e.name, value, arguments, budget_);
    }
    case Kind::kTest:
      return EvaluateTest(e);
    case Kind::kNot: {
      TESSERA_ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(*e.children[0]));
      return TemplateValue::Bool(!value.Truth());
    }
    case Kind::kNegate:
      return EvaluateNegation(e);
    case Kind::kArithmetic:
      return EvaluateArithmetic(e);
    case Kind::kComparison:
      return EvaluateComparison(e);
    case Kind::kAnd:
    case Kind::kOr:
      return EvaluateLogic(e);
    case Kind::kConditional:
      return EvaluateConditional(e);
  }
  return TemplateValue();
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateList(const Expression& e) {
  ValueList list;
  for (const ExpressionPtr& child : e.children) {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue item, Evaluate(*child));
    list.push_back(std::move(item));
  }
  return MakeList(std::move(list), budget_);
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateDict(const Expression& e) {
  ValueMap map;
  for (size_t i = 0; i < e.children.size(); i += 2) {
    TESSERA_ASSIGN_OR_RETURN(const TemplateValue key, Evaluate(*e.children[i]));
    TESSERA_ASSIGN_OR_RETURN(TemplateValue value, Evaluate(*e.children[i + 1]));
    TESSERA_RETURN_IF_ERROR(budget_.Make(sizeof(TemplateValue) + 64));
    map.Set(ToText(key, 1000), std::move(value));
  }
  return TemplateValue::Dict(std::move(map));
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateSlice(const Expression& e) {
  TESSERA_ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(*e.children[0]));
  TemplateValue bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (e.children[i + 1] == nullptr) continue;
    TESSERA_ASSIGN_OR_RETURN(bounds[i], Evaluate(*e.children[i + 1]));
    if (!bounds[i].is_integer() && !bounds[i].is_none())
      return Wrong("a bound of a slice is no integer");
  }
  return Slice(value, bounds[0], bounds[1], bounds[2], budget_);
}

absl::StatusOr<CallArguments> Interpreter::EvaluateArguments(const Expression& e) {
  CallArguments arguments;
  for (size_t i = 1; i < e.children.size(); ++i) {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue value, Evaluate(*e.children[i]));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, child] : e.named) {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue value, Evaluate(*child));
    arguments.named.emplace_back(name, std::move(value));
  }
  return arguments;
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateCall(const Expression& e) {
  const Expression& callee = *e.children[0];
  TemplateValue function;
  if (callee.kind == Kind::kAttribute) {
    TESSERA_ASSIGN_OR_RETURN(const TemplateValue object, Evaluate(*callee.children[0]));
    if (object.is_dict()) {
      const TemplateValue* member = object.AsDict().Find(callee.name);
      if (member != nullptr && member->is_callable()) function = *member;
    }
    if (function.is_undefined()) {
      TESSERA_ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateArguments(e));
      return CallMethod(object, callee.name, arguments, budget_);
    }
  } else {
    TESSERA_ASSIGN_OR_RETURN(function, Evaluate(callee));
  }
  TESSERA_ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateArguments(e));
  if (function.kind() == TemplateValue::Kind::kFunction) return function.AsFunction()(arguments);
  if (function.kind() == TemplateValue::Kind::kMacro)
    return RunMacro(*function.AsMacro(), arguments);
  const std::string path = PathOf(callee);
  return Wrong(absl::StrCat(path.empty() ? "this" : absl::StrCat("'", path, "'"), " is ",
                            std::string(function.KindName()), ", not a function"));
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateTest(const Expression& e) {
  TESSERA_ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(*e.children[0]));
  TESSERA_ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateArguments(e));
  TESSERA_ASSIGN_OR_RETURN(const bool result, ApplyTest(e.name, value, arguments));
  return TemplateValue::Bool(result);
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateNegation(const Expression& e) {
  TESSERA_ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(*e.children[0]));
  const TemplateValue zero = TemplateValue::Integer(0);
  if (!value.is_number() && !value.is_bool()) {
    return Wrong(absl::StrCat("a sign before ", std::string(value.KindName())));
  }
  return Calculate(e.name, zero, value, budget_);
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateArithmetic(const Expression& e) {
  TESSERA_ASSIGN_OR_RETURN(const TemplateValue a, Evaluate(*e.children[0]));
  TESSERA_ASSIGN_OR_RETURN(const TemplateValue b, Evaluate(*e.children[1]));
  return Calculate(e.name, a, b, budget_);
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateComparison(const Expression& e) {
  TESSERA_ASSIGN_OR_RETURN(TemplateValue left, Evaluate(*e.children[0]));
  for (size_t i = 0; i < e.operators.size(); ++i) {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue right, Evaluate(*e.children[i + 1]));
    TESSERA_ASSIGN_OR_RETURN(const bool holds, CompareBy(e.operators[i], left, right));
    if (!holds) return TemplateValue::Bool(false);
    left = std::move(right);
  }
  return TemplateValue::Bool(true);
}

// `and` and `or` give the value that decides, as in Python.
absl::StatusOr<TemplateValue> Interpreter::EvaluateLogic(const Expression& e) {
  TemplateValue value;
  for (const ExpressionPtr& child : e.children) {
    TESSERA_ASSIGN_OR_RETURN(value, Evaluate(*child));
    if (value.Truth() == (e.kind == Kind::kOr)) return value;
  }
  return value;
}

absl::StatusOr<TemplateValue> Interpreter::EvaluateConditional(const Expression& e) {
  TESSERA_ASSIGN_OR_RETURN(const TemplateValue condition, Evaluate(*e.children[1]));
  if (condition.Truth()) return Evaluate(*e.children[0]);
  if (e.children[2] == nullptr) return TemplateValue();
  return Evaluate(*e.children[2]);
}

}  // namespace tessera::gateway
