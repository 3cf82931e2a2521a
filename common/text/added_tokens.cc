#include "common/text/added_tokens.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace tessera {
namespace {

absl::StatusOr<AddedToken> ParseToken(const JsonValue& json) {
  AddedToken token;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue content_json, json.Member("content"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view content, content_json.AsString());
  token.content = content;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue id_json, json.Member("id"));
  TESSERA_ASSIGN_OR_RETURN(const int64_t id, id_json.AsInteger(0, (1 << 24) - 1));
  token.id = static_cast<TokenId>(id);
  const std::pair<std::string_view, bool*> flags[] = {{"special", &token.special},
                                                      {"single_word", &token.single_word},
                                                      {"lstrip", &token.lstrip},
                                                      {"rstrip", &token.rstrip},
                                                      {"normalized", &token.normalized}};
  for (const auto& [key, flag] : flags) {
    const std::optional<JsonValue> value = json.Find(key);
    if (!value.has_value()) continue;
    TESSERA_ASSIGN_OR_RETURN(*flag, value->AsBool());
  }
  return token;
}

// Where the white space that ends at `end` begins.
size_t SpaceBegin(std::string_view text, size_t end, const UnicodeProperties& properties) {
  while (end > 0) {
    const size_t start = PreviousStart(text, end);
    size_t at = start;
    if (!properties.IsSpace(NextCodePoint(text, &at))) break;
    end = start;
  }
  return end;
}

// Where the white space that begins at `begin` ends.
size_t SpaceEnd(std::string_view text, size_t begin, const UnicodeProperties& properties) {
  while (begin < text.size()) {
    size_t at = begin;
    if (!properties.IsSpace(NextCodePoint(text, &at))) break;
    begin = at;
  }
  return begin;
}

bool StandsAlone(std::string_view text, TextSpan span, const UnicodeProperties& properties) {
  if (span.begin > 0) {
    size_t at = PreviousStart(text, span.begin);
    if (properties.IsWord(NextCodePoint(text, &at))) return false;
  }
  size_t at = span.end;
  return at == text.size() || !properties.IsWord(NextCodePoint(text, &at));
}

}  // namespace

StringFinder::StringFinder(const std::vector<std::string>& strings) {
  std::vector<uint32_t> order(strings.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return strings[a] < strings[b]; });
  // The strings of a node are those of a range of `order` that share the node's depth of bytes.
  struct Task {
    uint32_t node;
    size_t begin;
    size_t end;
    size_t depth;
  };
  nodes_.emplace_back();
  std::vector<Task> tasks = {{0, 0, order.size(), 0}};
  for (size_t next = 0; next < tasks.size(); ++next) {
    const Task task = tasks[next];
    size_t at = task.begin;
    while (at < task.end && strings[order[at]].size() == task.depth) {
      if (nodes_[task.node].index < 0 && task.depth > 0) {
        nodes_[task.node].index = static_cast<int32_t>(order[at]);
      }
      ++at;
    }
    nodes_[task.node].first_edge = static_cast<uint32_t>(edges_.size());
    while (at < task.end) {
      const char byte = strings[order[at]][task.depth];
      const size_t begin = at;
      while (at < task.end && strings[order[at]][task.depth] == byte) ++at;
      const auto child = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      edges_.push_back({static_cast<unsigned char>(byte), child});
      ++nodes_[task.node].edge_count;
      tasks.push_back({child, begin, at, task.depth + 1});
      if (task.node == 0) starts_[static_cast<unsigned char>(byte)] = true;
    }
  }
}

uint32_t StringFinder::Child(const Node& node, unsigned char byte) const {
  const Edge* first = edges_.data() + node.first_edge;
  const Edge* last = first + node.edge_count;
  if (node.edge_count > 8) {
    first = std::lower_bound(first, last, byte,
                             [](const Edge& edge, unsigned char b) { return edge.byte < b; });
    return first != last && first->byte == byte ? first->node : 0;
  }
  for (; first != last; ++first) {
    if (first->byte == byte) return first->node;
  }
  return 0;
}

