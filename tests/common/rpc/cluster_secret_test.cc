#include "common/rpc/cluster_secret.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <string>
#include <vector>

#include "tessera/v1/cluster.pb.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_folder.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

ClusterSecret SecretOf(const std::string& text) {
  auto secret = ClusterSecret::FromText(text);
  EXPECT_TRUE(secret.ok()) << secret.status();
  return *secret;
}

class ProofTest : public ::testing::Test {
 protected:
  absl::Status ProveWith(const ClusterSecret& secret, v1::Proof& proof) {
    return Prove(
        secret,
        [this](const v1::GreetRequest& request, v1::GreetReply& reply) {
          return keeper_.Greet(request, reply);
        },
        proof);
  }

  const ClusterSecret secret_ = SecretOf("correct horse battery staple");
  FakeClock clock_;
  ProofKeeper keeper_{secret_, clock_, /*nonces_max=*/4};
};

TEST_F(ProofTest, WhoKnowsTheSecretIsBelievedOnce) {
  v1::Proof proof;
  ASSERT_TRUE(ProveWith(secret_, proof).ok());
  EXPECT_TRUE(keeper_.Check(proof).ok());
  EXPECT_EQ(keeper_.Check(proof).code(), absl::StatusCode::kUnauthenticated) << "used twice";
}

TEST_F(ProofTest, TheCallerFindsACalleeWithAnotherSecretAndTellsItNothing) {
  v1::Proof proof;
  const absl::Status status = ProveWith(SecretOf("another secret altogether"), proof);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(proof.caller_proof().empty());
}

TEST_F(ProofTest, TheCalleeFindsACallerWithAnotherSecret) {
  // The caller believes a callee of its own secret, then goes to ours with ours' nonce.
  const ClusterSecret wrong = SecretOf("another secret altogether");
  v1::GreetReply ours;
  v1::Proof proof;
  ProofKeeper theirs(wrong, clock_);
  v1::GreetRequest request;
  ASSERT_TRUE(Prove(
                  wrong,
                  [&](const v1::GreetRequest& r, v1::GreetReply& reply) {
                    request = r;
                    return theirs.Greet(r, reply);
                  },
                  proof)
                  .ok());
  ASSERT_TRUE(keeper_.Greet(request, ours).ok());
  proof.set_callee_nonce(ours.callee_nonce());
  const absl::Status status = keeper_.Check(proof);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(status.message(), HasSubstr("different cluster secrets"));
}

