#include "services/expert_shard/edge/unit_loader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"

namespace tessera::expert_shard {
namespace {

// An order that keeps its pace looks so often whether it is still wanted.
constexpr absl::Duration kLook = absl::Milliseconds(100);

absl::Status StopsNow() { return absl::UnavailableError("the shard stops"); }

absl::Status CheckWanted(const LoadOrder& order) {
  if (!order.is_cancelled || !order.is_cancelled()) return absl::OkStatus();
  return absl::CancelledError("whoever ordered it gave it up; what is not done is left");
}

bool Holds(const ExpertTable& table, const ExpertUnit& unit) {
  return table.Find(unit.layer, unit.expert) != nullptr;
}

// All slots are free or hold what they are to hold; said before anything is read.
absl::Status CheckSlots(const ExpertTable& table, const std::vector<UnitInSlot>& load) {
  for (const UnitInSlot& each : load) {
    if (Holds(table, each.unit)) continue;
    const HeldExpert* there = table.AtSlot(each.slot);
    if (there == nullptr || there->unit == each.unit) continue;
    return absl::ResourceExhaustedError(absl::StrCat(
        "slot ", each.slot, " for ", NameOf(each.unit), " holds ", NameOf(there->unit), "; ",
        table.slot_count() - table.unit_count(), " of ", table.slot_count(), " slots are free"));
  }
  return absl::OkStatus();
}

}  // namespace

UnitLoader::UnitLoader(ExpertStore& store, const Clock& clock, std::function<void()> changed,
                       PeerSource peers)
    : store_(store), clock_(clock), changed_(std::move(changed)), peers_(std::move(peers)) {
  thread_ = Thread("loader", [this](std::stop_token) {
    while (std::optional<Job> job = jobs_.Pop()) {
      job->done(stopping_.HasBeenNotified() ? absl::StatusOr<LoadOutcome>(StopsNow())
                                            : Run(job->order));
    }
  });
}

void UnitLoader::Stop() {
  if (!stopping_.HasBeenNotified()) stopping_.Notify();
  jobs_.Close();
  thread_.Stop();
}

void UnitLoader::Submit(LoadOrder order, LoadDone done) {
  Job job{std::move(order), std::move(done)};
  if (jobs_.TryPush(std::move(job))) return;
  job.done(jobs_.closed() ? StopsNow()
                          : absl::ResourceExhaustedError(
                                absl::StrCat("more than ", kJobsMax, " orders wait already")));
}

absl::StatusOr<LoadOutcome> UnitLoader::Run(const LoadOrder& order) {
  const absl::Duration start = clock_.Elapsed();
  LoadOutcome outcome;
  TESSERA_RETURN_IF_ERROR(CheckSlots(*store_.Snapshot(), order.load));
  for (const UnitInSlot& each : order.load) {
    // Another router's order was faster; the answer says where it is.
    if (Holds(*store_.Snapshot(), each.unit)) continue;
    TESSERA_RETURN_IF_ERROR(KeepPace(order, start, outcome.read_bytes));
    UnitSource other;
    if (peers_ && !each.peer.empty()) {
      other = [this, &each](const ExpertUnit& unit, uint64_t version, std::span<std::byte> bytes) {
        return peers_(each.peer, unit, version, bytes);
      };
    }
    TESSERA_ASSIGN_OR_RETURN(const size_t bytes, store_.Load(each.unit, each.slot, other));
    outcome.read_bytes += bytes;
    if (bytes > 0) changed_();
  }
  size_t dropped = 0;
  // In a moment: what is cancelled while they go is not told apart from an answer that is lost.
  TESSERA_RETURN_IF_ERROR(CheckWanted(order));
  for (const UnitInSlot& each : order.drop) dropped += store_.Drop(each.unit, each.slot);
  if (dropped > 0) changed_();
  outcome.took = clock_.Elapsed() - start;
  TESSERA_LOG(INFO) << "loaded " << order.load.size() << " units (" << outcome.read_bytes
                    << " bytes read) and dropped " << dropped << " in "
                    << absl::FormatDuration(outcome.took) << "; " << store_.unit_count()
                    << " are held";
  return outcome;
}

absl::Status UnitLoader::KeepPace(const LoadOrder& order, absl::Duration start,
                                  uint64_t read_bytes) {
  const double rate = static_cast<double>(order.bytes_per_second_max);
  const absl::Duration due =
      rate == 0 ? start : start + absl::Seconds(static_cast<double>(read_bytes) / rate);
  for (;;) {
    if (stopping_.HasBeenNotified()) return StopsNow();
    TESSERA_RETURN_IF_ERROR(CheckWanted(order));
    const absl::Duration ahead = due - clock_.Elapsed();
    if (ahead <= absl::ZeroDuration()) return absl::OkStatus();
    stopping_.WaitForNotificationWithTimeout(std::min(ahead, kLook));
  }
}

}  // namespace tessera::expert_shard
