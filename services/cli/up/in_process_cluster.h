#pragma once

// The same services in this process, their expert calls handed over in memory. A crash of one is a
// crash of all: for small boxes, debuggers and profilers.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "services/cli/up/local_cluster.h"

namespace tessera::cli {

// Owned by the main thread.
class InProcessCluster final : public BoxCluster {
 public:
  // Locks the state folder and starts the services one by one; returns when all listen. Services
  // read the same config texts as programs do. `clock` must outlive it. Errors: those of the
  // services, of the state folder and of the ports.
  static absl::StatusOr<std::unique_ptr<BoxCluster>> Start(LocalClusterConfig config,
                                                           const Clock& clock);
  ~InProcessCluster() override;

  absl::Status WaitReady(int stop_fd, const std::function<void(size_t, size_t)>& progress) override;
  absl::Status Run(int stop_fd) override;
  void Stop(const std::function<bool()>& hurry) override;

  std::vector<ClusterProcess> processes() const override { return processes_; }
  bool has_gateway() const override;
  const std::string& state_path() const override;

 private:
  class House;
  explicit InProcessCluster(std::unique_ptr<House> house);
  void Note(const std::string& role, const std::string& id,
            const std::vector<std::pair<std::string, std::string>>& endpoints);

  const std::unique_ptr<House> house_;
  std::vector<ClusterProcess> processes_;
};

}  // namespace tessera::cli
