#pragma once

// Runs a parsed template.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/gateway/template/render_budget.h"
#include "services/gateway/template/template_syntax.h"
#include "services/gateway/template/template_value.h"

namespace tessera::gateway {

// One rendering: made, run once, thrown away. Templates reach nothing but the variables they are
// given; values do not change, but for namespaces. Owned by one thread.
class Interpreter {
 public:
  // `variables` are global; range, namespace, dict and raise_exception are there besides.
  Interpreter(const TemplateLimits& limits, ValueMap variables);
  ~Interpreter();

  // Errors: kInvalidArgument "line N: ...": an operation that the values do not have, a limit,
  // raise_exception.
  absl::StatusOr<std::string> Run(const Block& block);

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };

  // Statements.
  absl::StatusOr<Flow> RunBlock(const Block& block, std::string* out);
  absl::StatusOr<Flow> RunStatement(const Statement& statement, std::string* out);
  absl::StatusOr<Flow> RunFor(const Statement& statement, std::string* out);
  absl::StatusOr<ValueList> LoopItems(const Statement& statement);
  absl::Status Bind(const std::vector<std::string>& targets, const TemplateValue& value);
  absl::Status RunSet(const Statement& statement);
  absl::Status RunCapture(const Statement& statement, std::string* out);
  absl::Status Print(std::string_view text, std::string* out);
  absl::StatusOr<TemplateValue> RunMacro(const MacroNode& macro, const CallArguments& arguments);

  // Expressions.
  absl::StatusOr<TemplateValue> Evaluate(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateKind(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateList(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateDict(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateSlice(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateCall(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateTest(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateNegation(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateArithmetic(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateComparison(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateLogic(const Expression& e);
  absl::StatusOr<TemplateValue> EvaluateConditional(const Expression& e);
  absl::StatusOr<CallArguments> EvaluateArguments(const Expression& e);

  TemplateValue Lookup(std::string_view name) const;
  void AddBuiltins();
  absl::StatusOr<TemplateValue> MakeRange(const CallArguments& arguments);
  absl::Status AtLine(int line, absl::Status status);

  RenderBudget budget_;
  std::vector<ValueMap> scopes_;  // the first is global
  size_t frame_ = 0;              // first scope of the running macro; scopes between are not seen
  bool has_line_ = false;         // the error on its way up names its line
  std::vector<std::shared_ptr<ValueMap>>
      namespaces_;  // emptied at the end: they can hold each other
};

// a op b for + - * / // % ** ~.
absl::StatusOr<TemplateValue> Calculate(std::string_view op, const TemplateValue& a,
                                        const TemplateValue& b, RenderBudget& budget);
// value[start:stop:step] of a list or a string; undefined bounds were left out.
absl::StatusOr<TemplateValue> Slice(const TemplateValue& value, const TemplateValue& start,
                                    const TemplateValue& stop, const TemplateValue& step,
                                    RenderBudget& budget);

}  // namespace tessera::gateway
