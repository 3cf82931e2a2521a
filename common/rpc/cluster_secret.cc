#include "common/rpc/cluster_secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/base/entropy.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "tessera/v1/cluster.pb.h"

namespace tessera {
namespace {

using Nonce = std::array<uint8_t, 32>;
using Mac = std::array<uint8_t, 32>;

constexpr absl::string_view kCallerRole = "tessera caller";
constexpr absl::string_view kCalleeRole = "tessera callee";
constexpr absl::string_view kSealedRole = "tessera sealed";

Nonce FreshNonce() {
  Nonce nonce;
  FillWithEntropy(std::as_writable_bytes(std::span(nonce)));
  return nonce;
}

absl::string_view TextOf(const Nonce& nonce) {
  return {reinterpret_cast<const char*>(nonce.data()), nonce.size()};
}

std::optional<Nonce> ToNonce(std::string_view bytes) {
  Nonce nonce;
  if (bytes.size() != nonce.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), nonce.begin());
  return nonce;
}

Mac MacOf(const ClusterSecret& secret, const std::string& text) {
  Mac mac;
  unsigned int size = 0;
  // HMAC takes a null key for "as before", so an empty one must point somewhere.
  const auto* made =
      HMAC(EVP_sha256(), secret.key().c_str(), static_cast<int>(secret.key().size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &size);
  TESSERA_CHECK(made != nullptr && size == mac.size());
  return mac;
}

Mac MacOf(const ClusterSecret& secret, absl::string_view role, const Nonce& caller,
          const Nonce& callee) {
  return MacOf(secret, absl::StrCat(role, TextOf(caller), TextOf(callee)));
}

std::string SealedText(std::string_view bytes) {
  std::string text(kSealedRole);
  return text.append(bytes);
}

// In a time that does not depend on where they differ.
bool SameMac(const Mac& expected, std::string_view given) {
  return given.size() == expected.size() &&
         CRYPTO_memcmp(expected.data(), given.data(), expected.size()) == 0;
}

}  // namespace

absl::StatusOr<ClusterSecret> ClusterSecret::FromFile(const std::string& file) {
  if (file.empty()) return ClusterSecret();
  // White space around it does not count, so a little more than the limit is read.
  absl::StatusOr<std::string> text = ReadWholeFile(file, 2 * kBytesMax);
  if (!text.ok()) return Annotate(text.status(), "cluster secret");
  absl::StatusOr<ClusterSecret> secret = FromText(*std::move(text));
  return secret.ok() ? std::move(secret) : Annotate(secret.status(), file);
}

absl::StatusOr<ClusterSecret> ClusterSecret::FromText(std::string text) {
  absl::StripAsciiWhitespace(&text);
  if (text.size() < kBytesMin || text.size() > kBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the cluster secret has ", text.size(), " bytes, expected ", kBytesMin, "..",
                     kBytesMax, "; `head -c 32 /dev/urandom | base64` makes one"));
  }
  ClusterSecret secret;
  secret.key_ = std::move(text);
  return secret;
}

std::string SealOf(const ClusterSecret& secret, std::string_view bytes) {
  const Mac mac = MacOf(secret, SealedText(bytes));
  return {mac.begin(), mac.end()};
}

bool SealFits(const ClusterSecret& secret, std::string_view bytes, std::string_view seal) {
  return SameMac(MacOf(secret, SealedText(bytes)), seal);
}

ProofKeeper::ProofKeeper(ClusterSecret secret, const Clock& clock, size_t nonces_max)
    : secret_(std::move(secret)), clock_(clock), nonces_max_(nonces_max) {
  TESSERA_CHECK(nonces_max > 0);
}

void ProofKeeper::ForgetOld() {
  const absl::Duration now = clock_.Elapsed();
  while (!order_.empty()) {
    const auto it = greetings_.find(order_.front());
    const bool used = it == greetings_.end();
    if (!used && order_.size() < nonces_max_ && now - it->second.given_at <= kNonceLife) return;
    if (!used) greetings_.erase(it);
    order_.pop_front();
  }
}

absl::Status ProofKeeper::Greet(const v1::GreetRequest& request, v1::GreetReply& reply) {
  const std::optional<Nonce> caller = ToNonce(request.caller_nonce());
  if (!caller) {
    return absl::InvalidArgumentError(absl::StrCat(
        "caller_nonce has ", request.caller_nonce().size(), " bytes, expected 32 random ones"));
  }
  const Nonce callee = FreshNonce();
  const Mac mac = MacOf(secret_, kCalleeRole, *caller, callee);
  reply.set_callee_nonce(callee.data(), callee.size());
  reply.set_callee_proof(mac.data(), mac.size());
  absl::MutexLock lock(&mutex_);
  ForgetOld();
  greetings_[callee] = {*caller, clock_.Elapsed()};
  order_.push_back(callee);
  return absl::OkStatus();
}

absl::Status ProofKeeper::Check(const v1::Proof& proof) {
  const std::optional<Nonce> callee = ToNonce(proof.callee_nonce());
  const std::optional<Nonce> caller = ToNonce(proof.caller_nonce());
  if (!callee || !caller) {
    return absl::UnauthenticatedError("no proof of the cluster secret: call Greet first");
  }
  std::optional<Greeting> greeting;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = greetings_.find(*callee);
    if (it != greetings_.end()) {
      greeting = it->second;
      greetings_.erase(it);
    }
  }
  if (!greeting || clock_.Elapsed() - greeting->given_at > kNonceLife) {
    return absl::UnauthenticatedError(
        "the nonce of this proof was never given, was used before or is older than 10 s");
  }
  if (greeting->caller != *caller ||
      !SameMac(MacOf(secret_, kCallerRole, *caller, *callee), proof.caller_proof())) {
    return absl::UnauthenticatedError(
        "the proof does not fit: caller and callee have different cluster secrets");
  }
  return absl::OkStatus();
}

absl::Status Prove(
    const ClusterSecret& secret,
    absl::FunctionRef<absl::Status(const v1::GreetRequest& request, v1::GreetReply& reply)> greet,
    v1::Proof& proof) {
  const Nonce caller = FreshNonce();
  v1::GreetRequest request;
  request.set_caller_nonce(caller.data(), caller.size());
  v1::GreetReply reply;
  TESSERA_RETURN_IF_ERROR(greet(request, reply));
  const std::optional<Nonce> callee = ToNonce(reply.callee_nonce());
  if (!callee || !SameMac(MacOf(secret, kCalleeRole, caller, *callee), reply.callee_proof())) {
    return absl::UnauthenticatedError(
        "the callee could not prove that it knows our cluster secret; nothing was told to it");
  }
  const Mac mac = MacOf(secret, kCallerRole, caller, *callee);
  proof.set_callee_nonce(callee->data(), callee->size());
  proof.set_caller_nonce(caller.data(), caller.size());
  proof.set_caller_proof(mac.data(), mac.size());
  return absl::OkStatus();
}

}  // namespace tessera
