#include "services/cli/generate_command.h"

#include <unistd.h>

#include <limits>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/in_range.h"
#include "common/base/status.h"
#include "services/cli/process/cluster_file.h"
#include "services/cli/token_ids.h"
#include "services/cli/upstream/generation_client.h"

namespace tessera::cli {
namespace {

struct GenerateOptions {
  std::string ids;
  std::string address;
  std::string state_dir = ".tessera";
  size_t max_tokens = 16;
  double temperature = 0;
  size_t seed = 0;
  size_t logprobs = 0;
  bool ignore_eos = false;
  bool stream = false;
  double timeout_seconds = 600;
};

// A flag as the 32 bits that the request has for it.
absl::StatusOr<uint32_t> Narrow(const char* flag, size_t value) {
  TESSERA_RETURN_IF_ERROR(
      InRange(flag, static_cast<double>(value), 0, std::numeric_limits<uint32_t>::max()));
  return static_cast<uint32_t>(value);
}

// The router of the cluster that runs in a state folder.
absl::StatusOr<std::string> RouterOf(const std::string& state_dir) {
  const std::string file = state_dir + "/cluster.json";
  TESSERA_ASSIGN_OR_RETURN(const std::vector<ClusterProcess> processes, ReadClusterFile(file));
  for (const ClusterProcess& process : processes) {
    const std::string* grpc = process.Endpoint("grpc");
    if (process.role == "router" && grpc != nullptr) return *grpc;
  }
  return absl::UnavailableError(absl::StrCat(file, " names no router; it may be starting"));
}

// Ids on one line as they come; with --stream or --logprobs each on a line of its own.
class Printer {
 public:
  Printer(bool lines, bool logprobs, std::ostream& out)
      : lines_(lines), logprobs_(logprobs), out_(out) {}

  void Print(const wire::TokensEvent& event) {
    for (const wire::TokenOutput& token : event.tokens) {
      if (!lines_) out_ << (first_ ? "" : ",");
      out_ << token.token;
      if (logprobs_) PrintScores(token);
      if (lines_) out_ << "\n";
      first_ = false;
    }
    out_ << std::flush;
  }
  void End() {
    if (!lines_) out_ << std::endl;
  }

 private:
  void PrintScores(const wire::TokenOutput& token) {
    if (token.logprob.has_value()) out_ << absl::StreamFormat(" %.6f", *token.logprob);
    for (const wire::TokenScore& score : token.top) {
      out_ << absl::StreamFormat(" %d:%.6f", score.token, score.logprob);
    }
  }

  const bool lines_;
  const bool logprobs_;
  std::ostream& out_;
  bool first_ = true;
};

absl::Status Generate(const FlagSet& flags, const GenerateOptions& options,
                      const Streams& streams) {
  if (options.ids.empty()) return absl::InvalidArgumentError("generate needs --ids=1,2,3");
  const RealClock clock;
  wire::GenerationParams params;
  TESSERA_ASSIGN_OR_RETURN(params.prompt, ParseTokenIds(options.ids));
  params.request_id = absl::StrCat("generate-", getpid());
  TESSERA_ASSIGN_OR_RETURN(params.tokens_max, Narrow("--max_tokens", options.max_tokens));
  params.sampling.temperature = static_cast<float>(options.temperature);
  params.ignore_eos = options.ignore_eos;
  if (flags.given("seed")) params.sampling.seed = options.seed;
  if (flags.given("logprobs")) {
    TESSERA_ASSIGN_OR_RETURN(params.logprobs, Narrow("--logprobs", options.logprobs));
  }
  if (options.address.empty()) {
    const absl::StatusOr<std::string> router = RouterOf(options.state_dir);
    if (absl::IsNotFound(router.status())) {
      return Annotate(router.status(),
                      "no cluster runs there; start one with `tessera up`, or give --address");
    }
  }
  GenerationClient client(
      [&options]() -> absl::StatusOr<std::string> {
        if (!options.address.empty()) return options.address;
        return RouterOf(options.state_dir);
      },
      {}, clock);
  Printer printer(options.stream || params.logprobs.has_value(), params.logprobs.has_value(),
                  streams.out);
  TESSERA_ASSIGN_OR_RETURN(
      const wire::FinishedEvent finished,
      client.Run(params, absl::Seconds(options.timeout_seconds),
                 [&printer](const wire::TokensEvent& tokens) { printer.Print(tokens); }));
  printer.End();
  streams.err << finished.produced_tokens << " tokens, "
              << (finished.kind == wire::FinishKind::kStop ? "stopped" : "length reached") << "; "
              << finished.prompt_tokens << " prompt tokens in "
              << absl::FormatDuration(finished.prefill) << ", decoding "
              << absl::FormatDuration(finished.decode) << std::endl;
  return absl::OkStatus();
}

}  // namespace

int RunGenerate(std::span<const std::string_view> args, const Streams& streams) {
  GenerateOptions options;
  FlagSet flags("generate --ids=1,2,3", "Token ids to token ids, by a running cluster's router.");
  flags.Add("ids", &options.ids, "token ids of the prompt");
  flags.Add("max_tokens", &options.max_tokens, "tokens to produce at most");
  flags.Add("temperature", &options.temperature, "0: the most likely token each time");
  flags.Add("seed", &options.seed, "of the draws; without it the router chooses one");
  flags.Add("logprobs", &options.logprobs,
            "print each token's log probability and those of so many most likely ones");
  flags.Add("ignore_eos", &options.ignore_eos, "go on through end-of-sequence");
  flags.Add("stream", &options.stream, "print each token on a line of its own");
  flags.Add("address", &options.address, "gRPC address of a router, host:port");
  flags.Add("state_dir", &options.state_dir, "else: the folder of the `tessera up` that runs");
  flags.Add("timeout_seconds", &options.timeout_seconds, "for all of it");
  return RunWithFlags(flags, args, streams, [&] { return Generate(flags, options, streams); });
}

}  // namespace tessera::cli
