#include "services/expert_shard/batching/row_batcher.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace tessera::expert_shard {
namespace {

using wire::NackReason;

uint32_t Microseconds(absl::Duration duration) {
  return static_cast<uint32_t>(std::clamp<int64_t>(absl::ToInt64Microseconds(duration), 0,
                                                   std::numeric_limits<uint32_t>::max()));
}

NackReason WhyNot(const ExpertTable& table, const wire::CallView& call) {
  const LayerIndex layer{call.header.layer};
  for (const wire::CallSegment& segment : call.segments) {
    const HeldExpert* held = table.AtSlot(segment.slot);
    if (held == nullptr || held->unit != ExpertUnit{layer, segment.expert}) {
      return NackReason::kNotHosted;
    }
    if (held->weights_version != segment.weights_version) return NackReason::kWrongVersion;
  }
  return NackReason::kNone;
}

}  // namespace

void UnitCounters::Count(const ExpertUnit& unit, uint64_t rows) {
  Atomics& counts = counts_[IndexOf(unit)];
  counts.calls.fetch_add(1, std::memory_order_relaxed);
  counts.rows.fetch_add(rows, std::memory_order_relaxed);
}

UnitCounters::Counts UnitCounters::Of(const ExpertUnit& unit) const {
  const Atomics& counts = counts_[IndexOf(unit)];
  return {counts.calls.load(std::memory_order_relaxed),
          counts.rows.load(std::memory_order_relaxed)};
}

BatchMetrics::BatchMetrics(Registry& registry, const Registry::Labels& labels)
    : calls(registry.AddCounter("tessera_expert_shard_calls_total", "Calls answered with rows.",
                                labels)),
      rows(registry.AddCounter("tessera_expert_shard_rows_total", "Rows of those calls.", labels)),
      pairs(registry.AddCounter("tessera_expert_shard_pairs_total",
                                "(row, expert) pairs of those calls.", labels)),
      batches(registry.AddCounter("tessera_expert_shard_batches_total",
                                  "Batches of calls computed together.", labels)),
      expert_reads(registry.AddCounter(
          "tessera_expert_shard_expert_reads_total",
          "Distinct experts whose weights a batch read, summed over batches.", labels)),
      queue_seconds(registry.AddHistogram(
          "tessera_expert_shard_queue_seconds",
          "A call from its arrival to the start of its batch.",
          {10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.2, 1},
          labels)),
      compute_seconds(registry.AddHistogram(
          "tessera_expert_shard_compute_seconds", "Computing of a batch.",
          {20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.2, 1},
          labels)) {
  for (size_t i = 1; i < kReasons; ++i) {
    Registry::Labels with_reason = labels;
    with_reason["reason"] = std::string(wire::NameOf(static_cast<NackReason>(i)));
    nacks[i] = registry.AddCounter("tessera_expert_shard_nacks_total",
                                   "Calls that were not computed, by reason.", with_reason);
  }
}

RowBatcher::RowBatcher(const RowBatcherConfig& config, const BatcherRooms& rooms,
                       std::function<bool()> weights_sound)
    : config_(config),
      rooms_(rooms),
      weights_sound_(std::move(weights_sound)),
      ffn_(rooms.compute),
      units_(rooms.spec) {}

void RowBatcher::Add(std::vector<IncomingCall>& calls) {
  for (IncomingCall& call : calls) queue_.Push(std::move(call));
  calls.clear();
  rows_queued_.store(static_cast<uint32_t>(queue_.rows()), std::memory_order_relaxed);
}

void RowBatcher::RunBatch() {
  const absl::Duration start = rooms_.clock.Elapsed();
  queue_.TakeLate(start, late_);
  for (IncomingCall& call : late_) Nack(std::move(call), NackReason::kLate);
  late_.clear();
  if (!queue_.empty()) queue_.TakeBatch(config_.pairs_max, batch_);
  rows_queued_.store(static_cast<uint32_t>(queue_.rows()), std::memory_order_relaxed);

  // Held for the batch: what is dropped meanwhile stays until it is computed.
  const std::shared_ptr<const ExpertTable> table = rooms_.store.Snapshot();
  RefuseStrangers(*table);
  if (batch_.empty()) return;
  const size_t experts = ffn_.Run(*table, batch_);
  rooms_.compute.pool.Rest();
  const absl::Duration end = rooms_.clock.Elapsed();
  load_.CountBusy(start, end);
  if (weights_sound_ && !weights_sound_()) {
    for (IncomingCall& call : batch_) Nack(std::move(call), NackReason::kFailed);
  } else {
    Answer(start, end, experts);
  }
  batch_.clear();
}

