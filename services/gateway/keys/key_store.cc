#include "services/gateway/keys/key_store.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/status.h"

namespace tessera::gateway {
namespace {

constexpr uint64_t kFileBytesMax = uint64_t{16} << 20;

absl::StatusOr<KeySet> ReadKeys(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kFileBytesMax));
  absl::StatusOr<KeySet> keys = KeySet::Parse(text);
  if (!keys.ok()) return Annotate(keys.status(), path);
  return keys;
}

}  // namespace

absl::StatusOr<KeyStore::Stamp> KeyStore::StampOf(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0)
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read: ", std::strerror(errno)));
  if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) > kFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a file of at most ", kFileBytesMax, " bytes"));
  }
  return Stamp{.modified_ns = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec,
               .inode = info.st_ino,
               .size_bytes = static_cast<uint64_t>(info.st_size)};
}

absl::StatusOr<std::unique_ptr<KeyStore>> KeyStore::Open(const KeyStoreConfig& config,
                                                         const Clock& clock) {
  const absl::StatusOr<Stamp> stamp = StampOf(config.path);
  absl::StatusOr<KeySet> keys = stamp.ok() ? ReadKeys(config.path) : stamp.status();
  if (!keys.ok()) return Annotate(keys.status(), "key file");
  std::unique_ptr<KeyStore> store(new KeyStore(config, clock));
  const absl::MutexLock lock(&store->mutex_);
  store->stamp_ = *stamp;
  store->keys_ = std::make_shared<const KeySet>(*std::move(keys));
  store->next_poll_ = clock.Elapsed() + config.poll_interval;
  return store;
}

std::shared_ptr<const KeySet> KeyStore::Snapshot() {
  const absl::Duration now = clock_.Elapsed();
  const absl::MutexLock lock(&mutex_);
  if (now >= next_poll_) {
    next_poll_ = now + config_.poll_interval;
    Reload();
  }
  return keys_;
}

// The stamp is taken before the file is read: a change in between is seen at the next poll.
void KeyStore::Reload() {
  const absl::StatusOr<Stamp> stamp = StampOf(config_.path);
  const Stamp now = stamp.ok() ? *stamp : Stamp();
  if (now == stamp_) return;
  stamp_ = now;
  absl::StatusOr<KeySet> keys = stamp.ok() ? ReadKeys(config_.path) : stamp.status();
  if (!keys.ok()) {
    ++reload_failures_;
    TESSERA_LOG(ERROR) << "the key file changed and cannot be used: " << keys.status().message()
                       << "; the keys of before stay";
    return;
  }
  ++reloads_;
  TESSERA_LOG(INFO) << "key file " << config_.path << " read again: " << keys->keys().size()
                    << " keys";
  keys_ = std::make_shared<const KeySet>(*std::move(keys));
}

uint64_t KeyStore::reload_count() const {
  const absl::MutexLock lock(&mutex_);
  return reloads_;
}

uint64_t KeyStore::reload_failure_count() const {
  const absl::MutexLock lock(&mutex_);
  return reload_failures_;
}

}  // namespace tessera::gateway
