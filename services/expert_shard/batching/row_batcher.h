#pragma once

// From calls that arrived to answers: queue, refuse, batch, compute.
//
//   calls ─► CallQueue ─► late? ─► most urgent layer ─► slots as named? ─► BatchFfn ─► Reply
//                          │ NACK late                    │ NACK not_hosted, wrong_version

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "common/tracing/tracer.h"
#include "common/transport/exchange_server.h"
#include "services/expert_shard/batching/batch_ffn.h"
#include "services/expert_shard/batching/call_answers.h"
#include "services/expert_shard/batching/call_queue.h"
#include "services/expert_shard/batching/load_meter.h"
#include "services/expert_shard/experts/expert_store.h"

namespace tessera::expert_shard {

struct RowBatcherConfig {
  // Pairs of a batch, which bounds its memory (pairs * d_model float32). A larger call goes alone.
  size_t pairs_max = 8192;
};

// How often each unit was asked for. Thread-safe.
class UnitCounters {
 public:
  struct Counts {
    uint64_t calls = 0;
    uint64_t rows = 0;
  };
  explicit UnitCounters(const ModelSpec& spec)
      : expert_count_(spec.expert_count), counts_(spec.layer_count * spec.expert_count) {}

  // The unit is one of the model's.
  void Count(const ExpertUnit& unit, uint64_t rows);
  Counts Of(const ExpertUnit& unit) const;

 private:
  struct Atomics {
    std::atomic<uint64_t> calls{0};
    std::atomic<uint64_t> rows{0};
  };
  size_t IndexOf(const ExpertUnit& unit) const {
    return ToIndex(unit.layer) * expert_count_ + ToIndex(unit.expert);
  }

  const size_t expert_count_;
  std::vector<Atomics> counts_;  // [layer_count, expert_count]
};

// What Prometheus sees of the calls. Made once from the service's registry.
struct BatchMetrics {
  static constexpr size_t kReasons = 9;  // of wire::NackReason
  BatchMetrics(Registry& registry, const Registry::Labels& labels);
  Counter calls;  // answered with rows
  Counter rows;
  Counter pairs;
  Counter batches;
  Counter expert_reads;  // experts whose weights were read, summed over batches
  std::array<Counter, kReasons> nacks;
  Histogram queue_seconds;    // a call, from arrival to the start of its batch
  Histogram compute_seconds;  // a batch
};

// Counters since start; read from any thread.
struct BatchTotals {
  uint64_t calls = 0;
  uint64_t rows = 0;
  std::array<uint64_t, BatchMetrics::kReasons> nacks{};  // by wire::NackReason
};

// What surrounds a batcher; all borrowed.
struct BatcherRooms {
  const ModelSpec& spec;
  const ExpertStore& store;
  const kernels::Compute& compute;
  CallAnswers& answers;
  const Clock& clock;
  BatchMetrics& metrics;
  Tracer* tracer = nullptr;  // takes a span of each call that has a trace; may be null
};

// Owned by the compute thread, but for what is said to be thread-safe.
class RowBatcher {
 public:
  // weights_sound says after each batch whether the weights that were read are still those of the
  // checkpoint (a mapped file may shrink under us); empty: always.
  RowBatcher(const RowBatcherConfig& config, const BatcherRooms& rooms,
             std::function<bool()> weights_sound);

  // Takes calls over, and empties the list.
  void Add(std::vector<IncomingCall>& calls);
  bool idle() const { return queue_.empty(); }
  // Answers the most urgent call and all that fits beside it. Does nothing if idle.
  void RunBatch();
  // Answers all that is queued with a NACK.
  void RefuseAll(wire::NackReason reason);

  // Thread-safe from here on.
  // The newest placement the shard has heard of; goes out with each answer.
  void set_epoch(Epoch epoch) { epoch_.store(static_cast<uint64_t>(epoch)); }
  Epoch epoch() const { return Epoch{epoch_.load()}; }
  uint32_t rows_queued() const { return rows_queued_.load(std::memory_order_relaxed); }
  BatchTotals totals() const;
  const LoadMeter& load() const { return load_; }
  const UnitCounters& units() const { return units_; }

 private:
  void Nack(IncomingCall call, wire::NackReason reason);
  // Refuses what the table does not hold; the rest stays in batch_.
  void RefuseStrangers(const ExpertTable& table);
  // What came of a call that has a trace; `reason`: why nothing did.
  void PutSpan(const IncomingCall& call, absl::Duration start, absl::Duration end, size_t experts,
               wire::NackReason reason);
  void Answer(absl::Duration start, absl::Duration end, size_t experts);

  const RowBatcherConfig config_;
  const BatcherRooms rooms_;
  const std::function<bool()> weights_sound_;

  CallQueue queue_;  // owned by the compute thread, as the next three
  BatchFfn ffn_;
  std::vector<IncomingCall> batch_;
  std::vector<IncomingCall> late_;

  LoadMeter load_;  // thread-safe, as all below
  UnitCounters units_;
  std::atomic<uint64_t> epoch_{0};
  std::atomic<uint32_t> rows_queued_{0};
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> rows_{0};
  std::array<std::atomic<uint64_t>, BatchMetrics::kReasons> nacks_{};
};

}  // namespace tessera::expert_shard
