#include "services/trainer/eval/eval_command.h"

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/concurrency/thread_pool.h"
#include "common/http/http_client.h"
#include "common/json/json_writer.h"
#include "services/cli/chat/chat_stream.h"
#include "services/trainer/eval/chat_body.h"
#include "services/trainer/eval/items.h"

namespace tessera::trainer {
namespace {

struct EvalOptions {
  std::string address = "127.0.0.1:8000";
  std::string skill;
  size_t items = 200;
  size_t seed = 1;
  size_t parallel = 8;
  size_t tokens_max = 300;
  size_t wrong = 0;
  bool json = false;
};

struct ItemResult {
  absl::Status status;
  bool is_right = false;
  ChatReply reply;
};

struct SkillResult {
  const EvalSkill* skill;
  size_t right = 0;
  size_t prompt_tokens_min = SIZE_MAX;
  size_t prompt_tokens_max = 0;
};

absl::StatusOr<ChatReply> Ask(const HttpClient& client, const std::string& body) {
  std::string text;
  const auto keep = [&](std::string_view piece) {
    text.append(piece);
    return absl::OkStatus();
  };
  TESSERA_ASSIGN_OR_RETURN(const HttpAnswer answer,
                           client.PostJson("/v1/chat/completions", body, keep));
  if (answer.status != 200) return cli::ErrorOf(answer.status, answer.body);
  return ReadReply(text);
}

ItemResult RunItem(const EvalSkill& skill, size_t index, const EvalOptions& options,
                   const HttpClient& client) {
  const Conversation item = MakeItem(skill.name, options.seed, index);
  const std::string body = ChatBody(item, item.messages.size() - 1, options.tokens_max);
  ItemResult result;
  absl::StatusOr<ChatReply> reply = Ask(client, body);
  if (!reply.ok()) {
    result.status = reply.status();
    return result;
  }
  result.reply = *std::move(reply);
  result.is_right = IsRight(item, skill.scoring, result.reply);
  return result;
}

std::string CallsText(const std::vector<std::pair<std::string, std::string>>& calls) {
  std::string text;
  for (const auto& [name, arguments] : calls) absl::StrAppend(&text, " ", name, arguments);
  return text;
}

void PrintWrong(const EvalSkill& skill, const std::vector<ItemResult>& results,
                const EvalOptions& options, const cli::Streams& streams) {
  size_t left = options.wrong;
  for (size_t i = 0; i < results.size() && left > 0; ++i) {
    if (results[i].is_right) continue;
    --left;
    const Conversation item = MakeItem(skill.name, options.seed, i);
    const Message& expected = item.messages.back();
    const size_t asked = item.messages.size() - 2;
    streams.err << skill.name << " " << i << "\n  asked     " << item.messages[asked].content
                << "\n  expected  " << expected.content;
    for (const ToolCall& call : expected.calls) {
      streams.err << " " << call.name;
      for (const auto& [key, value] : call.arguments) streams.err << " " << key << "=" << value;
    }
    streams.err << "\n  answered  " << results[i].reply.content << CallsText(results[i].reply.calls)
                << "\n";
    if (!results[i].reply.reasoning.empty()) {
      streams.err << "  thought   " << results[i].reply.reasoning << "\n";
    }
  }
}

absl::StatusOr<SkillResult> RunSkill(const EvalSkill& skill, const EvalOptions& options,
                                     const HttpClient& client, ThreadPool& pool,
                                     const cli::Streams& streams) {
  std::vector<ItemResult> results(options.items);
  pool.ParallelFor(options.items, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end; ++i) results[i] = RunItem(skill, i, options, client);
  });
  SkillResult sum{.skill = &skill};
  for (const ItemResult& result : results) {
    TESSERA_RETURN_IF_ERROR(result.status);
    sum.right += result.is_right ? 1 : 0;
    sum.prompt_tokens_min = std::min(sum.prompt_tokens_min, result.reply.prompt_tokens);
    sum.prompt_tokens_max = std::max(sum.prompt_tokens_max, result.reply.prompt_tokens);
  }
  PrintWrong(skill, results, options, streams);
  return sum;
}

void PrintRow(const SkillResult& result, const EvalOptions& options, const cli::Streams& streams) {
  streams.out << absl::StreamFormat(
                     "| %-14s | %4d / %d | %5.1f %% | %d-%d | %s |\n", result.skill->name,
                     result.right, options.items,
                     100.0 * static_cast<double>(result.right) / static_cast<double>(options.items),
                     result.prompt_tokens_min, result.prompt_tokens_max, result.skill->what)
              << std::flush;
}

void PrintJson(const std::vector<SkillResult>& results, const EvalOptions& options,
               const cli::Streams& streams) {
  std::string text;
  JsonWriter json(text);
  json.Open('{').Key("items").Integer(static_cast<int64_t>(options.items));
  json.Key("seed").Integer(static_cast<int64_t>(options.seed)).Key("skills").Open('{');
  for (const SkillResult& result : results) {
    json.Key(result.skill->name).Open('{');
    json.Key("right").Integer(static_cast<int64_t>(result.right));
    json.Key("share").Number(static_cast<float>(result.right) / static_cast<float>(options.items));
    json.Key("prompt_tokens_max").Integer(static_cast<int64_t>(result.prompt_tokens_max));
    json.Close('}');
  }
  json.Close('}').Close('}');
  streams.out << text << std::endl;
}

absl::Status Evaluate(const EvalOptions& options, const cli::Streams& streams) {
  if (options.items == 0 || options.parallel == 0 || options.parallel > 256) {
    return absl::InvalidArgumentError("--items must be over 0, --parallel from 1 to 256");
  }
  TESSERA_ASSIGN_OR_RETURN(const HttpClient client, HttpClient::For(options.address, {}));
  // The threads wait for answers: none of them computes.
  ThreadPool pool({.thread_count = options.parallel, .spin_rounds = 0});
  std::vector<SkillResult> results;
  for (const EvalSkill& skill : EvalSkills()) {
    if (!options.skill.empty() && skill.name != options.skill) continue;
    TESSERA_ASSIGN_OR_RETURN(const SkillResult result,
                             RunSkill(skill, options, client, pool, streams));
    results.push_back(result);
    if (!options.json) PrintRow(result, options, streams);
  }
  if (results.empty()) {
    std::string names;
    for (const EvalSkill& skill : EvalSkills()) names.append(" ").append(skill.name);
    return absl::InvalidArgumentError(
        absl::StrCat("--skill=", options.skill, " is not one of", names));
  }
  if (options.json) PrintJson(results, options, streams);
  return absl::OkStatus();
}

}  // namespace

int RunEval(std::span<const std::string_view> args, const cli::Streams& streams) {
  EvalOptions options;
  cli::FlagSet flags("eval [--address=HOST:PORT] [--skill=S]",
                     "Asks a served model held-out items, greedily, and counts right answers.",
                     "tessera-train");
  flags.Add("address", &options.address, "of a gateway's HTTP API");
  flags.Add("skill", &options.skill, "only this one; empty: all");
  flags.Add("items", &options.items, "of each skill");
  flags.Add("seed", &options.seed, "of the items");
  flags.Add("parallel", &options.parallel, "requests at a time");
  flags.Add("tokens_max", &options.tokens_max, "of reasoning and answer together");
  flags.Add("wrong", &options.wrong, "wrong answers of each skill to show");
  flags.Add("json", &options.json, "one JSON object instead of a table");
  return cli::RunWithFlags(flags, args, streams, [&] { return Evaluate(options, streams); });
}

}  // namespace tessera::trainer
