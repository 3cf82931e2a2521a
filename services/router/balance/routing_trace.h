#pragma once

// What the gate chose, step by step, in a file: recorded by a router, replayed by the simulator.
//
//   8 bytes "TSSTRCE1" | u32 layer_count | u32 expert_count | u32 top_k
//   then records: u32 layer | u32 rows | u16 experts [rows, top_k]      all little-endian
//
// A record that was cut off by the end of the file is not there.

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/thread.h"
#include "common/moe/placement.h"
#include "common/moe/routing.h"

namespace tessera::router {

// One layer of one step.
struct RoutedStep {
  LayerIndex layer{};
  uint32_t rows = 0;
  std::vector<uint32_t> experts;  // [rows, top_k]
};

// A whole trace in memory.
struct RoutingTrace {
  PlacementShape shape;
  uint32_t top_k = 0;
  std::vector<RoutedStep> steps;

  // kNotFound; kDataLoss saying what is wrong with the file. At most `bytes_max` are read; whatever
  // the file claims, no more memory is taken than a few times its size.
  static absl::StatusOr<RoutingTrace> Read(const std::string& path,
                                           uint64_t bytes_max = uint64_t{4} << 30);
};

// Writes a trace on a thread of its own, in pieces: waking that thread for every layer would cost
// the engine more than its planning. A process that is killed loses what is not written yet.
// Record: engine thread only.
class RoutingRecorder {
 public:
  // Begins the file anew. kUnavailable names it; kInvalidArgument: more than 65,536 experts.
  static absl::StatusOr<std::unique_ptr<RoutingRecorder>> Create(const std::string& path,
                                                                 const PlacementShape& shape,
                                                                 uint32_t top_k,
                                                                 uint64_t bytes_max);
  // Writes what was recorded.
  ~RoutingRecorder();

  // Never waits: what the disk does not take in time, or goes beyond bytes_max, is not recorded.
  void Record(LayerIndex layer, const RoutingView& routing);
  uint64_t dropped() const { return dropped_; }  // records; engine thread only

 private:
  RoutingRecorder(std::ofstream file, uint32_t top_k, uint64_t bytes_max);
  void Run();
  void HandOver();

  static constexpr size_t kPieceBytes = 64 << 10;
  static constexpr size_t kQueued = 512;  // pieces: 32 MB and more

  const uint32_t top_k_;  // constant after construction
  const uint64_t bytes_max_;
  // The engine thread's:
  uint64_t bytes_ = 0;  // recorded
  uint64_t dropped_ = 0;
  std::string piece_;  // not handed over yet
  uint64_t piece_records_ = 0;

  BoundedQueue<std::string> queue_{kQueued};
  std::ofstream file_;  // the writing thread's while there is one
  Thread thread_;
};

}  // namespace tessera::router
