#include "services/gateway/template/expression_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::gateway {
namespace {

using Kind = Expression::Kind;
using TokenKind = TemplateToken::Kind;
constexpr int kDepthMax = 100;   // of the parser's own recursion
constexpr int kHeightMax = 200;  // of what it makes, which others walk by recursion

// Arithmetic by strength, the weakest first.
constexpr std::array<std::array<std::string_view, 4>, 4> kArithmeticLevels = {
    {{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}}};

}  // namespace

const TemplateToken& TokenCursor::Peek(size_t ahead) const {
  return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}
const TemplateToken& TokenCursor::Take() {
  const TemplateToken& token = Peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}
bool TokenCursor::IsOperator(std::string_view text) const {
  return Peek().kind == TokenKind::kOperator && Peek().text == text;
}
bool TokenCursor::IsName(std::string_view text) const {
  return Peek().kind == TokenKind::kName && Peek().text == text;
}
bool TokenCursor::AcceptOperator(std::string_view text) {
  if (!IsOperator(text)) return false;
  Take();
  return true;
}
bool TokenCursor::AcceptName(std::string_view text) {
  if (!IsName(text)) return false;
  Take();
  return true;
}
absl::Status TokenCursor::ExpectOperator(std::string_view text) {
  if (AcceptOperator(text)) return absl::OkStatus();
  return Expected(absl::StrCat("'", std::string(text), "'"));
}
absl::StatusOr<std::string> TokenCursor::ExpectName() {
  if (!Is(TokenKind::kName)) return Expected("a name");
  return Take().text;
}
absl::Status TokenCursor::Expected(std::string_view what) const {
  const TemplateToken& token = Peek();
  std::string found;
  switch (token.kind) {
    case TokenKind::kText:
    case TokenKind::kEnd:
      found = "the end of the template";
      break;
    case TokenKind::kPrintEnd:
      found = "'}}'";
      break;
    case TokenKind::kBlockEnd:
      found = "'%}'";
      break;
    default:
      found = absl::StrCat("'", token.text, "'");
  }
  return TemplateError(token.line, absl::StrCat("expected ", std::string(what), ", found ", found));
}

ExpressionParser::Node ExpressionParser::NewNode(Kind kind) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = cursor_.line();
  return node;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Finish(Node node) const {
  int below = 0;
  for (const ExpressionPtr& child : node->children) {
    if (child != nullptr) below = std::max(below, child->height);
  }
  for (const auto& [name, child] : node->named) below = std::max(below, child->height);
  node->height = below + 1;
  if (node->height > kHeightMax)
    return TemplateError(node->line, "an expression is nested too deeply");
  return ExpressionPtr(std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Parse(bool allow_conditional) {
  if (depth_ > kDepthMax)
    return TemplateError(cursor_.line(), "an expression is nested too deeply");
  ++depth_;
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr value, Or());
  while (allow_conditional && cursor_.AcceptName("if")) {
    Node node = NewNode(Kind::kConditional);
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr condition, Or());
    ExpressionPtr otherwise;
    if (cursor_.AcceptName("else")) {
      TESSERA_ASSIGN_OR_RETURN(otherwise, Parse());
    }
    node->children.push_back(std::move(value));
    node->children.push_back(std::move(condition));
    node->children.push_back(std::move(otherwise));
    TESSERA_ASSIGN_OR_RETURN(value, Finish(std::move(node)));
  }
  --depth_;
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTuple() {
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr first, Parse());
  if (!cursor_.IsOperator(",")) return first;
  Node node = NewNode(Kind::kList);
  node->children.push_back(std::move(first));
  while (cursor_.AcceptOperator(",")) {
    if (cursor_.Is(TokenKind::kBlockEnd) || cursor_.Is(TokenKind::kPrintEnd)) break;
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr next, Parse());
    node->children.push_back(std::move(next));
  }
  return Finish(std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Or() {
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr first, And());
  if (!cursor_.IsName("or")) return first;
  Node node = NewNode(Kind::kOr);
  node->children.push_back(std::move(first));
  while (cursor_.AcceptName("or")) {
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr next, And());
    node->children.push_back(std::move(next));
  }
  return Finish(std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::And() {
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr first, Not());
  if (!cursor_.IsName("and")) return first;
  Node node = NewNode(Kind::kAnd);
  node->children.push_back(std::move(first));
  while (cursor_.AcceptName("and")) {
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr next, Not());
    node->children.push_back(std::move(next));
  }
  return Finish(std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Not() {
  size_t count = 0;
  while (cursor_.AcceptName("not")) ++count;
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr value, Comparison());
  for (; count > 0; --count) {
    Node node = NewNode(Kind::kNot);
    node->children.push_back(std::move(value));
    TESSERA_ASSIGN_OR_RETURN(value, Finish(std::move(node)));
  }
  return value;
}

