#include "services/cli/chat/chat_command.h"

#include <ostream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/http/http_client.h"
#include "common/json/json.h"
#include "services/cli/chat/chat_session.h"
#include "services/cli/process/cluster_file.h"

namespace tessera::cli {
namespace {

struct ChatOptions {
  std::string address;
  std::string state_dir = ".tessera";
  std::string api_key_file;
  std::string tools_file;
  double silence_seconds = 60;
  ChatSessionConfig session;
};

absl::Status Chat(ChatOptions& options, const Streams& streams) {
  HttpClientConfig http;
  if (options.silence_seconds <= 0) {
    return absl::InvalidArgumentError("--silence_seconds must be above 0");
  }
  http.silence_max = absl::Seconds(options.silence_seconds);
  if (!options.api_key_file.empty()) {
    TESSERA_ASSIGN_OR_RETURN(const std::string key, ReadWholeFile(options.api_key_file));
    http.bearer = std::string(absl::StripAsciiWhitespace(key));
  }
  if (!options.tools_file.empty()) {
    TESSERA_ASSIGN_OR_RETURN(options.session.tools_json, ReadWholeFile(options.tools_file));
    const auto tools = JsonDocument::Parse(options.session.tools_json);
    if (!tools.ok()) return Annotate(tools.status(), options.tools_file);
    if (!tools->root().is_array()) return tools->root().Unexpected("an array of tools");
  }
  if (options.address.empty()) {
    TESSERA_ASSIGN_OR_RETURN(options.address, GatewayAddressOf(options.state_dir));
  }
  TESSERA_ASSIGN_OR_RETURN(const HttpClient client, HttpClient::For(options.address, http));
  options.session.is_interactive = IsTerminal(streams.in);
  options.session.uses_color = IsTerminal(streams.out);
  ChatSession session(options.session, client, streams.in, streams.out, streams.err);
  return session.Run();
}

}  // namespace

int RunChat(std::span<const std::string_view> args, const Streams& streams) {
  ChatOptions options;
  FlagSet flags("chat", "Talks to the gateway of a running cluster. /load, /reset, /quit.");
  flags.Add("address", &options.address, "of a gateway, host:port");
  flags.Add("state_dir", &options.state_dir, "else: the folder of the `tessera up` that runs");
  flags.Add("model", &options.session.model, "else: the one that is served");
  flags.Add("system", &options.session.system, "how the model is told to be");
  flags.Add("temperature", &options.session.temperature,
            "0: the most likely token each time; below 0: the model's own default");
  flags.Add("max_tokens", &options.session.max_tokens,
            "of an answer, at most; 0: what the context leaves");
  flags.Add("tools_file", &options.tools_file,
            "JSON array of tools the model may call; the next line is a call's result");
  flags.Add("api_key_file", &options.api_key_file, "file that holds the API key");
  flags.Add("silence_seconds", &options.silence_seconds, "without a byte for so long: given up");
  return RunWithFlags(flags, args, streams, [&] { return Chat(options, streams); });
}

}  // namespace tessera::cli
