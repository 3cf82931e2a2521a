#include "services/gateway/template/template_parser.h"

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/template/expression_parser.h"
#include "services/gateway/template/template_lexer.h"

namespace tessera::gateway {
namespace {

using Kind = Statement::Kind;
using TokenKind = TemplateToken::Kind;
using Node = std::unique_ptr<Statement>;
constexpr int kDepthMax = 100;

class TemplateParser {
 public:
  explicit TemplateParser(const std::vector<TemplateToken>& tokens)
      : cursor_(tokens), expressions_(cursor_) {}

  absl::StatusOr<Block> Run() {
    Block block;
    TESSERA_RETURN_IF_ERROR(ParseBlock(&block));
    if (!cursor_.Is(TokenKind::kEnd)) {
      return TemplateError(cursor_.line(),
                           absl::StrCat("{% ", cursor_.Peek(1).text, " %} closes nothing"));
    }
    return block;
  }

 private:
  Node NewNode(Kind kind) const {
    auto node = std::make_unique<Statement>();
    node->kind = kind;
    node->line = cursor_.line();
    return node;
  }

  // Statements up to the end or a tag that belongs to the statement around them.
  absl::Status ParseBlock(Block* block) {
    if (++depth_ > kDepthMax) return TemplateError(cursor_.line(), "blocks are nested too deeply");
    while (!cursor_.Is(TokenKind::kEnd) && !AtClosingTag()) {
      if (cursor_.Is(TokenKind::kText)) {
        Node node = NewNode(Kind::kText);
        node->text = cursor_.Take().text;
        block->push_back(std::move(node));
      } else if (cursor_.Is(TokenKind::kPrintBegin)) {
        Node node = NewNode(Kind::kPrint);
        cursor_.Take();
        TESSERA_ASSIGN_OR_RETURN(node->expression, expressions_.ParseTuple());
        if (!cursor_.Is(TokenKind::kPrintEnd)) return cursor_.Expected("'}}'");
        cursor_.Take();
        block->push_back(std::move(node));
      } else {
        TESSERA_RETURN_IF_ERROR(ParseTag(block));
      }
    }
    --depth_;
    return absl::OkStatus();
  }

  bool AtClosingTag() const {
    if (!cursor_.Is(TokenKind::kBlockBegin)) return false;
    const std::string& name = cursor_.Peek(1).text;
    return name == "elif" || name == "else" || name.substr(0, 3) == "end";
  }

  absl::Status CloseTag() {
    if (!cursor_.Is(TokenKind::kBlockEnd)) return cursor_.Expected("'%}'");
    cursor_.Take();
    return absl::OkStatus();
  }

  // {% name %}, of a statement that began in `line`.
  absl::Status ExpectEnd(std::string_view name, int line) {
    const bool is_it = cursor_.Is(TokenKind::kBlockBegin) && cursor_.Peek(1).text == name;
    if (!is_it) {
      return TemplateError(line, absl::StrCat("this has no {% ", std::string(name), " %}"));
    }
    cursor_.Take();
    cursor_.Take();
    return CloseTag();
  }

  bool AcceptTag(std::string_view name) {
    if (!cursor_.Is(TokenKind::kBlockBegin) || cursor_.Peek(1).text != name) return false;
    cursor_.Take();
    cursor_.Take();
    return true;
  }

  absl::Status ParseTag(Block* block) {
    const int line = cursor_.line();
    cursor_.Take();
    TESSERA_ASSIGN_OR_RETURN(const std::string name, cursor_.ExpectName());
    if (name == "if") return ParseIf(line, block);
    if (name == "for") return ParseFor(block);
    if (name == "set") return ParseSet(block);
    if (name == "macro") return ParseMacro(block);
    if (name == "filter") return ParseFilter(block);
    if (name == "generation") return ParseGeneration(block);
    if (name == "break" || name == "continue") {
      if (loops_ == 0)
        return TemplateError(line, absl::StrCat("{% ", name, " %} outside of a loop"));
      block->push_back(NewNode(name == "break" ? Kind::kBreak : Kind::kContinue));
      return CloseTag();
    }
    return TemplateError(line, absl::StrCat("{% ", name, " %} is not supported"));
  }

  // Behind "if" or "elif".
  absl::Status ParseIf(int line, Block* block) {
    Node node = NewNode(Kind::kIf);
    TESSERA_ASSIGN_OR_RETURN(node->expression, expressions_.Parse());
    TESSERA_RETURN_IF_ERROR(CloseTag());
    TESSERA_RETURN_IF_ERROR(ParseBlock(&node->body));
    if (AcceptTag("elif")) {
      // An elif is an `if` in the other branch, and its {% endif %} is that of both. A chain of
      // them is as deep as it is long.
      if (++depth_ > kDepthMax) return TemplateError(line, "too many elifs");
      TESSERA_RETURN_IF_ERROR(ParseIf(line, &node->otherwise));
      --depth_;
      block->push_back(std::move(node));
      return absl::OkStatus();
    }
    if (AcceptTag("else")) {
      TESSERA_RETURN_IF_ERROR(CloseTag());
      TESSERA_RETURN_IF_ERROR(ParseBlock(&node->otherwise));
    }
    TESSERA_RETURN_IF_ERROR(ExpectEnd("endif", line));
    block->push_back(std::move(node));
    return absl::OkStatus();
  }