TEST_F(ProofTest, AProofOfTheCalleeIsNoneOfTheCaller) {
  v1::GreetRequest request;
  request.set_caller_nonce(std::string(32, 'n'));
  v1::GreetReply reply;
  ASSERT_TRUE(keeper_.Greet(request, reply).ok());
  v1::Proof reflected;
  reflected.set_caller_nonce(request.caller_nonce());
  reflected.set_callee_nonce(reply.callee_nonce());
  reflected.set_caller_proof(reply.callee_proof());
  EXPECT_EQ(keeper_.Check(reflected).code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(ProofTest, ANonceLivesForTenSeconds) {
  v1::Proof young;
  ASSERT_TRUE(ProveWith(secret_, young).ok());
  clock_.Advance(absl::Seconds(10));
  EXPECT_TRUE(keeper_.Check(young).ok());
  v1::Proof old;
  ASSERT_TRUE(ProveWith(secret_, old).ok());
  clock_.Advance(absl::Seconds(10) + absl::Milliseconds(1));
  EXPECT_EQ(keeper_.Check(old).code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(ProofTest, AFloodOfGreetingsForgetsTheOldestOnly) {
  std::vector<v1::Proof> proofs(6);
  for (v1::Proof& proof : proofs) ASSERT_TRUE(ProveWith(secret_, proof).ok());
  EXPECT_FALSE(keeper_.Check(proofs[0]).ok());
  EXPECT_FALSE(keeper_.Check(proofs[1]).ok());
  for (size_t i = 2; i < proofs.size(); ++i) EXPECT_TRUE(keeper_.Check(proofs[i]).ok()) << i;
}

TEST_F(ProofTest, GarbageIsRefused) {
  v1::GreetRequest request;
  v1::GreetReply reply;
  for (const size_t size : {0, 31, 33, 4096}) {
    request.set_caller_nonce(std::string(size, 'x'));
    EXPECT_EQ(keeper_.Greet(request, reply).code(), absl::StatusCode::kInvalidArgument) << size;
  }
  v1::Proof proof;
  EXPECT_EQ(keeper_.Check(proof).code(), absl::StatusCode::kUnauthenticated) << "empty";
  ASSERT_TRUE(ProveWith(secret_, proof).ok());
  proof.mutable_caller_proof()->resize(31);
  EXPECT_EQ(keeper_.Check(proof).code(), absl::StatusCode::kUnauthenticated) << "cut short";
  ASSERT_TRUE(ProveWith(secret_, proof).ok());
  (*proof.mutable_caller_proof())[5] ^= 1;
  EXPECT_EQ(keeper_.Check(proof).code(), absl::StatusCode::kUnauthenticated) << "a bit flipped";
}

TEST_F(ProofTest, AnErrorOfTheGreetingIsHandedOn) {
  v1::Proof proof;
  const auto fail = [](const v1::GreetRequest&, v1::GreetReply&) {
    return absl::UnavailableError("nobody there");
  };
  EXPECT_EQ(Prove(secret_, fail, proof), absl::UnavailableError("nobody there"));
}

// RFC 2104, written out: H(key ^ opad | H(key ^ ipad | text)) for keys up to 64 bytes.
std::string HmacByHand(const std::string& key, const std::string& text) {
  const auto hash = [](const std::string& bytes) {
    std::string digest(32, '\0');
    SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
           reinterpret_cast<unsigned char*>(digest.data()));
    return digest;
  };
  std::string inner(64, '\x36');
  std::string outer(64, '\x5c');
  for (size_t i = 0; i < key.size(); ++i) {
    inner[i] = static_cast<char>(inner[i] ^ key[i]);
    outer[i] = static_cast<char>(outer[i] ^ key[i]);
  }
  return hash(outer + hash(inner + text));
}

TEST_F(ProofTest, ProofsAreTheHmacOfRoleAndNonces) {
  v1::Proof proof;
  v1::GreetReply greeting;
  const auto greet = [&](const v1::GreetRequest& request, v1::GreetReply& reply) {
    const absl::Status status = keeper_.Greet(request, reply);
    greeting = reply;
    return status;
  };
  ASSERT_TRUE(Prove(secret_, greet, proof).ok());
  const std::string nonces = proof.caller_nonce() + proof.callee_nonce();
  EXPECT_EQ(greeting.callee_proof(), HmacByHand(secret_.key(), "tessera callee" + nonces));
  EXPECT_EQ(proof.caller_proof(), HmacByHand(secret_.key(), "tessera caller" + nonces));
  v1::Proof other;
  ASSERT_TRUE(ProveWith(secret_, other).ok());
  EXPECT_NE(other.caller_nonce(), proof.caller_nonce()) << "nonces are fresh";
  EXPECT_NE(other.callee_nonce(), proof.callee_nonce());
}

TEST(ClusterSecretTest, NoSecretStillRunsTheProtocol) {
  FakeClock clock;
  ProofKeeper keeper(ClusterSecret(), clock);
  v1::Proof proof;
  const auto greet = [&](const v1::GreetRequest& request, v1::GreetReply& reply) {
    return keeper.Greet(request, reply);
  };
  ASSERT_TRUE(Prove(ClusterSecret(), greet, proof).ok());
  EXPECT_TRUE(keeper.Check(proof).ok());
  EXPECT_FALSE(Prove(SecretOf("sixteen letters!"), greet, proof).ok());
}

TEST(ClusterSecretTest, FilesAreTrimmedAndChecked) {
  const testing::TempFolder folder;
  const auto write = [&](const std::string& text) {
    testing::WriteFile(folder.File("secret"), text);
    return ClusterSecret::FromFile(folder.File("secret"));
  };
  EXPECT_EQ(write("  sixteen letters!\n")->key(), "sixteen letters!");
  EXPECT_EQ(write("fifteen letters\n").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(write("short").status().message(), HasSubstr("secret"));
  EXPECT_EQ(write(std::string(5000, 'x')).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(ClusterSecret::FromFile("")->empty());
  EXPECT_EQ(ClusterSecret::FromFile("/no/such/secret").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tessera
