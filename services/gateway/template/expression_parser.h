#pragma once

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/gateway/template/template_lexer.h"
#include "services/gateway/template/template_syntax.h"

namespace tessera::gateway {

// A position in the tokens of a template. The last token is kEnd and is never passed.
class TokenCursor {
 public:
  explicit TokenCursor(const std::vector<TemplateToken>& tokens) : tokens_(tokens) {}

  const TemplateToken& Peek(size_t ahead = 0) const;
  const TemplateToken& Take();
  bool Is(TemplateToken::Kind kind) const { return Peek().kind == kind; }
  bool IsOperator(std::string_view text) const;
  bool IsName(std::string_view text) const;
  bool AcceptOperator(std::string_view text);
  bool AcceptName(std::string_view text);
  absl::Status ExpectOperator(std::string_view text);
  absl::StatusOr<std::string> ExpectName();
  // "expected X, found Y" at the current token.
  absl::Status Expected(std::string_view what) const;
  int line() const { return Peek().line; }

 private:
  const std::vector<TemplateToken>& tokens_;
  size_t at_ = 0;
};

// Parses the expressions of a template, by Jinja's order of operators.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenCursor& cursor) : cursor_(cursor) {}

  absl::StatusOr<ExpressionPtr> Parse(bool allow_conditional = true);
  // Parse, and if a comma follows, the list of all that follow.
  absl::StatusOr<ExpressionPtr> ParseTuple();
  // "| name(...)"s around `operand`; the cursor is behind the first "|".
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr operand);

 private:
  using Node = std::unique_ptr<Expression>;
  Node NewNode(Expression::Kind kind) const;
  absl::StatusOr<ExpressionPtr> Finish(Node node) const;  // height, which is limited
  absl::StatusOr<ExpressionPtr> Or();
  absl::StatusOr<ExpressionPtr> And();
  absl::StatusOr<ExpressionPtr> Not();
  absl::StatusOr<ExpressionPtr> Comparison();
  absl::StatusOr<std::string> ComparisonOperator();
  absl::StatusOr<ExpressionPtr> Arithmetic(int level);
  absl::StatusOr<ExpressionPtr> Unary();
  absl::StatusOr<ExpressionPtr> Primary();
  absl::StatusOr<ExpressionPtr> Literal();
  absl::StatusOr<ExpressionPtr> ListLiteral(std::string_view close);
  absl::StatusOr<ExpressionPtr> DictLiteral();
  absl::StatusOr<ExpressionPtr> Postfix(ExpressionPtr operand);
  absl::StatusOr<ExpressionPtr> Subscript(ExpressionPtr operand);
  absl::StatusOr<ExpressionPtr> Test(ExpressionPtr operand);
  absl::StatusOr<ExpressionPtr> FiltersAndTests(ExpressionPtr operand);
  absl::Status Arguments(Expression* call);

  TokenCursor& cursor_;
  int depth_ = 0;
};

}  // namespace tessera::gateway