bool StringFinder::Find(std::string_view text, size_t from, Match* match) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<unsigned char>(text[begin])]) continue;
    bool found = false;
    uint32_t node = 0;
    for (size_t at = begin; at < text.size();) {
      node = Child(nodes_[node], static_cast<unsigned char>(text[at++]));
      if (node == 0) break;
      if (nodes_[node].index >= 0) {
        found = true;
        match->span = {static_cast<uint32_t>(begin), static_cast<uint32_t>(at)};
        match->index = static_cast<uint32_t>(nodes_[node].index);
      }
    }
    if (found) return true;
  }
  return false;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& raw,
                         const std::vector<std::string>& normalized)
    : tokens_(std::move(tokens)), raw_(raw), normalized_(normalized) {
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    (tokens_[i].normalized ? normalized_order_ : raw_order_).push_back(i);
    by_id_[tokens_[i].id] = i;
    by_content_[tokens_[i].content] = i;
  }
}

absl::StatusOr<AddedTokens> AddedTokens::FromJson(const JsonValue& json, const BpeModel& model,
                                                  const Normalizer* normalizer) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> raw;
  std::vector<std::string> normalized;
  std::map<std::string, TokenId, std::less<>> ids;
  std::map<TokenId, std::string> contents;
  RegexScratch scratch;
  if (!json.is_null()) TESSERA_RETURN_IF_ERROR(json.AsArray().status());
  for (const JsonValue element : json.elements()) {
    TESSERA_ASSIGN_OR_RETURN(AddedToken token, ParseToken(element));
    if (token.content.empty()) continue;
    const TokenId known = model.IdOf(token.content);
    if (known >= 0 && known != token.id) {
      return element.Unexpected(absl::StrCat("id ", known, ", which the vocabulary gives it"));
    }
    if (known < 0 && !model.PieceOf(token.id).empty()) {
      return element.Unexpected("an id that the vocabulary does not give to another piece");
    }
    const bool is_new = ids.try_emplace(token.content, token.id).second;
    if (ids[token.content] != token.id ||
        contents.try_emplace(token.id, token.content).first->second != token.content) {
      return element.Unexpected("an id of its own, the same wherever the token stands");
    }
    if (!is_new) continue;
    if (token.normalized) {
      std::string form = token.content;
      if (normalizer != nullptr) TESSERA_RETURN_IF_ERROR(normalizer->Normalize(scratch, &form));
      normalized.push_back(std::move(form));
    } else {
      raw.push_back(token.content);
    }
    tokens.push_back(std::move(token));
  }
  return AddedTokens(std::move(tokens), raw, normalized);
}

absl::Status AddedTokens::Cut(std::string_view text, bool is_normalized,
                              const UnicodeProperties& properties, Visit visit) const {
  const StringFinder& finder = is_normalized ? normalized_ : raw_;
  const std::vector<uint32_t>& order = is_normalized ? normalized_order_ : raw_order_;
  size_t done = 0;
  size_t from = 0;
  StringFinder::Match match;
  while (!order.empty() && finder.Find(text, from, &match)) {
    from = match.span.end;
    const AddedToken& token = tokens_[order[match.index]];
    if (token.single_word && !StandsAlone(text, match.span, properties)) continue;
    size_t begin = match.span.begin;
    size_t end = match.span.end;
    // White space that an earlier token took stays with that one.
    if (token.lstrip) begin = std::max(SpaceBegin(text, begin, properties), done);
    if (token.rstrip) end = SpaceEnd(text, end, properties);
    if (done < begin) {
      TESSERA_RETURN_IF_ERROR(
          visit({static_cast<uint32_t>(done), static_cast<uint32_t>(begin)}, nullptr));
    }
    TESSERA_RETURN_IF_ERROR(
        visit({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)}, &token));
    done = end;
  }
  if (done >= text.size()) return absl::OkStatus();
  return visit({static_cast<uint32_t>(done), static_cast<uint32_t>(text.size())}, nullptr);
}

const AddedToken* AddedTokens::FindId(TokenId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::FindContent(std::string_view content) const {
  const auto it = by_content_.find(std::string(content));
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

}  // namespace tessera
