#pragma once

// A parsed template.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "services/gateway/template/template_value.h"

namespace tessera::gateway {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Expression {
  enum class Kind : uint8_t {
    kLiteral,      // literal
    kName,         // name
    kList,         // children
    kDict,         // children: key, value, key, value...
    kAttribute,    // children[0].name
    kIndex,        // children[0][children[1]]
    kSlice,        // children[0][children[1]:children[2]:children[3]]; a null child was left out
    kCall,         // children[0](the other children, named)
    kFilter,       // children[0] | name(the other children, named)
    kTest,         // children[0] is name(the other children)
    kNot,          // children[0]
    kNegate,       // children[0]; name "-" or "+"
    kArithmetic,   // children[0] name children[1]; name + - * / // % ** ~
    kComparison,   // children[0] op children[1] op ...; the operators in `operators`
    kAnd,          // children
    kOr,           // children
    kConditional,  // children[0] if children[1] else children[2] (null: undefined)
  };

  Kind kind = Kind::kLiteral;
  int line = 0;
  int height = 1;  // levels below, itself included
  std::string name;
  TemplateValue literal;
  std::vector<ExpressionPtr> children;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> operators;
};

struct Statement;
using Block = std::vector<std::unique_ptr<const Statement>>;

struct MacroNode {
  struct Parameter {
    std::string name;
    ExpressionPtr otherwise;  // null: undefined
  };
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
};

struct Statement {
  enum class Kind : uint8_t {
    kText,      // text
    kPrint,     // expression
    kIf,        // expression, body, otherwise (an elif is an `if` in there)
    kFor,       // targets in expression, filter (may be null), body, otherwise
    kSet,       // targets = expression; with `attribute` targets[0].attribute = expression
    kSetBlock,  // targets[0] = what body prints
    kMacro,     // macro
    kFilter,    // expression filters what body prints; its innermost operand is the name "" of that
                // text
    kGroup,     // body
    kBreak,
    kContinue,
  };

  Kind kind = Kind::kText;
  int line = 0;
  std::string text;
  std::string attribute;
  std::vector<std::string> targets;
  ExpressionPtr expression;
  ExpressionPtr filter;
  Block body;
  Block otherwise;
  MacroNode macro;
};

}  // namespace tessera::gateway
