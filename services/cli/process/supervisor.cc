#include "services/cli/process/supervisor.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "services/cli/process/local_host.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kLookInterval = absl::Milliseconds(20);
constexpr absl::Duration kReadyTimeout = absl::Milliseconds(500);
constexpr absl::Duration kRotationInterval = absl::Seconds(5);

// Whoever writes has the file open for appending, so it keeps its place and loses its content.
void RotateOutput(const std::string& path, size_t bytes_max) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  if (error || bytes <= bytes_max) return;
  fs::copy_file(path, path + ".1", fs::copy_options::overwrite_existing, error);
  fs::resize_file(path, 0, error);
}

int PollTimeout(absl::Duration nap) {
  if (nap == absl::InfiniteDuration()) return -1;
  // Rounded up: waking before the time is due means to come back at once.
  const int64_t ms = absl::ToInt64Milliseconds(nap + absl::Microseconds(999));
  return static_cast<int>(std::clamp<int64_t>(ms, 0, std::numeric_limits<int>::max()));
}

}  // namespace

std::string LastLines(const std::string& path, size_t begin, size_t bytes_max) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  const auto bytes = static_cast<size_t>(file.tellg());
  if (begin > bytes) begin = 0;  // it was begun anew meanwhile
  const size_t from = std::max(begin, bytes > bytes_max ? bytes - bytes_max : 0);
  std::string text(bytes - from, '\0');
  file.seekg(static_cast<std::streamoff>(from));
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (from > begin) text.erase(0, text.find('\n') + 1);
  return text;
}

absl::Status Supervisor::Add(ServiceSpec spec) {
  Service& service = services_.emplace_back();
  service.spec = std::move(spec);
  service.pause = config_.restart_pause_min;
  return StartLife(service);
}

absl::Status Supervisor::StartLife(Service& service) {
  unlink(service.spec.endpoints_file.c_str());
  const ClusterProcess* before = service.before.has_value() ? &*service.before : nullptr;
  TESSERA_ASSIGN_OR_RETURN(ChildCommand command, service.spec.command(before));
  command.output_file = service.spec.output_file;
  std::error_code none_yet;
  const auto bytes = fs::file_size(service.spec.output_file, none_yet);
  service.output_begin = none_yet ? 0 : bytes;
  TESSERA_ASSIGN_OR_RETURN(service.child, ChildProcess::Start(command));
  service.started_at = service.look_due = clock_.Elapsed();
  return absl::OkStatus();
}

std::string Supervisor::LastWords(const Service& service) {
  return LastLines(service.spec.output_file, service.output_begin);
}

absl::StatusOr<bool> Supervisor::NoteEnd(Service& service, const ChildEnd& end) {
  const absl::Duration now = clock_.Elapsed();
  const bool was_known = service.known.has_value();
  service.child.reset();
  service.ready = false;
  service.known.reset();
  if (service.kill_due.has_value()) {
    service.gone = true;
    return true;
  }
  if (!service.ever_ready && ++service.failed_starts >= config_.first_starts_max) {
    return absl::UnavailableError(absl::StrCat(service.spec.id, " does not start (", end.ToString(),
                                               "); its last words:\n", LastWords(service)));
  }
  if (!service.ever_ready && end.exit_code == 2) {  // flags or config: no better next time
    return absl::InvalidArgumentError(
        absl::StrCat(service.spec.id, " refuses its config: ", LastWords(service)));
  }
  if (now - service.started_at >= config_.calm_after) service.pause = config_.restart_pause_min;
  service.start_due = now + service.pause;
  TESSERA_LOG(WARNING) << service.spec.id << " ended with " << end.ToString()
                       << "; it starts again in " << absl::FormatDuration(service.pause);
  service.pause = std::min(2 * service.pause, config_.restart_pause_max);
  return was_known;
}

bool Supervisor::LookAt(Service& service) {
  service.look_due = clock_.Elapsed() + kLookInterval;
  bool changed = false;
  if (!service.known.has_value()) {
    absl::StatusOr<ClusterProcess> written = ReadEndpointsFile(service.spec.endpoints_file);
    if (!written.ok() || written->pid != service.child->pid()) return false;
    written->role = service.spec.role;
    written->id = service.spec.id;
    service.known = service.before = *std::move(written);
    changed = true;
  }
  const std::string* admin = service.known->Endpoint("admin");
  service.ready = admin == nullptr || HttpStatusOf(*admin, "/readyz", kReadyTimeout) == 200;
  service.ever_ready = service.ever_ready || service.ready;
  return changed || service.ready;
}