  absl::Status ParseFor(Block* block) {
    Node node = NewNode(Kind::kFor);
    const bool in_parentheses = cursor_.AcceptOperator("(");
    do {
      TESSERA_ASSIGN_OR_RETURN(std::string target, cursor_.ExpectName());
      node->targets.push_back(std::move(target));
    } while (cursor_.AcceptOperator(","));
    if (in_parentheses) TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator(")"));
    if (!cursor_.AcceptName("in")) return cursor_.Expected("'in'");
    TESSERA_ASSIGN_OR_RETURN(node->expression, expressions_.Parse(/*allow_conditional=*/false));
    if (cursor_.AcceptName("if")) {
      TESSERA_ASSIGN_OR_RETURN(node->filter, expressions_.Parse());
    }
    if (cursor_.IsName("recursive"))
      return TemplateError(node->line, "recursive loops are not supported");
    TESSERA_RETURN_IF_ERROR(CloseTag());
    ++loops_;
    TESSERA_RETURN_IF_ERROR(ParseBlock(&node->body));
    --loops_;
    if (AcceptTag("else")) {
      TESSERA_RETURN_IF_ERROR(CloseTag());
      TESSERA_RETURN_IF_ERROR(ParseBlock(&node->otherwise));
    }
    TESSERA_RETURN_IF_ERROR(ExpectEnd("endfor", node->line));
    block->push_back(std::move(node));
    return absl::OkStatus();
  }

  absl::Status ParseSet(Block* block) {
    Node node = NewNode(Kind::kSet);
    do {
      TESSERA_ASSIGN_OR_RETURN(std::string target, cursor_.ExpectName());
      node->targets.push_back(std::move(target));
    } while (cursor_.AcceptOperator(","));
    if (node->targets.size() == 1 && cursor_.AcceptOperator(".")) {
      TESSERA_ASSIGN_OR_RETURN(node->attribute, cursor_.ExpectName());
    }
    if (cursor_.AcceptOperator("=")) {
      TESSERA_ASSIGN_OR_RETURN(node->expression, expressions_.ParseTuple());
      TESSERA_RETURN_IF_ERROR(CloseTag());
      block->push_back(std::move(node));
      return absl::OkStatus();
    }
    if (!node->attribute.empty() || node->targets.size() > 1) return cursor_.Expected("'='");
    node->kind = Kind::kSetBlock;
    if (cursor_.AcceptOperator("|")) {
      TESSERA_RETURN_IF_ERROR(ParseBlockFilters(node.get()));
    }
    TESSERA_RETURN_IF_ERROR(CloseTag());
    TESSERA_RETURN_IF_ERROR(ParseBlock(&node->body));
    TESSERA_RETURN_IF_ERROR(ExpectEnd("endset", node->line));
    block->push_back(std::move(node));
    return absl::OkStatus();
  }

  // Filters of a block's text, which they know by the empty name.
  absl::Status ParseBlockFilters(Statement* node) {
    auto text = std::make_unique<Expression>();
    text->kind = Expression::Kind::kName;
    text->line = node->line;
    TESSERA_ASSIGN_OR_RETURN(node->expression, expressions_.ParseFilters(std::move(text)));
    return absl::OkStatus();
  }

  absl::Status ParseFilter(Block* block) {
    Node node = NewNode(Kind::kFilter);
    TESSERA_RETURN_IF_ERROR(ParseBlockFilters(node.get()));
    TESSERA_RETURN_IF_ERROR(CloseTag());
    TESSERA_RETURN_IF_ERROR(ParseBlock(&node->body));
    TESSERA_RETURN_IF_ERROR(ExpectEnd("endfilter", node->line));
    block->push_back(std::move(node));
    return absl::OkStatus();
  }

  // {% generation %} marks what the model says, for training; it prints what stands in it.
  absl::Status ParseGeneration(Block* block) {
    Node node = NewNode(Kind::kGroup);
    TESSERA_RETURN_IF_ERROR(CloseTag());
    TESSERA_RETURN_IF_ERROR(ParseBlock(&node->body));
    TESSERA_RETURN_IF_ERROR(ExpectEnd("endgeneration", node->line));
    block->push_back(std::move(node));
    return absl::OkStatus();
  }

  absl::Status ParseMacro(Block* block) {
    Node node = NewNode(Kind::kMacro);
    MacroNode& macro = node->macro;
    TESSERA_ASSIGN_OR_RETURN(macro.name, cursor_.ExpectName());
    TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator("("));
    while (!cursor_.AcceptOperator(")")) {
      MacroNode::Parameter parameter;
      TESSERA_ASSIGN_OR_RETURN(parameter.name, cursor_.ExpectName());
      if (cursor_.AcceptOperator("=")) {
        TESSERA_ASSIGN_OR_RETURN(parameter.otherwise, expressions_.Parse());
      }
      macro.parameters.push_back(std::move(parameter));
      if (!cursor_.IsOperator(")")) TESSERA_RETURN_IF_ERROR(cursor_.ExpectOperator(","));
    }
    TESSERA_RETURN_IF_ERROR(CloseTag());
    const int outer_loops = std::exchange(loops_, 0);
    TESSERA_RETURN_IF_ERROR(ParseBlock(&macro.body));
    loops_ = outer_loops;
    TESSERA_RETURN_IF_ERROR(ExpectEnd("endmacro", node->line));
    block->push_back(std::move(node));
    return absl::OkStatus();
  }

  TokenCursor cursor_;
  ExpressionParser expressions_;
  int depth_ = 0;
  int loops_ = 0;  // around the cursor
};

}  // namespace

absl::StatusOr<Block> ParseTemplate(std::string_view source) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<TemplateToken> tokens, LexTemplate(source));
  return TemplateParser(tokens).Run();
}

}  // namespace tessera::gateway
