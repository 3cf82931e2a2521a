#include "services/gateway/rest/expert_load_source.h"

#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/json/json_writer.h"
#include "services/gateway/api/api_error.h"

namespace tessera::gateway {
namespace {

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

void WriteRows(const std::vector<uint64_t>& rows, JsonWriter& json) {
  json.Open('[');
  for (const uint64_t count : rows) json.Integer(static_cast<int64_t>(count));
  json.Close(']');
}

// The id is a string: a double of JavaScript does not hold it.
void WriteRouter(const wire::RouterActivity& router, JsonWriter& json) {
  const auto count = [&json](const char* name, uint64_t value) {
    json.Key(name).Integer(static_cast<int64_t>(value));
  };
  json.Open('{').Key("id").String(absl::StrCat(absl::Hex(router.process_id, absl::kZeroPad16)));
  count("generation_tokens", router.generation_tokens);
  count("prompt_tokens", router.prompt_tokens);
  count("sequences_running", router.sequences_running);
  count("sequences_waiting", router.sequences_waiting);
  json.Close('}');
}

}  // namespace

std::string WriteExpertLoad(const wire::ExpertLoad& load) {
  std::string text;
  JsonWriter json(text);
  json.Open('{').Key("window_seconds");
  json.Number(static_cast<float>(absl::ToDoubleSeconds(load.window)));
  json.Key("layers").Open('[');
  for (const wire::LayerLoad& layer : load.layers) {
    json.Open('{').Key("layer").Integer(static_cast<int64_t>(ToIndex(layer.layer))).Key("rows");
    WriteRows(layer.rows, json);
    json.Close('}');
  }
  json.Close(']').Key("shards").Open('[');
  for (const wire::ShardActivity& shard : load.shards) {
    const uint64_t rows =
        std::accumulate(shard.layer_rows.begin(), shard.layer_rows.end(), uint64_t{0});
    json.Open('{').Key("id").String(absl::StrCat("expert-", ToIndex(shard.shard)));
    json.Key("state").String(NameOf(shard.condition));
    json.Key("rows").Integer(static_cast<int64_t>(rows));
    json.Key("busy_ratio").Number(shard.busy_ratio);
    json.Key("layer_rows");
    WriteRows(shard.layer_rows, json);
    json.Close('}');
  }
  json.Close(']').Key("routers").Open('[');
  for (const wire::RouterActivity& router : load.routers) WriteRouter(router, json);
  json.Close(']').Close('}');
  return text;
}

absl::Status CheckLoadWindow(std::string_view query) {
  for (const absl::string_view part : absl::StrSplit(ToAbsl(query), '&')) {
    absl::string_view value = part;
    if (!absl::ConsumePrefix(&value, "window=")) continue;
    absl::ConsumeSuffix(&value, "s");
    double seconds = 0;
    if (absl::SimpleAtod(value, &seconds) && absl::Seconds(seconds) == kLoadWindow) continue;
    return BadRequest("window",
                      absl::StrCat("routers keep a window of ", absl::ToInt64Seconds(kLoadWindow),
                                   " seconds and no other; leave 'window' out"));
  }
  return absl::OkStatus();
}

// Outlives the source if routers answer late.
struct ExpertLoadSource::State {
  absl::Mutex mutex;
  bool asking ABSL_GUARDED_BY(mutex) = false;
  bool stopped ABSL_GUARDED_BY(mutex) = false;
  std::vector<Done> waiting ABSL_GUARDED_BY(mutex);
  std::optional<std::string> json ABSL_GUARDED_BY(mutex);
  absl::Duration told_at ABSL_GUARDED_BY(mutex);

  // Under the lock, so that Stop waits for it.
  void Tell(const absl::StatusOr<std::string>& answer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    for (const Done& done : std::exchange(waiting, {})) done(answer);
  }
};

ExpertLoadSource::ExpertLoadSource(Collect collect, const Clock& clock, absl::Duration fresh_time)
    : collect_(std::move(collect)),
      clock_(clock),
      fresh_time_(fresh_time),
      state_(std::make_shared<State>()) {}

void ExpertLoadSource::Ask(Done done) {
  {
    absl::MutexLock lock(&state_->mutex);
    if (state_->stopped) return done(absl::UnavailableError("the server is shutting down"));
    if (state_->json && clock_.Elapsed() - state_->told_at < fresh_time_) {
      return done(*state_->json);
    }
    state_->waiting.push_back(std::move(done));
    if (std::exchange(state_->asking, true)) return;
  }
  collect_([state = state_, &clock = clock_](const absl::StatusOr<wire::ExpertLoad>& load) {
    const absl::StatusOr<std::string> answer =
        load.ok() ? absl::StatusOr<std::string>(WriteExpertLoad(*load)) : load.status();
    absl::MutexLock lock(&state->mutex);
    state->asking = false;
    if (state->stopped) return;
    if (answer.ok()) {
      state->json = *answer;
      state->told_at = clock.Elapsed();
    }
    state->Tell(answer);
  });
}

absl::StatusOr<std::string> ExpertLoadSource::Await(absl::Duration timeout) {
  struct Answer {
    absl::StatusOr<std::string> json;
    absl::Notification told;
  };
  const auto answer = std::make_shared<Answer>();
  Ask([answer](const absl::StatusOr<std::string>& json) {
    answer->json = json;
    answer->told.Notify();
  });
  if (answer->told.WaitForNotificationWithTimeout(timeout)) return answer->json;
  return absl::DeadlineExceededError(
      absl::StrCat("no router told within ", absl::FormatDuration(timeout)));
}

void ExpertLoadSource::Stop() {
  absl::MutexLock lock(&state_->mutex);
  state_->stopped = true;
  state_->Tell(absl::UnavailableError("the server is shutting down"));
}

}  // namespace tessera::gateway