absl::StatusOr<bool> Supervisor::Tick() {
  bool changed = false;
  for (Service& service : services_) {
    if (service.child != nullptr) {
      if (const auto end = service.child->Poll()) {
        const absl::StatusOr<bool> noted = NoteEnd(service, *end);
        if (!noted.ok() && service.spec.needed) return noted.status();
        if (!noted.ok()) given_up_.emplace_back(service.spec.id, noted.status());
        service.gone = service.gone || !noted.ok();
        changed = changed || !noted.ok() || *noted;
      }
    }
    const absl::Duration now = clock_.Elapsed();
    if (service.kill_due.has_value()) {
      if (service.child == nullptr) {
        service.gone = changed = true;
      } else if (now >= *service.kill_due) {
        service.child->Signal(SIGKILL);
        service.kill_due = now + config_.restart_pause_max;
      }
    }
    if (service.gone) continue;
    if (service.child == nullptr && now >= service.start_due) {
      ++restarts_;
      if (const absl::Status started = StartLife(service); !started.ok()) {
        TESSERA_LOG(ERROR) << service.spec.id << ": " << started.message();
        service.start_due = now + config_.restart_pause_max;
      }
    }
    if (service.child != nullptr && !service.ready && now >= service.look_due) {
      changed = LookAt(service) || changed;
    }
  }
  std::erase_if(services_, [](const Service& service) { return service.gone; });
  if (clock_.Elapsed() >= rotation_due_) {
    rotation_due_ = clock_.Elapsed() + kRotationInterval;
    for (const Service& s : services_) RotateOutput(s.spec.output_file, config_.output_bytes_max);
  }
  return changed;
}

absl::Duration Supervisor::DueAt(const Service& service) const {
  if (service.kill_due.has_value()) return *service.kill_due;
  if (service.child == nullptr) return service.start_due;
  return service.ready ? absl::InfiniteDuration() : service.look_due;
}

bool Supervisor::Sleep(int fd, absl::Duration timeout) {
  const absl::Duration now = clock_.Elapsed();
  absl::Duration until = std::min(now + timeout, rotation_due_);
  std::vector<pollfd> polled = {{fd, POLLIN, 0}};
  for (const Service& service : services_) {
    until = std::min(until, DueAt(service));
    if (service.child != nullptr) polled.push_back({service.child->end_fd(), POLLIN, 0});
  }
  poll(polled.data(), polled.size(), PollTimeout(until - now));
  return polled[0].revents != 0;
}

std::vector<ClusterProcess> Supervisor::processes() const {
  std::vector<ClusterProcess> list;
  for (const Service& service : services_) {
    if (service.known.has_value()) list.push_back(*service.known);
  }
  return list;
}

size_t Supervisor::ready_count() const {
  return static_cast<size_t>(std::ranges::count_if(
      services_, [](const Service& service) { return service.ready && !service.kill_due; }));
}

size_t Supervisor::size() const {
  return static_cast<size_t>(
      std::ranges::count_if(services_, [](const Service& service) { return !service.kill_due; }));
}

const Supervisor::Service* Supervisor::Find(const std::string& id) const {
  const auto it =
      std::ranges::find(services_, id, [](const Service& service) { return service.spec.id; });
  return it == services_.end() ? nullptr : &*it;
}

void Supervisor::Retire(const std::string& id, absl::Duration limit) {
  for (Service& service : services_) {
    if (service.spec.id != id || service.kill_due.has_value()) continue;
    service.kill_due = clock_.Elapsed() + limit;
    if (service.child == nullptr) continue;
    service.child->Signal(SIGTERM);
    service.child->Signal(SIGCONT);  // one that stands still could not stop
  }
}

bool Supervisor::IsReady(const std::string& id) const {
  const Service* service = Find(id);
  return service != nullptr && service->ready && !service->kill_due.has_value();
}

std::vector<std::pair<std::string, absl::Status>> Supervisor::TakeGivenUp() {
  return std::exchange(given_up_, {});
}

void Supervisor::StopAll(const std::vector<std::string>& roles, absl::Duration limit,
                         const std::function<bool()>& hurry) {
  constexpr absl::Duration kPatience = absl::Milliseconds(50);  // between two questions
  absl::Duration end = clock_.Elapsed();
  bool kill_now = false;
  for (const std::string& role : roles) {
    end += limit / static_cast<int64_t>(roles.size());
    for (Service& service : services_) {
      if (service.spec.role != role || service.child == nullptr) continue;
      service.child->Signal(SIGTERM);
      service.child->Signal(SIGCONT);  // one that stands still could not stop
    }
    for (Service& service : services_) {
      if (service.spec.role != role || service.child == nullptr) continue;
      while (!kill_now && clock_.Elapsed() < end && !service.child->Wait(kPatience)) {
        kill_now = hurry && hurry();
      }
    }
  }
  services_.clear();  // kills and reaps what is left
}

}  // namespace tessera::cli
