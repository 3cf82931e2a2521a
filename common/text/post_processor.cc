#include "common/text/post_processor.h"

#include <optional>
#include <string_view>

#include "common/base/status.h"

namespace tessera {
namespace {

constexpr int kDepthMax = 16;
constexpr size_t kTemplateMax = 1024;
constexpr int64_t kIdMax = (1 << 24) - 1;

absl::Status AppendSpecial(const JsonValue& json, const JsonValue& processor,
                           std::vector<TokenId>* out) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue name_json, json.Member("id"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view name, name_json.AsString());
  TESSERA_ASSIGN_OR_RETURN(const JsonValue tokens, processor.Member("special_tokens"));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue token, tokens.Member(name));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue ids_json, token.Member("ids"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements ids, ids_json.AsArray());
  for (const JsonValue id_json : ids) {
    TESSERA_ASSIGN_OR_RETURN(const int64_t id, id_json.AsInteger(0, kIdMax));
    out->push_back(static_cast<TokenId>(id));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> ParseTemplate(const JsonValue& json) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue single, json.Member("single"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements parts, single.AsArray());
  std::vector<TokenId> out;
  for (const JsonValue part : parts) {
    if (const std::optional<JsonValue> special = part.Find("SpecialToken")) {
      TESSERA_RETURN_IF_ERROR(AppendSpecial(*special, json, &out));
    } else if (part.Find("Sequence").has_value()) {
      out.push_back(kTextPlace);
    } else {
      return part.Unexpected("an object with the member SpecialToken or Sequence");
    }
    if (out.size() > kTemplateMax) return single.Unexpected("at most 1024 tokens");
  }
  return out;
}

// ["<s>", 1] of BertProcessing and RobertaProcessing.
absl::StatusOr<TokenId> PairedId(const JsonValue& json, std::string_view key) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue pair, json.Member(key));
  if (pair.size() != 2 || !pair.is_array()) return pair.Unexpected("a token and its id");
  TESSERA_ASSIGN_OR_RETURN(const int64_t id, pair.at(1).AsInteger(0, kIdMax));
  return static_cast<TokenId>(id);
}

// Puts what a processor makes around what the ones before it made.
std::vector<TokenId> Nest(const std::vector<TokenId>& outer, const std::vector<TokenId>& inner) {
  std::vector<TokenId> out;
  for (const TokenId id : outer) {
    if (id == kTextPlace) {
      out.insert(out.end(), inner.begin(), inner.end());
    } else {
      out.push_back(id);
    }
  }
  return out;
}

absl::StatusOr<std::vector<TokenId>> Parse(const JsonValue& json, int depth) {
  const std::vector<TokenId> plain = {kTextPlace};
  if (json.is_null()) return plain;
  if (depth > kDepthMax) return json.Unexpected("post-processors nested at most 16 deep");
  TESSERA_ASSIGN_OR_RETURN(const JsonValue type_json, json.Member("type"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view type, type_json.AsString());
  if (type == "ByteLevel") return plain;
  if (type == "TemplateProcessing") return ParseTemplate(json);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    TESSERA_ASSIGN_OR_RETURN(const TokenId cls, PairedId(json, "cls"));
    TESSERA_ASSIGN_OR_RETURN(const TokenId sep, PairedId(json, "sep"));
    return std::vector<TokenId>{cls, kTextPlace, sep};
  }
  if (type == "Sequence") {
    TESSERA_ASSIGN_OR_RETURN(const JsonValue list, json.Member("processors"));
    TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, list.AsArray());
    std::vector<TokenId> all = plain;
    for (const JsonValue element : elements) {
      TESSERA_ASSIGN_OR_RETURN(const std::vector<TokenId> outer, Parse(element, depth + 1));
      all = Nest(outer, all);
      if (all.size() > kTemplateMax) return list.Unexpected("at most 1024 tokens in all");
    }
    return all;
  }
  return type_json.Unexpected(
      "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel or Sequence");
}

}  // namespace

absl::StatusOr<std::vector<TokenId>> ParsePostProcessor(const JsonValue& json) {
  return Parse(json, 0);
}

}  // namespace tessera
