#include "services/gateway/template/interpreter.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/template/template_builtins.h"

namespace tessera::gateway {
namespace {

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

// What `loop` is in the turn `index` of `items`.
TemplateValue LoopVariable(const ValueList& items, size_t index) {
  const auto number = [](size_t n) { return TemplateValue::Integer(static_cast<int64_t>(n)); };
  ValueMap loop;
  loop.members = {{"index", number(index + 1)},
                  {"index0", number(index)},
                  {"revindex", number(items.size() - index)},
                  {"revindex0", number(items.size() - index - 1)},
                  {"first", TemplateValue::Bool(index == 0)},
                  {"last", TemplateValue::Bool(index + 1 == items.size())},
                  {"length", number(items.size())},
                  {"depth", number(1)},
                  {"depth0", number(0)},
                  {"previtem", index == 0 ? TemplateValue() : items[index - 1]},
                  {"nextitem", index + 1 == items.size() ? TemplateValue() : items[index + 1]}};
  loop.members.emplace_back(
      "cycle", TemplateValue::Function(
                   [index](const CallArguments& arguments) -> absl::StatusOr<TemplateValue> {
                     if (arguments.positional.empty()) return Wrong("cycle() needs values");
                     return arguments.positional[index % arguments.positional.size()];
                   }));
  return TemplateValue::Dict(std::move(loop));
}

}  // namespace

Interpreter::Interpreter(const TemplateLimits& limits, ValueMap variables) : budget_(limits) {
  scopes_.push_back(std::move(variables));
  AddBuiltins();
}

Interpreter::~Interpreter() {
  for (const std::shared_ptr<ValueMap>& space : namespaces_) space->members.clear();
}

void Interpreter::AddBuiltins() {
  ValueMap& globals = scopes_.front();
  globals.Set("range",
              TemplateValue::Function([this](const CallArguments& a) { return MakeRange(a); }));
  globals.Set("raise_exception",
              TemplateValue::Function([](const CallArguments& a) -> absl::StatusOr<TemplateValue> {
                return Wrong(a.positional.empty() ? "the template refuses this conversation"
                                                  : ToText(a.positional[0], 10000));
              }));
  const auto dict_of = [](const CallArguments& a) {
    ValueMap map;
    for (const TemplateValue& value : a.positional) {
      if (value.is_dict()) map = value.AsDict();
    }
    for (const auto& [name, value] : a.named) map.Set(name, value);
    map.is_namespace = false;
    return map;
  };
  globals.Set("dict", TemplateValue::Function(
                          [dict_of](const CallArguments& a) -> absl::StatusOr<TemplateValue> {
                            return TemplateValue::Dict(dict_of(a));
                          }));
  globals.Set("namespace",
              TemplateValue::Function(
                  [this, dict_of](const CallArguments& a) -> absl::StatusOr<TemplateValue> {
                    TESSERA_RETURN_IF_ERROR(budget_.Make(sizeof(ValueMap)));
                    ValueMap map = dict_of(a);
                    map.is_namespace = true;
                    TemplateValue space = TemplateValue::Dict(std::move(map));
                    namespaces_.push_back(space.SharedDict());
                    return space;
                  }));
}

absl::StatusOr<TemplateValue> Interpreter::MakeRange(const CallArguments& arguments) {
  const ValueList& p = arguments.positional;
  for (const TemplateValue& v : p) {
    if (!v.is_integer()) return Wrong("range() needs integers");
  }
  if (p.empty() || p.size() > 3) return Wrong("range() needs one to three integers");
  int64_t at = p.size() > 1 ? p[0].AsInteger() : 0;
  const int64_t stop = p.size() > 1 ? p[1].AsInteger() : p[0].AsInteger();
  const int64_t step = p.size() > 2 ? p[2].AsInteger() : 1;
  if (step == 0) return Wrong("the step of range() is 0");
  ValueList list;
  while (step > 0 ? at < stop : at > stop) {
    TESSERA_RETURN_IF_ERROR(budget_.Make(sizeof(TemplateValue)));
    TESSERA_RETURN_IF_ERROR(budget_.Step());
    list.push_back(TemplateValue::Integer(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return TemplateValue::List(std::move(list));
}

absl::Status Interpreter::AtLine(int line, absl::Status status) {
  if (status.ok() || has_line_) return status;
  has_line_ = true;
  return Annotate(status, absl::StrCat("line ", line));
}

absl::StatusOr<std::string> Interpreter::Run(const Block& block) {
  std::string out;
  TESSERA_RETURN_IF_ERROR(RunBlock(block, &out).status());
  return out;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunBlock(const Block& block, std::string* out) {
  TESSERA_RETURN_IF_ERROR(budget_.Enter());
  for (const std::unique_ptr<const Statement>& statement : block) {
    absl::StatusOr<Flow> flow = RunStatement(*statement, out);
    if (!flow.ok()) return AtLine(statement->line, flow.status());
    if (*flow != Flow::kNext) {
      budget_.Leave();
      return *flow;
    }
  }
  budget_.Leave();
  return Flow::kNext;
}

absl::Status Interpreter::Print(std::string_view text, std::string* out) {
  if (out->size() + text.size() > budget_.output_bytes_max())
    return Wrong("the rendered text is too long");
  out->append(text);
  return absl::OkStatus();
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunStatement(const Statement& statement,
                                                            std::string* out) {
  TESSERA_RETURN_IF_ERROR(budget_.Step());
  switch (statement.kind) {
    case Statement::Kind::kText:
      TESSERA_RETURN_IF_ERROR(Print(statement.text, out));
      return Flow::kNext;
    case Statement::Kind::kPrint: {
      TESSERA_ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(*statement.expression));
      if (value.is_string()) {
        TESSERA_RETURN_IF_ERROR(Print(value.AsString(), out));
      } else {
        TESSERA_RETURN_IF_ERROR(Print(ToText(value, budget_.output_bytes_max()), out));
      }
      return Flow::kNext;
    }
    case Statement::Kind::kIf: {
      TESSERA_ASSIGN_OR_RETURN(const TemplateValue condition, Evaluate(*statement.expression));
      return RunBlock(condition.Truth() ? statement.body : statement.otherwise, out);
    }
    case Statement::Kind::kFor:
      return RunFor(statement, out);
    case Statement::Kind::kSet:
      TESSERA_RETURN_IF_ERROR(RunSet(statement));
      return Flow::kNext;
    case Statement::Kind::kSetBlock:
    case Statement::Kind::kFilter:
      TESSERA_RETURN_IF_ERROR(RunCapture(statement, out));
      return Flow::kNext;
    case Statement::Kind::kMacro:
      scopes_.back().Set(statement.macro.name, TemplateValue::Macro(&statement.macro));
      return Flow::kNext;
    case Statement::Kind::kGroup:
      return RunBlock(statement.body, out);
    case Statement::Kind::kBreak:
      return Flow::kBreak;
    case Statement::Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

// What the loop runs over, less what its condition leaves out.
absl::StatusOr<ValueList> Interpreter::LoopItems(const Statement& statement) {
  TESSERA_ASSIGN_OR_RETURN(const TemplateValue over, Evaluate(*statement.expression));
  TESSERA_ASSIGN_OR_RETURN(ValueList items, Items(over, budget_));
  if (statement.filter == nullptr) return items;
  ValueList kept;
  for (TemplateValue& item : items) {
    scopes_.emplace_back();
    TESSERA_RETURN_IF_ERROR(Bind(statement.targets, item));
    TESSERA_ASSIGN_OR_RETURN(const TemplateValue wanted, Evaluate(*statement.filter));
    scopes_.pop_back();
    if (wanted.Truth()) kept.push_back(std::move(item));
  }
  return kept;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunFor(const Statement& statement,
                                                      std::string* out) {
  TESSERA_ASSIGN_OR_RETURN(const ValueList items, LoopItems(statement));
  if (items.empty()) return RunBlock(statement.otherwise, out);
  for (size_t i = 0; i < items.size(); ++i) {
    TESSERA_RETURN_IF_ERROR(budget_.Step());
    scopes_.emplace_back();
    scopes_.back().Set("loop", LoopVariable(items, i));
    TESSERA_RETURN_IF_ERROR(Bind(statement.targets, items[i]));
    TESSERA_ASSIGN_OR_RETURN(const Flow flow, RunBlock(statement.body, out));
    scopes_.pop_back();
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

absl::Status Interpreter::Bind(const std::vector<std::string>& targets,
                               const TemplateValue& value) {
  if (targets.size() == 1) {
    scopes_.back().Set(targets.front(), value);
    return absl::OkStatus();
  }
  if (!value.is_list() || value.AsList().size() != targets.size()) {
    return Wrong(absl::StrCat("a list of ", targets.size(), " values is needed for ",
                              targets.size(), " names"));
  }
  for (size_t i = 0; i < targets.size(); ++i) scopes_.back().Set(targets[i], value.AsList()[i]);
  return absl::OkStatus();
}

absl::Status Interpreter::RunSet(const Statement& statement) {
  TESSERA_ASSIGN_OR_RETURN(const TemplateValue value, Evaluate(*statement.expression));
  if (statement.attribute.empty()) return Bind(statement.targets, value);
  const TemplateValue target = Lookup(statement.targets.front());
  if (!target.is_dict() || !target.AsDict().is_namespace) {
    return Wrong(absl::StrCat("'", statement.targets.front(),
                              "' is no namespace: its attributes cannot be set"));
  }
  TESSERA_RETURN_IF_ERROR(budget_.Make(sizeof(TemplateValue)));
  target.AsNamespace().Set(statement.attribute, value);
  return absl::OkStatus();
}

// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}.
absl::Status Interpreter::RunCapture(const Statement& statement, std::string* out) {
  std::string text;
  scopes_.emplace_back();
  TESSERA_RETURN_IF_ERROR(RunBlock(statement.body, &text).status());
  scopes_.pop_back();
  TESSERA_ASSIGN_OR_RETURN(TemplateValue value, MakeString(std::move(text), budget_));
  if (statement.expression != nullptr) {
    scopes_.emplace_back();
    scopes_.back().Set("", std::move(value));
    TESSERA_ASSIGN_OR_RETURN(value, Evaluate(*statement.expression));
    scopes_.pop_back();
  }
  if (statement.kind == Statement::Kind::kSetBlock) return Bind(statement.targets, value);
  return Print(ToText(value, budget_.output_bytes_max()), out);
}

// A macro sees its arguments and the globals.
absl::StatusOr<TemplateValue> Interpreter::RunMacro(const MacroNode& macro,
                                                    const CallArguments& arguments) {
  if (arguments.positional.size() > macro.parameters.size()) {
    return Wrong(
        absl::StrCat("the macro ", macro.name, " takes ", macro.parameters.size(), " arguments"));
  }
  const size_t outer = std::exchange(frame_, scopes_.size());
  scopes_.emplace_back();
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const MacroNode::Parameter& parameter = macro.parameters[i];
    TemplateValue value;
    if (const TemplateValue* given = arguments.Find(i, parameter.name)) {
      value = *given;
    } else if (parameter.otherwise != nullptr) {
      TESSERA_ASSIGN_OR_RETURN(value, Evaluate(*parameter.otherwise));
    }
    scopes_.back().Set(parameter.name, std::move(value));
  }
  std::string text;
  TESSERA_RETURN_IF_ERROR(RunBlock(macro.body, &text).status());
  scopes_.resize(frame_);
  frame_ = outer;
  return MakeString(std::move(text), budget_);
}

TemplateValue Interpreter::Lookup(std::string_view name) const {
  for (size_t i = scopes_.size(); i > frame_ && i > 1; --i) {
    if (const TemplateValue* value = scopes_[i - 1].Find(name)) return *value;
  }
  const TemplateValue* value = scopes_.front().Find(name);
  return value == nullptr ? TemplateValue() : *value;
}

}  // namespace tessera::gateway
