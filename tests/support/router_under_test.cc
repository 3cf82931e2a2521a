#include "tests/support/router_under_test.h"

#include <utility>

#include "common/base/check.h"
#include "tests/support/tiny_model.h"

namespace tessera::testing {
namespace {

template <typename T>
T Value(absl::StatusOr<T> result) {
  TESSERA_CHECK(result.ok());
  return *std::move(result);
}

}  // namespace

absl::StatusOr<std::shared_ptr<EventReader>> EventReader::Submit(router::EngineLoop& loop,
                                                                 wire::GenerationParams params) {
  auto reader = std::make_shared<EventReader>();
  absl::StatusOr<std::shared_ptr<router::RequestStream>> stream =
      loop.Submit(std::move(params), [weak = reader->weak_from_this()] {
        if (const auto alive = weak.lock()) alive->Drain();
      });
  if (!stream.ok()) return stream.status();
  {
    absl::MutexLock lock(&reader->mutex_);
    reader->stream_ = *stream;
  }
  reader->Drain();
  return reader;
}

void EventReader::Drain() {
  absl::MutexLock lock(&mutex_);
  if (stream_ == nullptr) return;
  while (std::optional<wire::TokenEvent> event = stream_->Take()) {
    TESSERA_CHECK(!finished_);
    if (auto* started = std::get_if<wire::StartedEvent>(&event->event)) {
      started_ = std::move(*started);
    } else if (auto* tokens = std::get_if<wire::TokensEvent>(&event->event)) {
      if (outputs_.empty()) first_index_ = tokens->first_index;
      TESSERA_CHECK(tokens->first_index == first_index_ + outputs_.size());
      outputs_.insert(outputs_.end(), tokens->tokens.begin(), tokens->tokens.end());
    } else {
      end_ = std::get<wire::FinishedEvent>(std::move(event->event));
      finished_ = true;
    }
  }
}

const wire::FinishedEvent& EventReader::AwaitFinished() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&finished_));
  return end_;
}

void EventReader::AwaitTokens(size_t count) {
  const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return outputs_.size() >= count || finished_;
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&enough));
}

std::vector<wire::TokenOutput> EventReader::outputs() const {
  absl::MutexLock lock(&mutex_);
  return outputs_;
}

std::vector<TokenId> EventReader::tokens() const {
  absl::MutexLock lock(&mutex_);
  std::vector<TokenId> tokens;
  for (const wire::TokenOutput& output : outputs_) tokens.push_back(output.token);
  return tokens;
}

wire::StartedEvent EventReader::started() const {
  absl::MutexLock lock(&mutex_);
  return started_;
}

bool EventReader::finished() const {
  absl::MutexLock lock(&mutex_);
  return finished_;
}

uint32_t EventReader::first_index() const {
  absl::MutexLock lock(&mutex_);
  return first_index_;
}

RouterUnderTest::RouterUnderTest(router::CapacityConfig capacity, const std::string& otlp_endpoint)
    : tracer(Value(
          Tracer::Start({.endpoint = otlp_endpoint, .resource = {.service = "tessera-router"}},
                        clock, registry))) {
  WriteTinyModel(TinySpec(), {}, folder_.path());
  model_ = Value(router::RouterModel::Open(folder_.path(), {.threads = 1, .precision = "float32"}));
  LoadPlan plan;
  TESSERA_CHECK(model_->PlanWeights(plan).ok());
  store_ = Value(expert_shard::ExpertStore::Plan(
      spec(), model_->checkpoint(), model_->manifest(), expert_shard::AllUnits(spec()),
      {.arithmetic = model_->compute().arithmetic}, plan));
  TESSERA_CHECK(plan.Run(model_->pool(), {}).ok());
  local_ = std::make_unique<cli::LocalExperts>(*store_, model_->compute());
  flaky_ = std::make_unique<FlakyExperts>(*local_, spec());
  capacity.kv_bytes = size_t{8} << 20;
  const router::KvPlan kv = Value(router::PlanKv(spec(), model_->kv_type(), capacity, 0));
  rooms_ = Value(router::RouterRooms::Create(*model_, capacity, kv,
                                             {*flaky_, book, clock, registry, flaky_.get()}));
  loop_ = std::make_unique<router::EngineLoop>(
      router::EngineLoopConfig{
          .inbox_max = 16, .waiting_max = capacity.waiting_max, .vocab = spec().vocab},
      router::EngineLoopRooms{rooms_->engine(), rooms_->scheduler(), book, board, clock, registry,
                              flaky_.get()});
}

RouterUnderTest::~RouterUnderTest() {
  flaky_->Open();
  loop_->Stop();
}

wire::GenerationParams GreedyRequest(std::string id, std::vector<TokenId> prompt,
                                     uint32_t tokens_max) {
  wire::GenerationParams params;
  params.request_id = std::move(id);
  params.prompt = std::move(prompt);
  params.sampling.temperature = 0;
  params.tokens_max = tokens_max;
  params.ignore_eos = true;
  return params;
}

}  // namespace tessera::testing
