#include "common/tracing/tracer.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/random.h"
#include "common/base/status.h"

namespace tessera {
namespace {

// Ids must differ between processes that started at the same moment.
uint64_t FreshSeed() {
  uint64_t seed = 0;
  TESSERA_CHECK(getentropy(&seed, sizeof seed) == 0);
  return seed;
}

}  // namespace

absl::Status TracerConfig::Validate() const {
  if (!(sample_ratio >= 0 && sample_ratio <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("otlp_sample_ratio is ", sample_ratio, ", expected 0..1"));
  }
  if (endpoint.empty()) return absl::OkStatus();
  return Annotate(HttpClient::For(endpoint, {}).status(), "otlp_endpoint");
}

absl::StatusOr<std::unique_ptr<Tracer>> Tracer::Start(const TracerConfig& config,
                                                      const Clock& clock, Registry& registry) {
  TESSERA_RETURN_IF_ERROR(config.Validate());
  std::unique_ptr<Tracer> tracer(new Tracer(config, clock));
  if (config.endpoint.empty()) return tracer;
  SpanSinkConfig sink;
  sink.endpoint = config.endpoint;
  sink.resource = config.resource;
  TESSERA_ASSIGN_OR_RETURN(tracer->sink_, SpanSink::Start(sink, clock, registry));
  return tracer;
}

Tracer::Tracer(const TracerConfig& config, const Clock& clock)
    : config_(config), clock_(clock), seed_(FreshSeed()) {}

uint64_t Tracer::Draw() {
  uint64_t number = 0;
  while (number == 0) number = RandomBits(seed_, counter_.fetch_add(1, std::memory_order_relaxed));
  return number;
}

Tracer::Scope Tracer::Begin(const std::optional<TraceContext>& incoming) {
  Scope scope;
  if (incoming) {
    scope.context = *incoming;
    scope.parent = incoming->span;
    if (sink_ == nullptr) return scope;
  } else {
    const std::array<uint64_t, 2> trace = {Draw(), Draw()};
    static_assert(sizeof trace == sizeof scope.context.trace);
    std::memcpy(scope.context.trace.data(), trace.data(), sizeof trace);
    // The bits of an id are as good a draw as any.
    const double draw = static_cast<double>(trace[0] >> 11) * 0x1.0p-53;
    scope.context.sampled = sink_ != nullptr && draw < config_.sample_ratio;
  }
  const uint64_t span = Draw();
  static_assert(sizeof span == sizeof scope.context.span);
  std::memcpy(scope.context.span.data(), &span, sizeof span);
  scope.is_recorded = sink_ != nullptr && scope.context.sampled;
  return scope;
}

void Tracer::Put(SpanRecord span) {
  if (sink_ != nullptr) sink_->Put(std::move(span));
}

}  // namespace tessera