// The operator at the cursor, or an empty string.
absl::StatusOr<std::string> ExpressionParser::ComparisonOperator() {
  for (const std::string_view symbol : {"==", "!=", "<", ">", "<=", ">="}) {
    if (cursor_.AcceptOperator(symbol)) return std::string(symbol);
  }
  if (cursor_.AcceptName("in")) return std::string("in");
  if (cursor_.IsName("not") && cursor_.Peek(1).kind == TokenKind::kName &&
      cursor_.Peek(1).text == "in") {
    cursor_.Take();
    cursor_.Take();
    return std::string("not in");
  }
  return std::string();
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Comparison() {
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr first, Arithmetic(0));
  TESSERA_ASSIGN_OR_RETURN(std::string symbol, ComparisonOperator());
  if (symbol.empty()) return first;
  Node node = NewNode(Kind::kComparison);
  node->children.push_back(std::move(first));
  while (!symbol.empty()) {
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr next, Arithmetic(0));
    node->children.push_back(std::move(next));
    node->operators.push_back(std::move(symbol));
    TESSERA_ASSIGN_OR_RETURN(symbol, ComparisonOperator());
  }
  return Finish(std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Arithmetic(int level) {
  if (static_cast<size_t>(level) == kArithmeticLevels.size()) return Unary();
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr left, Arithmetic(level + 1));
  while (true) {
    std::string_view found;
    for (const std::string_view symbol : kArithmeticLevels[static_cast<size_t>(level)]) {
      if (!symbol.empty() && cursor_.IsOperator(symbol)) found = symbol;
    }
    if (found.empty()) return left;
    cursor_.Take();
    Node node = NewNode(Kind::kArithmetic);
    node->name = found;
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr right, Arithmetic(level + 1));
    node->children.push_back(std::move(left));
    node->children.push_back(std::move(right));
    TESSERA_ASSIGN_OR_RETURN(left, Finish(std::move(node)));
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Unary() {
  std::string signs;
  while (cursor_.IsOperator("-") || cursor_.IsOperator("+")) signs += cursor_.Take().text;
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr primary, Primary());
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr value, Postfix(std::move(primary)));
  for (; !signs.empty(); signs.pop_back()) {
    Node node = NewNode(Kind::kNegate);
    node->name = signs.back();
    node->children.push_back(std::move(value));
    TESSERA_ASSIGN_OR_RETURN(value, Finish(std::move(node)));
  }
  return FiltersAndTests(std::move(value));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Primary() {
  if (cursor_.AcceptOperator("(")) {
    if (cursor_.AcceptOperator(")")) return Finish(NewNode(Kind::kList));
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr first, Parse());
    if (cursor_.AcceptOperator(")")) return first;
    Node node = NewNode(Kind::kList);
    node->children.push_back(std::move(first));
    while (cursor_.AcceptOperator(",")) {
      if (cursor_.IsOperator(")")) break;
      TESSERA_ASSIGN_OR_RETURN(ExpressionPtr next, Parse());
      node->children.push_back(std::move(next));
    }
    TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator(")"));
    return Finish(std::move(node));
  }
  if (cursor_.AcceptOperator("[")) return ListLiteral("]");
  if (cursor_.AcceptOperator("{")) return DictLiteral();
  return Literal();
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Literal() {
  Node node = NewNode(Kind::kLiteral);
  const TemplateToken& token = cursor_.Peek();
  switch (token.kind) {
    case TokenKind::kString: {
      std::string text;
      while (cursor_.Is(TokenKind::kString)) text += cursor_.Take().text;  // "a" "b" is "ab"
      node->literal = TemplateValue::String(std::move(text));
      return Finish(std::move(node));
    }
    case TokenKind::kInteger: {
      int64_t value = 0;
      const char* end = token.text.data() + token.text.size();
      if (std::from_chars(token.text.data(), end, value).ptr != end || token.text.size() > 18) {
        return TemplateError(token.line, "an integer has more than 18 digits");
      }
      cursor_.Take();
      node->literal = TemplateValue::Integer(value);
      return Finish(std::move(node));
    }
    case TokenKind::kFloat: {
      double value = 0;
      if (!absl::SimpleAtod(token.text, &value)) return cursor_.Expected("a number");
      cursor_.Take();
      node->literal = TemplateValue::Float(value);
      return Finish(std::move(node));
    }
    case TokenKind::kName:
      break;
    default:
      return cursor_.Expected("an expression");
  }
  const std::string name = cursor_.Take().text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    node->literal = TemplateValue::Bool(name == "true" || name == "True");
  } else if (name == "none" || name == "None") {
    node->literal = TemplateValue::None();
  } else {
    node->kind = Kind::kName;
    node->name = name;
  }
  return Finish(std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ListLiteral(std::string_view close) {
  Node node = NewNode(Kind::kList);
  while (!cursor_.AcceptOperator(close)) {
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr item, Parse());
    node->children.push_back(std::move(item));
    if (!cursor_.IsOperator(close)) TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator(","));
  }
  return Finish(std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::DictLiteral() {
  Node node = NewNode(Kind::kDict);
  while (!cursor_.AcceptOperator("}")) {
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr key, Parse());
    TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator(":"));
    TESSERA_ASSIGN_OR_RETURN(ExpressionPtr value, Parse());
    node->children.push_back(std::move(key));
    node->children.push_back(std::move(value));
    if (!cursor_.IsOperator("}")) TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator(","));
  }
  return Finish(std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Postfix(ExpressionPtr operand) {
  while (true) {
    if (cursor_.AcceptOperator(".")) {
      Node node = NewNode(Kind::kAttribute);
      if (cursor_.Is(TokenKind::kInteger)) {  // list.0
        node->name = cursor_.Take().text;
      } else {
        TESSERA_ASSIGN_OR_RETURN(node->name, cursor_.ExpectName());
      }
      node->children.push_back(std::move(operand));
      TESSERA_ASSIGN_OR_RETURN(operand, Finish(std::move(node)));
    } else if (cursor_.AcceptOperator("[")) {
      TESSERA_ASSIGN_OR_RETURN(operand, Subscript(std::move(operand)));
    } else if (cursor_.AcceptOperator("(")) {
      Node node = NewNode(Kind::kCall);
      node->children.push_back(std::move(operand));
      TESSERA_RETURN_IF_ERROR(Arguments(node.get()));
      TESSERA_ASSIGN_OR_RETURN(operand, Finish(std::move(node)));
    } else {
      return operand;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Subscript(ExpressionPtr operand) {
  Node node = NewNode(Kind::kIndex);
  node->children.push_back(std::move(operand));
  for (int part = 0; part < 3; ++part) {
    ExpressionPtr value;
    if (!cursor_.IsOperator(":") && !cursor_.IsOperator("]")) {
      TESSERA_ASSIGN_OR_RETURN(value, Parse());
    }
    node->children.push_back(std::move(value));
    if (!cursor_.AcceptOperator(":")) break;
    node->kind = Kind::kSlice;
  }
  TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator("]"));
  if (node->kind == Kind::kIndex && node->children[1] == nullptr) {
    return TemplateError(node->line, "expected an index between '[' and ']'");
  }
  if (node->kind == Kind::kSlice) node->children.resize(4);
  return Finish(std::move(node));
}

absl::Status ExpressionParser::Arguments(Expression* call) {
  while (!cursor_.AcceptOperator(")")) {
    const bool is_named = cursor_.Is(TokenKind::kName) &&
                          cursor_.Peek(1).kind == TokenKind::kOperator &&
                          cursor_.Peek(1).text == "=";
    if (is_named) {
      const std::string name = cursor_.Take().text;
      cursor_.Take();
      TESSERA_ASSIGN_OR_RETURN(ExpressionPtr value, Parse());
      call->named.emplace_back(name, std::move(value));
    } else {
      if (cursor_.IsOperator("*") || cursor_.IsOperator("**")) {
        return TemplateError(cursor_.line(), "* and ** in calls are not supported");
      }
      TESSERA_ASSIGN_OR_RETURN(ExpressionPtr value, Parse());
      call->children.push_back(std::move(value));
    }
    if (!cursor_.IsOperator(")")) TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator(","));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExpressionPtr> ExpressionParser::FiltersAndTests(ExpressionPtr operand) {
  while (true) {
    if (cursor_.AcceptOperator("|")) {
      TESSERA_ASSIGN_OR_RETURN(operand, ParseFilters(std::move(operand)));
    } else if (cursor_.AcceptName("is")) {
      TESSERA_ASSIGN_OR_RETURN(operand, Test(std::move(operand)));
    } else {
      return operand;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilters(ExpressionPtr operand) {
  do {
    Node node = NewNode(Kind::kFilter);
    TESSERA_ASSIGN_OR_RETURN(node->name, cursor_.ExpectName());
    node->children.push_back(std::move(operand));
    if (cursor_.AcceptOperator("(")) TESSERA_RETURN_IF_ERROR(Arguments(node.get()));
    TESSERA_ASSIGN_OR_RETURN(operand, Finish(std::move(node)));
  } while (cursor_.AcceptOperator("|"));
  return operand;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Test(ExpressionPtr operand) {
  const bool negated = cursor_.AcceptName("not");
  Node node = NewNode(Kind::kTest);
  TESSERA_ASSIGN_OR_RETURN(node->name, cursor_.ExpectName());
  node->children.push_back(std::move(operand));
  if (cursor_.AcceptOperator("(")) {
    TESSERA_RETURN_IF_ERROR(Arguments(node.get()));
  } else {
    // One operand may follow without parentheses: x is divisibleby 3, x is in list.
    const TemplateToken& next = cursor_.Peek();
    const bool is_operand =
        next.kind == TokenKind::kString || next.kind == TokenKind::kInteger ||
        next.kind == TokenKind::kFloat || cursor_.IsOperator("[") || cursor_.IsOperator("{") ||
        (next.kind == TokenKind::kName && next.text != "and" && next.text != "or" &&
         next.text != "else" && next.text != "if" && next.text != "is" && next.text != "in" &&
         next.text != "not" && next.text != "recursive");
    if (is_operand) {
      TESSERA_ASSIGN_OR_RETURN(ExpressionPtr primary, Primary());
      TESSERA_ASSIGN_OR_RETURN(ExpressionPtr argument, Postfix(std::move(primary)));
      node->children.push_back(std::move(argument));
    }
  }
  TESSERA_ASSIGN_OR_RETURN(ExpressionPtr test, Finish(std::move(node)));
  if (!negated) return test;
  Node inverse = NewNode(Kind::kNot);
  inverse->children.push_back(std::move(test));
  return Finish(std::move(inverse));
}

}  // namespace tessera::gateway