void RowBatcher::RefuseAll(NackReason reason) {
  while (!queue_.empty()) {
    queue_.TakeBatch(std::numeric_limits<size_t>::max(), batch_);
    for (IncomingCall& call : batch_) Nack(std::move(call), reason);
    batch_.clear();
  }
  rows_queued_.store(0, std::memory_order_relaxed);
}

void RowBatcher::RefuseStrangers(const ExpertTable& table) {
  size_t kept = 0;
  for (size_t i = 0; i < batch_.size(); ++i) {
    const NackReason reason = WhyNot(table, batch_[i].call);
    if (reason != NackReason::kNone) {
      Nack(std::move(batch_[i]), reason);
    } else if (kept++ != i) {
      batch_[kept - 1] = std::move(batch_[i]);
    }
  }
  batch_.resize(kept);
}

void RowBatcher::Answer(absl::Duration start, absl::Duration end, size_t experts) {
  BatchMetrics& metrics = rooms_.metrics;
  metrics.batches.Increment();
  metrics.expert_reads.Increment(static_cast<double>(experts));
  metrics.compute_seconds.Observe(absl::ToDoubleSeconds(end - start));
  for (IncomingCall& call : batch_) {
    const wire::FrameHeader& header = call.call.header;
    const absl::Duration waited = start - call.arrived;
    load_.CountWait(start, waited);
    metrics.queue_seconds.Observe(absl::ToDoubleSeconds(waited));
    metrics.calls.Increment();
    metrics.rows.Increment(header.rows);
    metrics.pairs.Increment(header.pairs);
    calls_.fetch_add(1, std::memory_order_relaxed);
    rows_.fetch_add(header.rows, std::memory_order_relaxed);
    for (const wire::CallSegment& segment : call.call.segments) {
      units_.Count({LayerIndex{header.layer}, segment.expert}, segment.pair_count);
    }
    wire::ReplyTrailer trailer;
    trailer.queue_us = Microseconds(waited);
    trailer.compute_us = Microseconds(end - start);
    trailer.experts_touched = static_cast<uint32_t>(experts);
    trailer.rows_queued = rows_queued();
    trailer.epoch = epoch_.load();
    PutSpan(call, start, end, experts, NackReason::kNone);
    rooms_.answers.Reply(std::move(call), trailer);
  }
}

void RowBatcher::PutSpan(const IncomingCall& call, absl::Duration start, absl::Duration end,
                         size_t experts, NackReason reason) {
  if (rooms_.tracer == nullptr || !call.call.trace) return;
  const Tracer::Scope scope = rooms_.tracer->Begin(call.call.trace);
  if (!scope.is_recorded) return;
  const wire::FrameHeader& header = call.call.header;
  SpanRecord span;
  span.context = scope.context;
  span.parent = scope.parent;
  span.name = "experts";
  span.start = rooms_.tracer->TimeOf(call.arrived);
  span.end = rooms_.tracer->TimeOf(end);
  if (reason == NackReason::kNone) {
    span.events.push_back({"compute", rooms_.tracer->TimeOf(start)});
  } else {
    span.error_type = wire::NameOf(reason);
  }
  span.attributes = {{"tessera.layer", int64_t{header.layer}},
                     {"tessera.rows", int64_t{header.rows}},
                     {"tessera.pairs", int64_t{header.pairs}},
                     {"tessera.attempt", int64_t{header.attempt}},
                     {"tessera.batch_experts", static_cast<int64_t>(experts)},
                     {"tessera.queue_seconds", absl::ToDoubleSeconds(start - call.arrived)},
                     {"tessera.compute_seconds", absl::ToDoubleSeconds(end - start)}};
  rooms_.tracer->Put(std::move(span));
}

void RowBatcher::Nack(IncomingCall call, NackReason reason) {
  const size_t index = static_cast<size_t>(reason);
  nacks_[index].fetch_add(1, std::memory_order_relaxed);
  rooms_.metrics.nacks[index].Increment();
  const absl::Duration now = rooms_.clock.Elapsed();
  PutSpan(call, now, now, 0, reason);
  rooms_.answers.Nack(std::move(call), reason, epoch());
}

BatchTotals RowBatcher::totals() const {
  BatchTotals totals;
  totals.calls = calls_.load(std::memory_order_relaxed);
  totals.rows = rows_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < nacks_.size(); ++i) {
    totals.nacks[i] = nacks_[i].load(std::memory_order_relaxed);
  }
  return totals;
}

}  // namespace tessera::expert_shard
