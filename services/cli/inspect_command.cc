#include "services/cli/inspect_command.h"

#include <algorithm>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/concurrency/cpu_count.h"
#include "common/device/cpu_features.h"
#include "common/device/host_memory.h"
#include "common/kernels/weight_choice.h"
#include "common/model/model_config.h"
#include "common/weights/checkpoint.h"
#include "common/weights/manifest.h"
#include "services/expert_shard/experts/expert_store.h"
#include "services/router/kv/kv_geometry.h"
#include "services/router/model/model_weights.h"

namespace tessera::cli {
namespace {

double Giga(size_t value) { return static_cast<double>(value) / 1e9; }

// "15.120 GB", and of small models "0.983 MB".
std::string Amount(size_t bytes) {
  const bool large = bytes >= 100'000'000;
  return absl::StrFormat("%.3f %s", static_cast<double>(bytes) * (large ? 1e-9 : 1e-6),
                         large ? "GB" : "MB");
}

void PrintArchitecture(const ModelSpec& spec, std::ostream& out) {
  const auto full = static_cast<size_t>(std::ranges::count(spec.layer_kinds, LayerKind::kFull));
  out << absl::StreamFormat(
      "architecture   AFMoE, d_model %d, %d layers (%d dense, %d MoE; %d sliding with window %d, "
      "%d full)\n"
      "attention      %d query heads, %d key-value heads, head_dim %d, rope theta %g, context %d\n"
      "experts        %d routed (top %d) and %d shared of width %d; dense width %d; route scale "
      "%g\n"
      "vocabulary     %d, head %s, embedding %s\n",
      spec.d_model, spec.layer_count, spec.dense_layer_count, spec.moe_layer_count(),
      spec.layer_count - full, spec.sliding_window, full, spec.query_heads, spec.kv_heads,
      spec.head_dim, spec.rope_theta, spec.context_max, spec.expert_count, spec.top_k,
      spec.shared_expert_count, spec.expert_width, spec.dense_width, spec.route_scale, spec.vocab,
      spec.tied_embeddings ? "tied" : "untied",
      spec.embedding_scaled ? "times sqrt(d_model)" : "unscaled");
}

void PrintParameters(const ModelSpec& spec, const ModelManifest& manifest, std::ostream& out) {
  const ParameterCounts counts = CountParameters(spec);
  out << absl::StreamFormat("parameters     %d total, %d active a token\n", counts.total,
                            counts.active);
  out << "stored         by role and dtype\n";
  for (const RoleTotal& row : manifest.totals()) {
    const double share =
        100.0 * static_cast<double>(row.size_bytes) / static_cast<double>(manifest.size_bytes());
    out << absl::StreamFormat("  %-15s %-8s %11s %5.1f %%  %13d numbers in %d tensors\n",
                              NameOf(row.role), NameOf(row.dtype), Amount(row.size_bytes), share,
                              row.element_count, row.tensor_count);
  }
}

absl::Status PrintFit(const ModelSpec& spec, const ModelManifest& manifest, std::ostream& out) {
  using kernels::Arithmetic;
  using kernels::WeightChoice;
  TESSERA_ASSIGN_OR_RETURN(const MemoryBudget budget, ReadMemoryBudget());
  const router::KvGeometry kv = router::KvGeometry::Of(spec, kernels::KvType::kBF16);
  const size_t context = std::min<size_t>(spec.context_max, 4096);
  const size_t sequence_bytes = kv.BytesOf(kv.SequenceBlocks(context, 512));
  out << absl::StreamFormat("this machine   %d CPUs (%s), %.2f GB available\n", UsableCpuCount(),
                            ToString(DetectCpuFeatures()), Giga(budget.available_bytes));
  out << absl::StreamFormat(
      "keys, values   %d bytes a token in all layers (bf16); %s for a sequence of %d tokens\n",
      kv.layer_block_bytes / router::kBlockTokens * spec.layer_count, Amount(sequence_bytes),
      context);
  out << "what fits      one box: all of it; a router alone; experts that one shard could hold "
         "beside nothing else\n";
  for (const WeightChoice choice :
       {WeightChoice::kAuto, WeightChoice::kBF16, WeightChoice::kQ8, WeightChoice::kQ4}) {
    const size_t router =
        router::ModelWeights::PackedBytes(spec, manifest, choice, Arithmetic::kFast);
    const size_t experts =
        expert_shard::ExpertStore::PackedBytes(spec, manifest, choice, Arithmetic::kFast);
    const size_t units = spec.moe_layer_count() * spec.expert_count;
    const size_t unit_bytes = units == 0 ? 0 : experts / units;
    const size_t needed = router + experts + sequence_bytes;
    const size_t held = unit_bytes == 0 ? 0 : std::min(units, budget.available_bytes / unit_bytes);
    out << absl::StreamFormat(
        "  %-5s router %11s, experts %11s: %s on this box; a shard here holds %d of %d "
        "experts\n",
        NameOf(choice), Amount(router), Amount(experts),
        needed <= budget.available_bytes ? "fits" : "does not fit", held, units);
  }
  return absl::OkStatus();
}

absl::Status Inspect(const FlagSet& flags, std::ostream& out) {
  if (flags.positional().size() != 1)
    return absl::InvalidArgumentError("inspect needs one checkpoint folder");
  const std::string& dir = flags.positional()[0];
  TESSERA_ASSIGN_OR_RETURN(const ModelSpec spec, ReadModelSpec(dir));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<const Checkpoint> checkpoint,
                           Checkpoint::Open(dir));
  TESSERA_ASSIGN_OR_RETURN(const ModelManifest manifest, ModelManifest::Resolve(spec, *checkpoint));
  PrintArchitecture(spec, out);
  PrintParameters(spec, manifest, out);
  return PrintFit(spec, manifest, out);
}

}  // namespace

int RunInspect(std::span<const std::string_view> args, const Streams& streams) {
  FlagSet flags("inspect DIR",
                "Shows what the checkpoint in DIR holds, how big it is, and where it fits.");
  flags.TakeWords(1);
  return RunWithFlags(flags, args, streams, [&] { return Inspect(flags, streams.out); });
}

}  // namespace tessera::cli
