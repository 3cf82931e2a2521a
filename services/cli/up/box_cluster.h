#pragma once

// A running cluster on this box, however its services are kept.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "services/cli/process/cluster_file.h"

namespace tessera::cli {

// Owned by the main thread.
class BoxCluster {
 public:
  // Stops what runs.
  virtual ~BoxCluster() = default;

  // Returns when all are ready. `progress` is told how many are, of how many, whenever that
  // changes. kCancelled: `stop_fd` became readable. Else why one of them cannot start.
  virtual absl::Status WaitReady(int stop_fd,
                                 const std::function<void(size_t, size_t)>& progress) = 0;
  // Keeps them running until `stop_fd` is readable.
  virtual absl::Status Run(int stop_fd) = 0;
  // Ends all within a few seconds; at once when `hurry` says so.
  virtual void Stop(const std::function<bool()>& hurry) = 0;

  virtual std::vector<ClusterProcess> processes() const = 0;
  virtual bool has_gateway() const = 0;
  virtual const std::string& state_path() const = 0;
};

}  // namespace tessera::cli
