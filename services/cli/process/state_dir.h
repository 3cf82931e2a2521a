#pragma once

// The folder of one running cluster: lock, secret, configs, endpoints, logs, cluster.json.

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace tessera::cli {

// Held by the launcher for its whole life. Thread-compatible.
class StateDir {
 public:
  // Makes the folder if need be, locks it, removes cluster.json of an earlier life.
  //   kFailedPrecondition  another launcher runs on it: its pid is in the message
  //   kUnavailable         it cannot be made or written
  static absl::StatusOr<std::unique_ptr<StateDir>> Open(const std::string& path);
  // Lets the lock go.
  ~StateDir();
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

  const std::string& path() const { return path_; }  // absolute
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  std::string LogFile(const std::string& name) const { return path_ + "/logs/" + name + ".log"; }

  // A new secret of 32 random bytes in a file that only its owner reads; returns its path.
  absl::StatusOr<std::string> WriteSecret() const;

 private:
  StateDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  const std::string path_;
  const int lock_fd_;
};

}  // namespace tessera::cli
