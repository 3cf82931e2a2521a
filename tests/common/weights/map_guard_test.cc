#include "common/weights/map_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/concurrency/thread.h"
#include "tests/support/temp_folder.h"

namespace tessera {
namespace {

using testing::TempFolder;

// A file of `pages` pages of 'x', mapped.
struct Map {
  explicit Map(size_t pages)
      : page(static_cast<size_t>(sysconf(_SC_PAGESIZE))), size(pages * page) {
    path = folder.File("map");
    testing::WriteFile(path, std::string(size, 'x'));
    const int descriptor = open(path.c_str(), O_RDONLY);
    void* p = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    close(descriptor);
    TESSERA_CHECK(p != MAP_FAILED);
    data = static_cast<const std::byte*>(p);
  }
  ~Map() { munmap(const_cast<std::byte*>(data), size); }
  void Truncate(size_t pages_left) {
    TESSERA_CHECK(truncate(path.c_str(), static_cast<off_t>(pages_left * page)) == 0);
  }
  char At(size_t offset) const {
    return static_cast<char>(*static_cast<const volatile std::byte*>(data + offset));
  }
  std::span<const std::byte> bytes() const { return {data, size}; }

  TempFolder folder;
  std::string path;
  size_t page;
  size_t size;
  const std::byte* data = nullptr;
};

TEST(MapGuardTest, LostPagesReadAsZeros) {
  Map map(6);
  const absl::StatusOr<MapGuard> guard = MapGuard::Protect(map.bytes());
  ASSERT_TRUE(guard.ok()) << guard.status();
  EXPECT_EQ(map.At(5 * map.page), 'x');
  EXPECT_FALSE(guard->damaged());
  map.Truncate(2);
  EXPECT_EQ(map.At(4 * map.page + 17), '\0');
  EXPECT_TRUE(guard->damaged());
  EXPECT_EQ(guard->damaged_from(), 4 * map.page);
  EXPECT_EQ(map.At(2 * map.page), '\0');
  EXPECT_EQ(guard->damaged_from(), 2 * map.page);
  EXPECT_EQ(map.At(5 * map.page), '\0');
  EXPECT_EQ(map.At(0), 'x');
  EXPECT_EQ(map.At(2 * map.page - 1), 'x');
}

TEST(MapGuardTest, OtherMapsAreNotTouched) {
  Map lost(2), kept(2);
  const absl::StatusOr<MapGuard> lost_guard = MapGuard::Protect(lost.bytes());
  const absl::StatusOr<MapGuard> kept_guard = MapGuard::Protect(kept.bytes());
  lost.Truncate(0);
  EXPECT_EQ(lost.At(0), '\0');
  EXPECT_TRUE(lost_guard->damaged());
  EXPECT_FALSE(kept_guard->damaged());
  EXPECT_EQ(kept.At(kept.page), 'x');
}

TEST(MapGuardTest, ASlotComesBackClean) {
  for (int i = 0; i < 3; ++i) {
    Map map(1);
    absl::StatusOr<MapGuard> guard = MapGuard::Protect(map.bytes());
    ASSERT_TRUE(guard.ok());
    EXPECT_FALSE(guard->damaged());
    map.Truncate(0);
    EXPECT_EQ(map.At(0), '\0');
    const MapGuard moved = std::move(guard).value();
    EXPECT_TRUE(moved.damaged());
  }
}

// Threads fault on the same and on neighbouring pages while others open and close maps.
TEST(MapGuardTest, FaultsOfSeveralThreads) {
  constexpr size_t kPages = 64;
  Map map(kPages);
  const absl::StatusOr<MapGuard> guard = MapGuard::Protect(map.bytes());
  ASSERT_TRUE(guard.ok()) << guard.status();
  map.Truncate(1);
  std::atomic<int> wrong = 0;
  std::vector<Thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back("fault", [&](std::stop_token) {
      for (size_t page = kPages - 1; page >= 1; --page) {
        if (map.At(page * map.page) != '\0') ++wrong;
      }
    });
  }
  threads.emplace_back("guard", [&](std::stop_token) {
    for (int i = 0; i < 100; ++i) {
      Map other(1);
      if (!MapGuard::Protect(other.bytes()).ok() || other.At(0) != 'x') ++wrong;
    }
  });
  for (Thread& thread : threads) thread.Join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(guard->damaged_from(), map.page);
  EXPECT_EQ(map.At(0), 'x');
}

TEST(MapGuardTest, GuardsAreLimited) {
  Map map(1);
  std::vector<MapGuard> guards;
  absl::StatusOr<MapGuard> guard = MapGuard::Protect(map.bytes());
  while (guard.ok()) {
    guards.push_back(std::move(guard).value());
    ASSERT_LE(guards.size(), MapGuard::kGuardsMax);
    guard = MapGuard::Protect(map.bytes());
  }
  EXPECT_EQ(guard.status().code(), absl::StatusCode::kResourceExhausted);
  guards.clear();
  EXPECT_TRUE(MapGuard::Protect(map.bytes()).ok());
}

[[noreturn]] void FaultOutsideEveryGuard() {
  Map guarded(1);
  Map other(1);
  const absl::StatusOr<MapGuard> guard = MapGuard::Protect(guarded.bytes());
  other.Truncate(0);
  static_cast<void>(other.At(0));
  _exit(0);
}

[[noreturn]] void SendTheSignal() {
  Map guarded(1);
  const absl::StatusOr<MapGuard> guard = MapGuard::Protect(guarded.bytes());
  raise(SIGBUS);
  _exit(0);
}

[[noreturn]] void FaultWithAnEarlierHandler() {
  struct sigaction earlier = {};
  earlier.sa_handler = [](int) { _exit(42); };
  sigaction(SIGBUS, &earlier, nullptr);
  Map guarded(1);
  Map other(1);
  const absl::StatusOr<MapGuard> guard = MapGuard::Protect(guarded.bytes());
  guarded.Truncate(0);
  if (guarded.At(0) != '\0') _exit(1);
  other.Truncate(0);
  static_cast<void>(other.At(0));
  _exit(0);
}

// The process must die of what is not ours, as it would have without us. Each death runs in a
// process of its own ("threadsafe"), where ours is the first guard.
TEST(MapGuardDeathTest, FaultsElsewhereStillKill) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(FaultOutsideEveryGuard(), "");
  EXPECT_DEATH(SendTheSignal(), "");
}

TEST(MapGuardDeathTest, AnEarlierHandlerIsCalled) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(FaultWithAnEarlierHandler(), ::testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace tessera
