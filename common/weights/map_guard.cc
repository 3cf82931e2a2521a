#include "common/weights/map_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace tessera {
namespace {

// One guarded map. `end` is zero while the slot is free or half written.
struct Slot {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<size_t> damaged_from{SIZE_MAX};
};

// What the handler reads. Static storage, no constructor at run time, no destructor.
constinit std::array<Slot, MapGuard::kGuardsMax> slots;
constinit std::atomic<size_t> slots_used{0};  // all taken slots lie below
struct sigaction previous;                    // written once, before the handler is installed
uintptr_t page_bytes = 4096;                  // likewise

static_assert(std::atomic<uintptr_t>::is_always_lock_free);

// The bare call, as this is a signal handler's. Also, the thread sanitizer's mmap stands for a
// write of all these bytes, in a race with their readers; the kernel's does not: they read zeros or
// fault again.
bool LayZeros(uintptr_t page, size_t bytes) {
  constexpr long kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  return syscall(SYS_mmap, page, bytes, long{PROT_READ}, kFlags, -1L, 0L) != -1;
}

// Lays zeros over the map that holds `address`, from its page on. False if no guarded map does.
bool CoverFault(uintptr_t address) {
  const size_t used = slots_used.load(std::memory_order_acquire);
  for (size_t i = 0; i < used; ++i) {
    const uintptr_t end = slots[i].end.load(std::memory_order_acquire);
    const uintptr_t begin = slots[i].begin.load(std::memory_order_acquire);
    // The second load of `end` refuses a slot that changed hands between the two loads.
    if (address < begin || address >= end || slots[i].end.load(std::memory_order_acquire) != end)
      continue;
    const uintptr_t page = address & ~(page_bytes - 1);
    size_t lowest = slots[i].damaged_from.load(std::memory_order_relaxed);
    while (page - begin < lowest &&
           !slots[i].damaged_from.compare_exchange_weak(lowest, page - begin)) {
    }
    return LayZeros(page, end - page);
  }
  return false;
}

// The behaviour this process had before us.
void PassOn(int signal, siginfo_t* info, void* context) {
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
    previous.sa_sigaction(signal, info, context);
    return;
  }
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
    return;
  }
  sigaction(signal, &previous, nullptr);
  // A fault happens again when we return; a signal that was sent does not.
  if (info->si_code <= 0 && previous.sa_handler == SIG_DFL) raise(signal);
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  if (info->si_code <= 0 || !CoverFault(reinterpret_cast<uintptr_t>(info->si_addr)))
    PassOn(signal, info, context);
  errno = saved_errno;
}

bool InstallHandler() {
  page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  if (sigaction(SIGBUS, nullptr, &previous) != 0) return false;
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  return sigaction(SIGBUS, &action, nullptr) == 0;
}

}  // namespace

absl::StatusOr<MapGuard> MapGuard::Protect(std::span<const std::byte> map) {
  static const bool installed = InstallHandler();
  if (!installed) return absl::InternalError("the handler of SIGBUS cannot be installed");
  const uintptr_t begin = reinterpret_cast<uintptr_t>(map.data());
  TESSERA_CHECK(begin % page_bytes == 0 && !map.empty());
  for (size_t i = 0; i < kGuardsMax; ++i) {
    bool expected = false;
    if (!slots[i].taken.compare_exchange_strong(expected, true)) continue;
    slots[i].damaged_from.store(SIZE_MAX, std::memory_order_relaxed);
    slots[i].begin.store(begin, std::memory_order_release);
    slots[i].end.store(begin + map.size(), std::memory_order_release);
    size_t used = slots_used.load(std::memory_order_relaxed);
    while (used < i + 1 && !slots_used.compare_exchange_weak(used, i + 1)) {
    }
    return MapGuard(i);
  }
  return absl::ResourceExhaustedError(
      absl::StrCat(kGuardsMax, " files are mapped; no more can be guarded"));
}

MapGuard::~MapGuard() {
  if (slot_ == kNone) return;
  slots[slot_].end.store(0, std::memory_order_release);
  slots[slot_].begin.store(0, std::memory_order_release);
  slots[slot_].taken.store(false, std::memory_order_release);
}

bool MapGuard::damaged() const {
  return slot_ != kNone && slots[slot_].damaged_from.load(std::memory_order_relaxed) != SIZE_MAX;
}

std::optional<size_t> MapGuard::damaged_from() const {
  if (!damaged()) return std::nullopt;
  return slots[slot_].damaged_from.load(std::memory_order_relaxed);
}

}  // namespace tessera
