#include "tests/support/generation_traffic.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "tests/support/wait_until.h"

namespace tessera::testing {

GenerationTraffic::GenerationTraffic(const TrafficConfig& config) : config_(config) {
  for (size_t i = 0; i < config_.requests; ++i) {
    Request request;
    request.params.request_id = absl::StrCat(i);
    request.params.prompt = config_.prompts[i % config_.prompts.size()];
    request.params.prompt.push_back(static_cast<TokenId>(i));  // no two are alike
    request.params.sampling.temperature = 0;
    request.params.tokens_max = config_.tokens;
    request.params.ignore_eos = true;
    request.params.deadline = config_.deadline;
    requests_.push_back(std::move(request));
  }
  auto client = gateway::RouterClient::Open({.address = config_.router_address}, *this);
  TESSERA_CHECK(client.ok());  // it fails on TLS files only
  client_ = *std::move(client);
  client_->Connect();
}

GenerationTraffic::~GenerationTraffic() { client_.reset(); }

void GenerationTraffic::OnEvent(wire::TokenEvent event) {
  size_t index = 0;
  TESSERA_CHECK(absl::SimpleAtoi(event.request_id, &index));
  absl::MutexLock lock(&mutex_);
  Request& request = requests_.at(index);
  if (const auto* tokens = std::get_if<wire::TokensEvent>(&event.event)) {
    if (tokens->first_index != request.tokens.size()) {
      failure_.Update(
          absl::InternalError(absl::StrCat("token ", tokens->first_index, " came after ",
                                           request.tokens.size(), " tokens of request ", index)));
    }
    for (const wire::TokenOutput& token : tokens->tokens) request.tokens.push_back(token.token);
    const absl::Duration now = clock_.Elapsed();
    if (request.heard_at > absl::ZeroDuration()) gap_ = std::max(gap_, now - request.heard_at);
    request.heard_at = now;
  } else if (const auto* end = std::get_if<wire::FinishedEvent>(&event.event)) {
    request.finished = true;
    if (end->kind != wire::FinishKind::kLength) {
      failure_.Update(Annotate(end->error, absl::StrCat("request ", index)));
    }
  }
}

void GenerationTraffic::OnReport(const gateway::RouterReport&) {
  absl::MutexLock lock(&mutex_);
  for (Request& request : requests_) {
    if (request.sent || request.finished) continue;
    request.params.produced = request.tokens;
    request.sent = client_->Send(request.params);
  }
}

void GenerationTraffic::OnDown(absl::Status) {
  absl::MutexLock lock(&mutex_);
  for (Request& request : requests_) request.sent = false;
}

bool GenerationTraffic::AwaitTokens(size_t count) {
  return WaitUntil(
      [&] {
        client_->Connect();
        absl::MutexLock lock(&mutex_);
        return !failure_.ok() || std::ranges::all_of(requests_, [&](const Request& request) {
          return request.tokens.size() >= count;
        });
      },
      config_.deadline);
}

absl::Status GenerationTraffic::AwaitEnd() {
  const bool ended = WaitUntil(
      [&] {
        client_->Connect();
        absl::MutexLock lock(&mutex_);
        return !failure_.ok() || std::ranges::all_of(requests_, &Request::finished);
      },
      config_.deadline);
  absl::MutexLock lock(&mutex_);
  if (!ended) failure_.Update(absl::DeadlineExceededError("requests did not end"));
  return failure_;
}

std::vector<std::vector<TokenId>> GenerationTraffic::tokens() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::vector<TokenId>> tokens;
  for (const Request& request : requests_) tokens.push_back(request.tokens);
  return tokens;
}

absl::Duration GenerationTraffic::longest_gap() const {
  absl::MutexLock lock(&mutex_);
  return gap_;
}

}  // namespace tessera::testing
