#include "services/expert_shard/edge/session_table.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"

namespace tessera::expert_shard {
namespace {

absl::Status CheckRequest(const SessionRequest& request) {
  if (request.frame_version != wire::kFrameVersion) {
    return absl::FailedPreconditionError(absl::StrCat("frame versions differ: ours is ",
                                                      wire::kFrameVersion, ", theirs ",
                                                      request.frame_version));
  }
  if (request.session == 0 || request.credits_wanted == 0 || request.rows_max == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("session is ", request.session, ", credits_wanted ", request.credits_wanted,
                     ", rows_max ", request.rows_max, ": each must be at least 1"));
  }
  return absl::OkStatus();
}

}  // namespace

SessionTable::SessionTable(const SessionLimits& limits, const Clock& clock,
                           std::function<size_t()> router_count)
    : limits_(limits), clock_(clock), router_count_(std::move(router_count)) {
  TESSERA_CHECK(limits.credits_max >= 1 && limits.credits_max <= wire::kCreditsMax);
}

absl::StatusOr<SessionGrant> SessionTable::Open(const SessionRequest& request) {
  TESSERA_RETURN_IF_ERROR(CheckRequest(request));
  wire::ModelIdentity theirs = request.model;
  if (theirs.expert_dtype.empty()) theirs.expert_dtype = limits_.model.expert_dtype;
  TESSERA_RETURN_IF_ERROR(wire::CompareModels(limits_.model, theirs, request.strict));

  Session session;
  wire::Hello& hello = session.expected;
  hello.session = request.session;
  hello.incarnation = limits_.incarnation;
  TESSERA_CHECK(getentropy(hello.token.data(), hello.token.size()) == 0);
  TESSERA_ASSIGN_OR_RETURN(hello.model_hash, wire::ToModelHash(limits_.model.model_hash));
  hello.credits = std::min(request.credits_wanted, limits_.credits_max);
  hello.kernel_level = wire::KernelLevelNumber(limits_.model.kernel_level);
  const uint32_t rows_max = std::min(request.rows_max, limits_.rows_max);
  hello.geometry = {.d_model = limits_.model.d_model,
                    .layer_count = limits_.model.layer_count,
                    .expert_count = limits_.model.expert_count,
                    .rows_max = rows_max,
                    .pairs_max = rows_max * limits_.model.top_k,
                    .dtype_up = request.rows_up,
                    .dtype_down = request.rows_down,
                    .strict = request.strict};
  TESSERA_RETURN_IF_ERROR(wire::CheckGeometry(hello.geometry));
  session.opened_at = clock_.Elapsed();

  const size_t connected = router_count_();
  absl::MutexLock lock(&mutex_);
  ForgetOld();
  if (connected + waiting_.size() >= limits_.routers_max) {
    return absl::ResourceExhaustedError(absl::StrCat(connected, " routers are connected and ",
                                                     waiting_.size(), " about to be; at most ",
                                                     limits_.routers_max, " may"));
  }
  waiting_.push_back(session);
  return SessionGrant{hello.token, hello.credits, rows_max};
}

absl::StatusOr<wire::Hello> SessionTable::Greet(const wire::Hello& theirs) {
  Session session;
  {
    absl::MutexLock lock(&mutex_);
    ForgetOld();
    const auto it = std::find_if(waiting_.begin(), waiting_.end(), [&](const Session& s) {
      return wire::SameToken(s.expected.token, theirs.token);
    });
    if (it == waiting_.end()) {
      return absl::UnauthenticatedError(
          absl::StrCat("the greeting of session ", theirs.session,
                       " has a token that was not given, was used, or is older than ",
                       absl::FormatDuration(limits_.token_life)));
    }
    session = std::move(*it);
    waiting_.erase(it);
  }
  wire::Hello answer = session.expected;
  if (theirs.session != answer.session) {
    return absl::FailedPreconditionError(absl::StrCat("the session differs: agreed was ",
                                                      answer.session, ", the greeting says ",
                                                      theirs.session));
  }
  TESSERA_RETURN_IF_ERROR(wire::CompareHello(answer, theirs));
  answer.credits = std::min(answer.credits, theirs.credits);
  answer.checksum_payload = theirs.checksum_payload;
  return answer;
}

size_t SessionTable::waiting_count() const {
  absl::MutexLock lock(&mutex_);
  return waiting_.size();
}

void SessionTable::ForgetOld() {
  const absl::Duration now = clock_.Elapsed();
  const auto young = std::find_if(waiting_.begin(), waiting_.end(), [&](const Session& s) {
    return now - s.opened_at <= limits_.token_life;
  });
  waiting_.erase(waiting_.begin(), young);
}

}  // namespace tessera::expert_shard
