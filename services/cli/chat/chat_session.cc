#include "services/cli/chat/chat_session.h"

#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json_writer.h"
#include "services/cli/observe/expert_load.h"

namespace tessera::cli {
namespace {

constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kPlain = "\x1b[0m";
constexpr std::string_view kHelp =
    "/load   which experts work how much\n"
    "/reset  forget the conversation\n"
    "/quit   leave (so does Ctrl-D)\n";

std::string MessageJson(std::string_view role, std::string_view content,
                        std::string_view tool_call_id = {}) {
  std::string json;
  JsonWriter writer(json);
  writer.Open('{').Key("role").String(role).Key("content").String(content);
  if (!tool_call_id.empty()) writer.Key("tool_call_id").String(tool_call_id);
  writer.Close('}');
  return json;
}

std::string AnswerJson(const ChatAnswer& answer) {
  std::string json;
  JsonWriter writer(json);
  writer.Open('{').Key("role").String("assistant").Key("content").String(answer.content);
  if (!answer.calls.empty()) {
    writer.Key("tool_calls").Open('[');
    for (const ChatToolCall& call : answer.calls) {
      writer.Open('{').Key("id").String(call.id).Key("type").String("function");
      writer.Key("function").Open('{').Key("name").String(call.name);
      writer.Key("arguments").String(call.arguments).Close('}').Close('}');
    }
    writer.Close(']');
  }
  writer.Close('}');
  return json;
}

}  // namespace

std::string PlainText(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, which some terminals obey: C2 80 to C2 9F.
    if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      ++i;
    } else if ((byte >= 0x20 && byte != 0x7F) || byte == '\n' || byte == '\t') {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

absl::Status ChatSession::Run() {
  std::string line;
  for (ShowPrompt(); std::getline(in_, line); ShowPrompt()) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const std::string word(absl::StripAsciiWhitespace(line));
    absl::Status status;
    if (word.empty()) {
      continue;
    } else if (word == "/quit" || word == "/exit") {
      return absl::OkStatus();
    } else if (word == "/reset") {
      history_.clear();
      open_calls_.clear();
    } else if (word == "/load") {
      status = ShowLoad();
    } else if (config_.is_interactive && word.starts_with('/')) {
      out_ << kHelp;
    } else {
      status = Ask(line);
    }
    if (status.ok()) continue;
    if (!config_.is_interactive) return status;
    err_ << status.message() << std::endl;
  }
  if (config_.is_interactive) out_ << std::endl;
  return absl::OkStatus();
}

void ChatSession::ShowPrompt() {
  if (!config_.is_interactive) return;
  if (open_calls_.empty()) {
    out_ << "> " << std::flush;
  } else {
    out_ << "result of " << PlainText(open_calls_.front().name) << "> " << std::flush;
  }
}

void ChatSession::Print(std::string_view text, bool dimmed) {
  if (config_.uses_color && dimmed != is_dimmed_) out_ << (dimmed ? kDim : kPlain);
  is_dimmed_ = dimmed;
  if (config_.is_interactive || config_.uses_color) {
    out_ << PlainText(text) << std::flush;
  } else {
    out_ << text << std::flush;
  }
}

void ChatSession::ShowCalls(const ChatAnswer& answer) {
  for (const ChatToolCall& call : answer.calls) {
    Print(absl::StrCat("[call] ", call.name, "(", call.arguments, ")\n"), false);
  }
}

std::string ChatSession::Body() const {
  std::string body;
  JsonWriter json(body);
  json.Open('{');
  if (!config_.model.empty()) json.Key("model").String(config_.model);
  json.Key("stream").Bool(true).Key("stream_options");
  json.Open('{').Key("include_usage").Bool(true).Close('}');
  if (config_.temperature >= 0) {
    json.Key("temperature").Number(static_cast<float>(config_.temperature));
  }
  if (config_.max_tokens > 0) {
    json.Key("max_tokens").Integer(static_cast<int64_t>(config_.max_tokens));
  }
  if (!config_.tools_json.empty()) json.Key("tools").Raw(config_.tools_json);
  json.Key("messages").Open('[');
  if (!config_.system.empty()) json.Raw(MessageJson("system", config_.system));
  for (const Message& message : history_) json.Raw(message.json);
  json.Close(']').Close('}');
  return body;
}

absl::Status ChatSession::Ask(const std::string& line) {
  const size_t known = history_.size();
  std::optional<ChatToolCall> answered;
  if (open_calls_.empty()) {
    history_.push_back({MessageJson("user", line)});
  } else {
    answered = std::move(open_calls_.front());
    open_calls_.pop_front();
    history_.push_back({MessageJson("tool", line, answered->id)});
    if (!open_calls_.empty()) return absl::OkStatus();  // results of the others are missing
  }
  bool in_reasoning = false;
  ChatStream stream({.reasoning =
                         [&](std::string_view text) {
                           if (config_.is_interactive) Print(text, true);
                           in_reasoning = true;
                         },
                     .content =
                         [&](std::string_view text) {
                           if (std::exchange(in_reasoning, false) && config_.is_interactive) {
                             Print("\n", true);
                           }
                           Print(text, false);
                         }});
  const auto take = [&stream](std::string_view piece) { return stream.Push(piece); };
  const absl::StatusOr<HttpAnswer> reply = client_.PostJson("/v1/chat/completions", Body(), take);
  absl::Status status = reply.status();
  if (status.ok() && reply->status != 200) status = ErrorOf(reply->status, reply->body);
  if (status.ok() && !stream.is_done()) {
    status = absl::UnavailableError("the answer broke off before its end");
  }
  Print("\n", false);
  if (!status.ok()) {
    // The line can be sent again.
    history_.resize(known);
    if (answered.has_value()) open_calls_.push_front(*std::move(answered));
    return status;
  }
  ShowCalls(stream.answer());
  if (config_.is_interactive && stream.answer().finish_reason == "length") {
    Print("[the answer ends here because of its length]\n", true);
    Print("", false);
  }
  Remember(stream.answer());
  return absl::OkStatus();
}

void ChatSession::Remember(const ChatAnswer& answer) {
  history_.push_back({AnswerJson(answer)});
  open_calls_.assign(answer.calls.begin(), answer.calls.end());
}

absl::Status ChatSession::ShowLoad() {
  TESSERA_ASSIGN_OR_RETURN(const HttpAnswer reply, client_.Fetch("/v1/experts/load"));
  if (reply.status == 404) {
    return absl::UnimplementedError("this gateway does not tell the load of its experts");
  }
  if (reply.status != 200) return ErrorOf(reply.status, reply.body);
  TESSERA_ASSIGN_OR_RETURN(const ExpertLoad load, ParseExpertLoad(reply.body));
  out_ << PlainText(DrawExpertLoad(load)) << std::endl;
  return absl::OkStatus();
}

}  // namespace tessera::cli
