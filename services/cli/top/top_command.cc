#include "services/cli/top/top_command.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/http/http_client.h"
#include "common/json/json.h"
#include "common/rpc/stop_signals.h"
#include "services/cli/chat/chat_stream.h"
#include "services/cli/process/cluster_file.h"
#include "services/cli/top/top_frame.h"

namespace tessera::cli {
namespace {

// Cursor home; what is behind the frame goes, so that a shorter one leaves nothing.
constexpr char kHome[] = "\x1b[H";
constexpr char kClear[] = "\x1b[2J";
constexpr char kClearLine[] = "\x1b[K\n";
constexpr char kClearBelow[] = "\x1b[J";
constexpr size_t kTrailMax = 512;  // looks; more than a screen is wide

struct TopOptions {
  std::string address;
  std::string state_dir = ".tessera";
  std::string api_key_file;
  double interval_seconds = 1;
  bool once = false;
  size_t width = 0;
};

absl::StatusOr<std::string> ReadKey(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read '", path, "'"));
  const std::string text(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>{});
  return std::string(absl::StripAsciiWhitespace(text));
}

// The first served model; empty if it cannot be told.
std::string ModelOf(const HttpClient& client) {
  const absl::StatusOr<HttpAnswer> answer = client.Fetch("/v1/models");
  if (!answer.ok() || answer->status != 200) return "";
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(answer->body);
  if (!document.ok()) return "";
  const std::optional<JsonValue> data = document->root().Find("data");
  if (!data) return "";
  for (const JsonValue model : data->elements()) {
    const std::optional<JsonValue> id = model.Find("id");
    if (!id) return "";
    const absl::StatusOr<std::string_view> name = id->AsString();
    return name.ok() ? std::string(*name) : "";
  }
  return "";
}

// kUnavailable and the like if the gateway does not answer at all. `model` is asked for while it is
// empty.
absl::StatusOr<ClusterSight> LookAt(const HttpClient& client, const Clock& clock,
                                    std::string& model) {
  ClusterSight sight;
  sight.address = client.address();
  TESSERA_ASSIGN_OR_RETURN(const HttpAnswer ready, client.Fetch("/readyz"));
  if (ready.status != 200) {
    sight.not_ready = std::string(absl::StripAsciiWhitespace(ready.body));
  }
  if (model.empty()) model = ModelOf(client);
  sight.model = model;
  TESSERA_ASSIGN_OR_RETURN(const HttpAnswer metrics, client.Fetch("/metrics"));
  if (metrics.status == 200) sight.metrics.emplace(metrics.body);
  TESSERA_ASSIGN_OR_RETURN(const HttpAnswer reply, client.Fetch("/v1/experts/load"));
  sight.looked_at = clock.Elapsed();
  if (reply.status != 200) {
    sight.load_error = std::string(ErrorOf(reply.status, reply.body).message());
    return sight;
  }
  absl::StatusOr<ExpertLoad> load = ParseExpertLoad(reply.body);
  if (load.ok()) {
    sight.load = *std::move(load);
  } else {
    sight.load_error = std::string(load.status().message());
  }
  return sight;
}

FrameStyle StyleFor(const TopOptions& options, bool is_terminal) {
  FrameStyle style;
  style.uses_color = is_terminal;
  winsize size{};
  if (is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    style.width = size.ws_col;
    // A line is left free: the last one would scroll the screen.
    if (!options.once && size.ws_row > 1) style.height = size.ws_row - 1u;
  }
  if (options.width > 0) style.width = options.width;
  return style;
}

// True: a signal came.
bool Pause(const StopSignals& signals, double seconds) {
  pollfd entry{.fd = signals.fd(), .events = POLLIN, .revents = 0};
  return poll(&entry, 1, static_cast<int>(seconds * 1000)) > 0;
}

absl::Status ShowOnce(const TopOptions& options, const HttpClient& client, const Clock& clock,
                      const StopSignals& signals, const Streams& streams) {
  std::string model;
  TESSERA_ASSIGN_OR_RETURN(const ClusterSight before, LookAt(client, clock, model));
  if (Pause(signals, options.interval_seconds)) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const ClusterSight now, LookAt(client, clock, model));
  streams.out << DrawFrame(now, &before, StyleFor(options, IsTerminal(streams.out))) << std::flush;
  return absl::OkStatus();
}

absl::Status ShowOn(const TopOptions& options, const HttpClient& client, const Clock& clock,
                    const StopSignals& signals, const Streams& streams) {
  std::optional<ClusterSight> before;
  std::vector<BalanceSight> trail;
  std::string model;
  streams.out << kClear;
  do {
    absl::StatusOr<ClusterSight> now = LookAt(client, clock, model);
    std::string frame;
    if (now.ok()) {
      frame = DrawFrame(*now, before ? &*before : nullptr, StyleFor(options, true), trail);
      if (now->load) trail.push_back(BalanceOf(*now->load));
      if (trail.size() > kTrailMax) trail.erase(trail.begin());
      before = *std::move(now);
    } else {  // it may be starting anew
      frame = absl::StrCat(client.address(), ": ", std::string(now.status().message()), "\n");
      before.reset();
      model.clear();
    }
    streams.out << kHome << absl::StrReplaceAll(frame, {{"\n", kClearLine}}) << kClearBelow
                << std::flush;
  } while (!Pause(signals, options.interval_seconds));
  streams.out << std::endl;
  return absl::OkStatus();
}

absl::Status Top(TopOptions& options, const Streams& streams) {
  if (!(options.interval_seconds >= 0.1 && options.interval_seconds <= 3600)) {
    return absl::InvalidArgumentError("--interval_seconds must be at least 0.1 and at most 3600");
  }
  HttpClientConfig http;
  http.silence_max = absl::Seconds(5);
  if (!options.api_key_file.empty()) {
    TESSERA_ASSIGN_OR_RETURN(http.bearer, ReadKey(options.api_key_file));
  }
  if (options.address.empty()) {
    TESSERA_ASSIGN_OR_RETURN(options.address, GatewayAddressOf(options.state_dir));
  }
  TESSERA_ASSIGN_OR_RETURN(const HttpClient client, HttpClient::For(options.address, http));
  const StopSignals signals;
  const RealClock clock;
  const bool once = options.once || !IsTerminal(streams.out);
  return once ? ShowOnce(options, client, clock, signals, streams)
              : ShowOn(options, client, clock, signals, streams);
}

}  // namespace

int RunTop(std::span<const std::string_view> args, const Streams& streams) {
  TopOptions options;
  FlagSet flags("top",
                "Shows a running cluster: speed, shards, which experts work. Ctrl-C leaves it.");
  flags.Add("address", &options.address, "of a gateway, host:port");
  flags.Add("state_dir", &options.state_dir, "else: the folder of the `tessera up` that runs");
  flags.Add("api_key_file", &options.api_key_file,
            "file that holds an admin key, if keys are used");
  flags.Add("interval_seconds", &options.interval_seconds, "between two looks, 0.1 at least");
  flags.Add("once", &options.once, "one picture, then the end; so it is without a terminal");
  flags.Add("width", &options.width, "columns; 0: the terminal's, or 80");
  return RunWithFlags(flags, args, streams, [&] { return Top(options, streams); });
}

}  // namespace tessera::cli
