#pragma once

// How two processes of a cluster show each other that they know its secret, without sending it
// (protos/tessera/v1/cluster.proto, Greet and Proof):
//
//   caller                                 callee
//   Greet(caller_nonce)            ──►     ProofKeeper::Greet
//   Prove checks callee_proof      ◄──     callee_nonce, callee_proof
//   next call carries the Proof    ──►     ProofKeeper::Check
//
// A proof is an HMAC-SHA256 (RFC 2104) over a role and both nonces. It says who is at the other
// end, not that nobody listens or changes what follows: that is what TLS is for.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace tessera::v1 {
class GreetReply;
class GreetRequest;
class Proof;
}  // namespace tessera::v1

namespace tessera {

// Immutable. No secret (default-constructed) runs the same protocol with an empty key, which proves
// nothing: for a cluster whose listeners are all on the loopback interface.
class ClusterSecret {
 public:
  static constexpr size_t kBytesMin = 16;
  static constexpr size_t kBytesMax = 4096;

  ClusterSecret() = default;
  // The content of `file` without white space at its ends; an empty name gives no secret.
  //   kNotFound         the file cannot be opened; kDataLoss: nor read
  //   kInvalidArgument  fewer than kBytesMin bytes, or more than kBytesMax
  static absl::StatusOr<ClusterSecret> FromFile(const std::string& file);
  // kInvalidArgument as above.
  static absl::StatusOr<ClusterSecret> FromText(std::string text);

  bool empty() const { return key_.empty(); }
  const std::string& key() const { return key_; }

 private:
  std::string key_;
};

// What a message that needs no greeting carries: HMAC-SHA256(secret, "tessera sealed" | bytes), 32
// bytes. It shows that its sender knows the secret, not that it is new: `bytes` hold something that
// rises.
std::string SealOf(const ClusterSecret& secret, std::string_view bytes);
bool SealFits(const ClusterSecret& secret, std::string_view bytes, std::string_view seal);

// The callee's side. Thread-safe.
class ProofKeeper {
 public:
  static constexpr absl::Duration kNonceLife = absl::Seconds(10);

  // `clock` must outlive it. `nonces_max` nonces are remembered; the oldest is forgotten for the
  // next one, so that a flood of greetings costs bounded memory and shuts nobody out who proves
  // himself at once.
  ProofKeeper(ClusterSecret secret, const Clock& clock, size_t nonces_max = 16384);

  // kInvalidArgument: caller_nonce has not 32 bytes.
  absl::Status Greet(const v1::GreetRequest& request, v1::GreetReply& reply);
  // Each nonce that was given is good for one Check within kNonceLife, whatever its outcome.
  // kUnauthenticated: unknown, used or old nonce, or another secret.
  absl::Status Check(const v1::Proof& proof);

 private:
  using Nonce = std::array<uint8_t, 32>;
  struct Greeting {
    Nonce caller{};
    absl::Duration given_at;
  };

  void ForgetOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ClusterSecret secret_;
  const Clock& clock_;
  const size_t nonces_max_;

  absl::Mutex mutex_;
  absl::flat_hash_map<Nonce, Greeting> greetings_ ABSL_GUARDED_BY(mutex_);  // by callee nonce
  // In the order they were given; used ones stay until their time has come.
  std::deque<Nonce> order_ ABSL_GUARDED_BY(mutex_);
};

// The caller's side: greets by `greet` (one RPC, with its deadline), checks that the callee knows
// the secret, and writes the proof for the next call. `proof` changes only on success.
//   kUnauthenticated  the callee does not know the secret; nothing was proved to it
//   else              the error of `greet`
absl::Status Prove(
    const ClusterSecret& secret,
    absl::FunctionRef<absl::Status(const v1::GreetRequest& request, v1::GreetReply& reply)> greet,
    v1::Proof& proof);

}  // namespace tessera
