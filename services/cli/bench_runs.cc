#include "services/cli/bench_runs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::cli {

absl::Status BenchRunner::Submit(const BenchCase& c, size_t prompt_tokens, size_t generate_tokens,
                                 bool all_logits) {
  for (size_t i = 0; i < c.batch; ++i) {
    router::SequenceRequest request;
    request.id = SequenceId{next_id_++};
    for (size_t t = 0; t < prompt_tokens; ++t) {
      request.prompt.push_back(static_cast<TokenId>(random_.Below(engine_.spec().vocab)));
    }
    request.sampling.temperature = 0;
    request.sampling.ignore_eos = true;
    request.sampling.max_tokens = static_cast<uint32_t>(generate_tokens);
    request.wants_prompt_logits = all_logits;
    TESSERA_RETURN_IF_ERROR(
        engine_.scheduler().Submit(std::make_unique<router::Sequence>(std::move(request))));
  }
  return absl::OkStatus();
}

absl::Status BenchRunner::Drain() {
  while (!engine_.scheduler().idle()) TESSERA_RETURN_IF_ERROR(engine_.Step());
  return sink_.status();
}

absl::StatusOr<double> BenchRunner::Prefill(const BenchCase& c) {
  TESSERA_RETURN_IF_ERROR(Submit(c, c.prompt_tokens, /*generate_tokens=*/1, c.all_logits));
  const absl::Duration start = clock_.Elapsed();
  TESSERA_RETURN_IF_ERROR(Drain());
  return static_cast<double>(c.batch * c.prompt_tokens) /
         absl::ToDoubleSeconds(clock_.Elapsed() - start);
}

absl::StatusOr<DecodeResult> BenchRunner::Decode(const BenchCase& c) {
  // The first token comes out of the prompt's step; the others are decode steps.
  TESSERA_RETURN_IF_ERROR(
      Submit(c, /*prompt_tokens=*/1, c.generate_tokens + 1, /*all_logits=*/false));
  TESSERA_RETURN_IF_ERROR(engine_.Step());
  if (const size_t waiting = engine_.scheduler().stats().waiting; waiting > 0) {
    return absl::InternalError(
        absl::StrCat(waiting, " of ", c.batch, " sequences do not decode beside the others"));
  }
  const size_t expert_bytes_before = engine_.experts().weight_bytes_read();
  std::vector<double> step_ms;
  const absl::Duration start = clock_.Elapsed();
  absl::Duration last = start;
  while (!engine_.scheduler().idle()) {
    TESSERA_RETURN_IF_ERROR(engine_.Step());
    const absl::Duration now = clock_.Elapsed();
    step_ms.push_back(absl::ToDoubleMilliseconds(now - last));
    last = now;
  }
  TESSERA_RETURN_IF_ERROR(sink_.status());
  const double seconds = absl::ToDoubleSeconds(last - start);
  const auto steps = static_cast<double>(step_ms.size());
  const auto expert_bytes =
      static_cast<double>(engine_.experts().weight_bytes_read() - expert_bytes_before);
  // A step reads one row a sequence of the embedding, and all of the other weights.
  const auto dense_bytes = static_cast<double>(engine_.weights().size_bytes() -
                                               engine_.weights().embedding.size_bytes());
  return DecodeResult{
      .tokens_per_second = static_cast<double>(c.batch * c.generate_tokens) / seconds,
      .ms_per_token_p50 = Quantile(step_ms, 0.5),
      .ms_per_token_p99 = Quantile(step_ms, 0.99),
      .bytes_per_step = dense_bytes + expert_bytes / steps,
  };
}

double Quantile(std::vector<double> values, double quantile) {
  if (values.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(quantile * static_cast<double>(values.size())));
  const size_t index = rank == 0 ? 0 : std::min(rank, values.size()) - 1;
  std::ranges::nth_element(values, values.begin() + static_cast<ptrdiff_t>(index));
  return values[index];
}

}  // namespace tessera::cli
