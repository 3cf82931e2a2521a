#pragma once

// Decides which rows each step computes: continuous batching over paged blocks.
//
//   Submit ─► waiting ─admit─► running ─finish─► TakeFinished
//                ▲                │
//                └──── preempt ───┘   blocks given back, recomputed later, same tokens
//
// Sequences are ordered by importance: lower priority value first, then who came first. Each step
// takes one row of every decoding sequence, then chunks of prefill, then admits. When blocks run
// out, the least important running sequence gives up its own, parked ones first.
// A parked sequence keeps its place and computes nothing until it is unparked.
// A step is a transaction: NextBatch promises nothing, only Commit advances sequences. One batch
// may be out at a time. Owned by the engine thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "services/router/kv/kv_cache.h"
#include "services/router/sequence/sampled_token.h"
#include "services/router/sequence/sequence.h"
#include "services/router/sequence/step_batch.h"

namespace tessera::router {

struct SchedulerConfig {
  size_t batch_tokens_max = 2048;   // rows of a step; > 0
  size_t prefill_chunk_max = 512;   // rows of one sequence in a step; > 0
  size_t sequences_max = 256;       // running at once (also at most batch_tokens_max); > 0
  size_t waiting_max = 1024;        // submitted and not admitted; > 0
  size_t logits_rows_max = 256;     // rows projected to logits in a step; >= sequences_max
  double admission_reserve = 0.02;  // share of each group's blocks that admission leaves free for
                                    // the growth of running sequences; [0, 1)
  size_t context_max = 0;           // prompt and produced tokens of a sequence together; > 0
  size_t vocab = 0;                 // tokens are below; > 0
  std::vector<TokenId> eos_token_ids;  // end a sequence unless it ignores them

  // kInvalidArgument naming the field.
  absl::Status Validate() const;
};

struct SchedulerStats {
  size_t running = 0;
  size_t waiting = 0;
  size_t waiting_tokens = 0;  // to compute before they decode
  size_t parked = 0;          // of both
  uint64_t submitted = 0;
  uint64_t finished = 0;  // for any reason
  uint64_t preemptions = 0;
  uint64_t recomputed_tokens = 0;  // committed tokens given up by preemption
  uint64_t steps_committed = 0;
  uint64_t steps_aborted = 0;
  KvStats kv;
};

class Scheduler {
 public:
  // `config` is valid. `kv` is borrowed.
  Scheduler(const SchedulerConfig& config, KvCache& kv);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Queues a sequence; it is destroyed if refused.
  // Errors: kInvalidArgument    bad tokens or sampling parameters; longer than context_max; or it
  //                             could not fit into the KV cache even alone (with the arithmetic).
  //         kAlreadyExists      the id is taken.
  //         kResourceExhausted  waiting_max reached; try again later.
  absl::Status Submit(std::unique_ptr<Sequence> sequence);

  // Ends a sequence; its blocks are free when this returns, or after Commit or Abort if it is in
  // the batch that is out. False if the id is unknown or finished.
  bool Cancel(SequenceId id);
  bool Fail(SequenceId id, absl::Status error);  // the same with kError; `error` is not OK

  // Leaves a sequence out of steps until UnparkAll; its deadline holds. Not while a batch is out.
  // Unknown ids are ignored.
  void Park(SequenceId id);
  void UnparkAll();
  // Lets a sequence that allows it go on without experts that nobody holds. False: it does not
  // allow it, does so already, or is unknown.
  bool LeaveOutHomeless(SequenceId id);

  // The rows of the next step; empty if there is nothing to do. `now` is Clock::Elapsed():
  // sequences past their deadline end here. Call TakeFinished afterwards, also when the batch is
  // empty.
  StepBatch NextBatch(absl::Duration now);

  // Advances the sequences of the batch. `sampled[i]` belongs to batch.samples()[i]. Sequences
  // named by the batch live until the next TakeFinished.
  void Commit(const StepBatch& batch, std::span<const SampledToken> sampled);
  // The step failed: nothing advances, its rows come again in a later batch.
  // (A batch may also simply be computed again before Commit.)
  void Abort(const StepBatch& batch);

  // Sequences that ended since the last call, in that order. Not while a batch is out.
  std::vector<std::unique_ptr<Sequence>> TakeFinished();

  // No sequence is waiting or running.
  bool idle() const { return entries_.empty(); }
  // Null if unknown or finished.
  const Sequence* Find(SequenceId id) const;
  SchedulerStats stats() const;

 private:
  struct Entry {
    std::unique_ptr<Sequence> sequence;
    uint64_t arrival = 0;
    bool is_running = false;
    bool in_step = false;
    bool was_admitted = false;  // at least once
    bool is_parked = false;
    // Ends when the step does; kNone: does not.
    FinishReason pending_reason = FinishReason::kNone;
    absl::Status pending_error;
  };
  struct MoreImportant {
    bool operator()(const Entry* a, const Entry* b) const;
  };
  // What one step will hold, before the rows are laid out.
  struct Plan;

  absl::Status CheckLimits(const Sequence& sequence) const;
  absl::Status CheckFits(const Sequence& sequence) const;
  void ExpireDeadlines(absl::Duration now);
  void PlanDecode(Plan& plan);
  void PlanPrefill(Plan& plan);
  void PlanAdmissions(Plan& plan);
  // Rows of prefill that the limits of the step leave to this sequence; blocks not considered.
  size_t ChunkLimit(const Plan& plan, const Sequence& sequence) const;
  // Gives blocks to up to `rows_max` rows and returns how many; preempts less important sequences
  // until at least one fits. 0: the sequence is the least important itself and waits.
  size_t SecureRows(Plan& plan, Entry& entry, size_t rows_max);
  void AddToPlan(Plan& plan, Entry& entry, size_t row_count, bool is_decode) const;
  // Makes a waiting sequence run if blocks allow, always if it would run `alone`.
  bool Admit(Entry& entry, bool alone);
  // What a running sequence still lacks for the tokens it has now and one more.
  BlockCounts MissingBlocks(const Sequence& sequence) const;
  void Preempt(Plan& plan, Entry& victim);
  // The least important running sequence, of the parked ones if there are any.
  Entry& Victim() const;
  Entry* LastParkedRunning() const;
  Entry* FirstAdmissible() const;  // the most important waiting one that is not parked
  // After its rows were computed; `sampled` may be null.
  void Advance(Entry& entry, size_t row_count, const SampledToken* sampled);
  bool End(SequenceId id, FinishReason reason, absl::Status error);
  void Retire(Entry& entry, FinishReason reason, absl::Status error);
  // The batch came back: entries are free again; those to end do so. Returns the entry of a chunk
  // that goes on, else null.
  Entry* LeaveStep(const StepBatch::Chunk& chunk);

  const SchedulerConfig config_;
  KvCache& kv_;

  absl::flat_hash_map<SequenceId, std::unique_ptr<Entry>> entries_;  // waiting and running
  std::set<Entry*, MoreImportant> waiting_;
  std::set<Entry*, MoreImportant> running_;
  std::vector<std::unique_ptr<Sequence>> finished_;
  size_t parked_count_ = 0;
  uint64_t arrival_count_ = 0;
  bool batch_is_out_ = false;
  SchedulerStats counters_;  // the counters only
};

}  // namespace tessera::router
