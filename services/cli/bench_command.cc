#include "services/cli/bench_command.h"

#include <unistd.h>

#include <algorithm>
#include <ostream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/in_range.h"
#include "common/base/json_string.h"
#include "common/base/status.h"
#include "common/device/host_memory.h"
#include "services/cli/bench_runs.h"
#include "services/cli/memory_bandwidth.h"
#include "services/cli/model_flags.h"
#include "services/cli/progress_bar.h"
#include "services/cli/remote/remote_experts.h"

namespace tessera::cli {
namespace {

struct BenchOptions {
  std::string model;
  ComputeOptions compute;
  size_t prompt_tokens = 512;
  size_t generate_tokens = 64;
  std::string batch = "1";
  std::string logits = "last";
  size_t rounds = 3;
  size_t seed = 1;
  bool json = false;
};

// What is the same for all cases of one call.
struct Setting {
  double load_seconds = 0;
  double first_token_seconds = 0;
  double read_bandwidth = 0;  // bytes a second
};

struct CaseResult {
  double prefill_tokens_per_second = 0;
  DecodeResult decode;
  size_t peak_rss_bytes = 0;  // of this process, so far
  size_t resident_bytes = 0;  // now, of this process and the shards', shared pages once
};

// Every sequence has a row in each decode step.
size_t BatchMax() { return CapacityOptions{}.batch_tokens_max; }
// Far above every context, far below what a sequence's counters hold.
constexpr size_t kTokensMax = size_t{1} << 24;

absl::StatusOr<std::vector<BenchCase>> Cases(const BenchOptions& options) {
  if (options.logits != "last" && options.logits != "all") {
    return absl::InvalidArgumentError(
        absl::StrCat("--logits=", options.logits, " is unknown; use last or all"));
  }
  if (options.rounds == 0) return absl::InvalidArgumentError("--rounds must be at least 1");
  TESSERA_RETURN_IF_ERROR(
      InRange("--prompt_tokens", static_cast<double>(options.prompt_tokens), 0, kTokensMax));
  TESSERA_RETURN_IF_ERROR(
      InRange("--generate_tokens", static_cast<double>(options.generate_tokens), 0, kTokensMax));
  std::vector<BenchCase> cases;
  for (absl::string_view word : absl::StrSplit(options.batch, ',')) {
    uint32_t batch = 0;
    if (!absl::SimpleAtoi(word, &batch) || batch == 0 || batch > BatchMax()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--batch: '", word, "' is not a number from 1 to ", BatchMax()));
    }
    cases.push_back({.batch = batch,
                     .prompt_tokens = options.prompt_tokens,
                     .generate_tokens = options.generate_tokens,
                     .all_logits = options.logits == "all"});
  }
  return cases;
}

CapacityOptions CapacityFor(const std::vector<BenchCase>& cases) {
  CapacityOptions capacity;
  size_t batch = 1;
  for (const BenchCase& c : cases) batch = std::max(batch, c.batch);
  capacity.context_max = std::max(cases[0].prompt_tokens, cases[0].generate_tokens) + 2;
  capacity.sequence_count = batch;
  capacity.logits_rows_max = std::max(capacity.logits_rows_max, batch);
  if (cases[0].all_logits)
    capacity.logits_rows_max = std::max<size_t>(capacity.logits_rows_max, 512);
  return capacity;
}

// The median round of every figure.
absl::StatusOr<CaseResult> Measure(BenchRunner& runner, const BenchCase& c, size_t rounds) {
  std::vector<double> prefill, decode, p50, p99, bytes;
  for (size_t round = 0; round < rounds; ++round) {
    if (c.prompt_tokens > 0) {
      TESSERA_ASSIGN_OR_RETURN(const double rate, runner.Prefill(c));
      prefill.push_back(rate);
    }
    if (c.generate_tokens > 0) {
      TESSERA_ASSIGN_OR_RETURN(const DecodeResult result, runner.Decode(c));
      decode.push_back(result.tokens_per_second);
      p50.push_back(result.ms_per_token_p50);
      p99.push_back(result.ms_per_token_p99);
      bytes.push_back(result.bytes_per_step);
    }
  }
  return CaseResult{
      Quantile(prefill, 0.5),
      {Quantile(decode, 0.5), Quantile(p50, 0.5), Quantile(p99, 0.5), Quantile(bytes, 0.5)},
      PeakResidentBytes()};
}

std::string KernelNames(const LocalEngine& engine, const ComputeOptions& options) {
  const router::LayerWeights& last = engine.weights().layers.back();
  return absl::StrCat(kernels::Describe(engine.kernel_choice()), " ", options.precision,
                      " dense=", std::string(kernels::NameOf(last.attention.query.type())),
                      " experts=", std::string(kernels::NameOf(engine.expert_weight_type())),
                      " weights=", options.weights, " cpu=", ToString(engine.compute().features));
}

void PrintJson(const BenchOptions& options, const BenchCase& c, const LocalEngine& engine,
               const Setting& setting, const CaseResult& result, std::ostream& out) {
  const DecodeResult& decode = result.decode;
  const double steps_per_second = decode.tokens_per_second / static_cast<double>(c.batch);
  out << absl::StreamFormat(
             R"({"model":%s,"dtype":"%s","threads":%d,"shards":%d,"transport":%s,"strict":%s,"batch":%d,"prompt_tokens":%d,"generate_tokens":%d,)"
             R"("logits":"%s","decode_tokens_per_second":%.3f,"prefill_tokens_per_second":%.3f,"ms_per_token_p50":%.3f,)"
             R"("ms_per_token_p99":%.3f,"peak_rss_bytes":%d,"resident_bytes":%d,"bytes_read_per_token":%.0f,"read_bandwidth_bytes_per_second":%.0f,)"
             R"("bandwidth_share":%.4f,"load_seconds":%.3f,"time_to_first_token_seconds":%.3f,"weight_bytes":%d,)"
             R"("kv_bytes":%d,"kernels":%s})",
             JsonQuoted(options.model), kernels::NameOf(engine.expert_weight_type()),
             engine.pool().thread_count(), options.compute.shards,
             JsonQuoted(options.compute.shards == 0 ? "none" : options.compute.transport),
             options.compute.strict ? "true" : "false", c.batch, c.prompt_tokens, c.generate_tokens,
             options.logits, decode.tokens_per_second, result.prefill_tokens_per_second,
             decode.ms_per_token_p50, decode.ms_per_token_p99, result.peak_rss_bytes,
             result.resident_bytes, decode.bytes_per_step / static_cast<double>(c.batch),
             setting.read_bandwidth,
             steps_per_second * decode.bytes_per_step / setting.read_bandwidth,
             setting.load_seconds, setting.first_token_seconds, engine.weight_bytes(),
             engine.kv().stats().total_bytes, JsonQuoted(KernelNames(engine, options.compute)))
      << std::endl;
}

void PrintText(const BenchOptions& options, const BenchCase& c, const LocalEngine& engine,
               const Setting& setting, const CaseResult& result, std::ostream& out) {
  const DecodeResult& decode = result.decode;
  const double steps_per_second = decode.tokens_per_second / static_cast<double>(c.batch);
  out << absl::StreamFormat(
             "batch %d: prefill %d (%s) %.1f tokens/s; decode %.1f tokens/s, %.2f ms p50, %.2f ms "
             "p99, "
             "%.1f MB a token, %.0f %% of %.1f GB/s; first token after %.2f s; peak %.2f GB; "
             "%.2f GB resident in %d processes; %s\n",
             c.batch, c.prompt_tokens, options.logits, result.prefill_tokens_per_second,
             decode.tokens_per_second, decode.ms_per_token_p50, decode.ms_per_token_p99,
             decode.bytes_per_step / static_cast<double>(c.batch) / 1e6,
             100 * steps_per_second * decode.bytes_per_step / setting.read_bandwidth,
             setting.read_bandwidth / 1e9, setting.first_token_seconds,
             static_cast<double>(result.peak_rss_bytes) / 1e9,
             static_cast<double>(result.resident_bytes) / 1e9, 1 + engine.shard_pids().size(),
             KernelNames(engine, options.compute))
      << std::flush;
}

absl::Status Bench(const BenchOptions& options, const Streams& streams) {
  if (options.model.empty()) return absl::InvalidArgumentError("bench needs --model=DIR");
  TESSERA_ASSIGN_OR_RETURN(const std::vector<BenchCase> cases, Cases(options));
  const RealClock clock;
  ProgressBar bar("loading", streams.err, IsTerminal(streams.err), clock);
  NullSink sink;
  Setting setting;
  const absl::Duration start = clock.Elapsed();
  TESSERA_ASSIGN_OR_RETURN(
      const std::unique_ptr<LocalEngine> engine,
      LocalEngine::Create(
          options.model, options.compute, CapacityFor(cases), sink, clock,
          [&](size_t done, size_t total) { bar.Show(done, total); }, &StartRemoteExperts));
  setting.load_seconds = absl::ToDoubleSeconds(clock.Elapsed() - start);
  BenchRunner runner(*engine, sink, clock, options.seed);
  TESSERA_RETURN_IF_ERROR(runner.Prefill({.batch = 1, .prompt_tokens = 1}).status());
  setting.first_token_seconds = absl::ToDoubleSeconds(clock.Elapsed() - start);
  std::vector<CaseResult> results;
  for (const BenchCase& c : cases) {
    TESSERA_ASSIGN_OR_RETURN(results.emplace_back(), Measure(runner, c, options.rounds));
    std::vector<int> pids = engine->shard_pids();
    pids.push_back(getpid());
    results.back().resident_bytes = ResidentBytes(pids);
  }
  // Last, as its buffer would count into the peak.
  TESSERA_ASSIGN_OR_RETURN(setting.read_bandwidth,
                           MeasureReadBandwidth(engine->pool(), clock, engine->weight_bytes()));
  for (size_t i = 0; i < cases.size(); ++i) {
    (options.json ? PrintJson : PrintText)(options, cases[i], *engine, setting, results[i],
                                           streams.out);
  }
  return absl::OkStatus();
}

}  // namespace

int RunBench(std::span<const std::string_view> args, const Streams& streams) {
  BenchOptions options;
  FlagSet flags("bench --model=DIR",
                "Measures prefill and decode on random tokens; medians over the rounds.");
  AddModelFlags(flags, &options.model, &options.compute);
  flags.Add("prompt_tokens", &options.prompt_tokens,
            "tokens of each prompt in the prefill run; 0: no prefill run");
  flags.Add("generate_tokens", &options.generate_tokens,
            "tokens of each sequence in the decode run; 0: no decode run");
  flags.Add("batch", &options.batch,
            "sequences at the same time; a list such as 1,4,8 makes a case of each");
  flags.Add("logits", &options.logits, "prefill projects the last position of a prompt, or all");
  flags.Add("rounds", &options.rounds, "repetitions; figures are medians");
  flags.Add("seed", &options.seed, "of the random tokens");
  flags.Add("json", &options.json, "one JSON line a case");
  return RunWithFlags(flags, args, streams, [&] { return Bench(options, streams); });
}

}  // namespace tessera::cli
