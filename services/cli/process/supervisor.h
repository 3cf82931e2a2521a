#pragma once

// Keeps a set of services running: starts them, knows where they listen, starts again what dies,
// stops all in order.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "services/cli/process/child_process.h"
#include "services/cli/process/cluster_file.h"

namespace tessera::cli {

struct SupervisorConfig {
  // Pause before a start, doubled with each death until a life lasted `calm_after`.
  absl::Duration restart_pause_min = absl::Milliseconds(100);
  absl::Duration restart_pause_max = absl::Seconds(5);
  absl::Duration calm_after = absl::Seconds(10);
  // A service that dies so often without ever having been ready is given up.
  size_t first_starts_max = 3;
  size_t output_bytes_max = size_t{4} << 20;  // then FILE becomes FILE.1 and is begun anew
};

struct ServiceSpec {
  std::string role;  // of ClusterProcess
  std::string id;
  std::string endpoints_file;  // the service writes it when it listens
  std::string output_file;     // its standard output and error
  // What to run; asked before every start. `before`: where it listened in its last life, or null.
  std::function<absl::StatusOr<ChildCommand>(const ClusterProcess* before)> command;
  // False: if it cannot be brought up it is left out, see TakeGivenUp, and the others go on.
  bool needed = true;
};

// Owned by the main thread (its children die with the thread that made them).
class Supervisor {
 public:
  // `clock` must outlive it.
  Supervisor(const SupervisorConfig& config, const Clock& clock) : config_(config), clock_(clock) {}
  // Kills what still runs.
  ~Supervisor() = default;

  // Starts a service; errors of its command and of ChildProcess::Start.
  absl::Status Add(ServiceSpec spec);

  // Does what is due: reaps, starts again, reads endpoints, asks /readyz of those not ready yet.
  // True if processes() may have changed. An error means that a service cannot be brought up; its
  // last words are in the message.
  absl::StatusOr<bool> Tick();
  // Sleeps until a child ends, `fd` is readable, something is due, or `timeout` passes. `fd` may be
  // -1. True: `fd` is readable.
  bool Sleep(int fd, absl::Duration timeout);

  // Those that listen, in the order of Add; a service between two lives is missing.
  std::vector<ClusterProcess> processes() const;
  // Services that listen and answer /readyz with 200, of all.
  size_t ready_count() const;
  size_t size() const;
  size_t restarts() const { return restarts_; }

  // Ends a service for good: SIGTERM, after `limit` SIGKILL. It is no longer counted, and not known
  // once it is gone.
  void Retire(const std::string& id, absl::Duration limit);
  bool Knows(const std::string& id) const { return Find(id) != nullptr; }
  bool IsReady(const std::string& id) const;
  // Services that were not needed and could not be brought up, each once, and why.
  std::vector<std::pair<std::string, absl::Status>> TakeGivenUp();

  // SIGTERM role by role in the given order, each given its share of `limit`; what is left then
  // gets SIGKILL. `hurry` is asked now and then: true kills at once. Nothing starts again.
  void StopAll(const std::vector<std::string>& roles, absl::Duration limit,
               const std::function<bool()>& hurry);

 private:
  struct Service {
    ServiceSpec spec;
    std::unique_ptr<ChildProcess> child;  // null between two lives
    std::optional<ClusterProcess> known;  // of this life
    std::optional<ClusterProcess> before;
    bool ready = false;       // in this life
    bool ever_ready = false;  // in any life
    size_t failed_starts = 0;
    size_t output_begin = 0;  // bytes of the output file that are of earlier lives
    absl::Duration started_at;
    absl::Duration start_due;
    absl::Duration pause;
    absl::Duration look_due;                 // at the endpoints file, then at /readyz
    std::optional<absl::Duration> kill_due;  // of one that retires
    bool gone = false;
  };
  const Service* Find(const std::string& id) const;

  absl::Status StartLife(Service& service);
  // True if it was there before. Errors as Tick.
  absl::StatusOr<bool> NoteEnd(Service& service, const ChildEnd& end);
  static std::string LastWords(const Service& service);
  bool LookAt(Service& service);
  absl::Duration DueAt(const Service& service) const;

  const SupervisorConfig config_;
  const Clock& clock_;
  std::vector<Service> services_;
  std::vector<std::pair<std::string, absl::Status>> given_up_;
  size_t restarts_ = 0;
  absl::Duration rotation_due_;
};

// The last lines of a log from byte `begin` on, for messages; from its start if it is shorter.
std::string LastLines(const std::string& path, size_t begin = 0, size_t bytes_max = 2000);

}  // namespace tessera::cli
