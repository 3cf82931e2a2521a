#pragma once

// The key file of a running server, read again when it changes.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "services/gateway/keys/key_set.h"

namespace tessera::gateway {

struct KeyStoreConfig {
  std::string path;
  absl::Duration poll_interval = absl::Seconds(2);  // how often the file's stamp is looked at
};

// Thread-safe. No thread of its own: Snapshot looks at the file when the interval has passed.
class KeyStore {
 public:
  // Reads the file. Errors: kNotFound, kDataLoss, kInvalidArgument as of KeySet::Parse. `clock` is
  // borrowed.
  static absl::StatusOr<std::unique_ptr<KeyStore>> Open(const KeyStoreConfig& config,
                                                        const Clock& clock);

  // The keys. A file that has become unreadable is logged once per change, and the last good keys
  // stay.
  std::shared_ptr<const KeySet> Snapshot();
  // Times a change was taken over, and times it was refused.
  uint64_t reload_count() const;
  uint64_t reload_failure_count() const;

 private:
  // What changes when the file does, also when it is replaced by another (a mounted secret).
  struct Stamp {
    int64_t modified_ns = 0;
    uint64_t inode = 0;
    uint64_t size_bytes = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  KeyStore(const KeyStoreConfig& config, const Clock& clock) : config_(config), clock_(clock) {}
  static absl::StatusOr<Stamp> StampOf(const std::string& path);
  void Reload() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const KeyStoreConfig config_;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const KeySet> keys_ ABSL_GUARDED_BY(mutex_);
  Stamp stamp_ ABSL_GUARDED_BY(mutex_);
  absl::Duration next_poll_ ABSL_GUARDED_BY(mutex_);
  uint64_t reloads_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t reload_failures_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tessera::gateway
