// Thread sanitizer only. The distribution's Abseil is not instrumented, so the sanitizer would see
// neither who holds an absl::Mutex nor what a Notification orders, and report every guarded member
// as a race. The linker sends our calls through here (--wrap, see CMakeLists.txt), where they are
// announced. Not covered: Notification::HasBeenNotified, which is inline; wait instead.

#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace tessera {
namespace {

using absl::BlockingCounter;
using absl::Condition;
using absl::CondVar;
using absl::Duration;
using absl::Mutex;
using absl::Notification;
using absl::Time;

// Between `pre` and `post` the sanitizer ignores this thread's accesses: conditions are evaluated
// there.
template <typename Call>
auto WhileUnlocked(Mutex* mutex, Call call) {
  __tsan_mutex_pre_unlock(mutex, 0);
  __tsan_mutex_post_unlock(mutex, 0);
  __tsan_mutex_pre_lock(mutex, 0);
  struct Locked {
    ~Locked() { __tsan_mutex_post_lock(mutex, 0, 0); }
    Mutex* mutex;
  } locked{mutex};
  return call();
}

template <typename Call>
auto WhileLocking(Mutex* mutex, unsigned flags, Call call) {
  __tsan_mutex_pre_lock(mutex, flags);
  struct Locked {
    ~Locked() { __tsan_mutex_post_lock(mutex, flags, 0); }
    Mutex* mutex;
    unsigned flags;
  } locked{mutex, flags};
  return call();
}

template <typename Call>
bool TryLocking(Mutex* mutex, unsigned flags, Call call) {
  flags |= __tsan_mutex_try_lock;
  __tsan_mutex_pre_lock(mutex, flags);
  const bool locked = call();
  __tsan_mutex_post_lock(mutex, flags | (locked ? 0 : __tsan_mutex_try_lock_failed), 0);
  return locked;
}

template <typename Call>
void WhileUnlocking(Mutex* mutex, unsigned flags, Call call) {
  __tsan_mutex_pre_unlock(mutex, flags);
  call();
  __tsan_mutex_post_unlock(mutex, flags);
}

}  // namespace

// TESSERA_WRAP(result, name, suffix of the mangled name, parameters) declares Real<name> and opens
// the definition of Wrap<name>.
#define TESSERA_WRAP(result, name, mangled, ...)            \
  result Real##name(__VA_ARGS__) asm("__real__ZN" mangled); \
  result Wrap##name(__VA_ARGS__) asm("__wrap__ZN" mangled); \
  result Wrap##name(__VA_ARGS__)

#define TESSERA_MUTEX "4absl7debian35Mutex"
#define TESSERA_COND_VAR "4absl7debian37CondVar"
#define TESSERA_NOTIFICATION "4absl7debian312Notification"

TESSERA_WRAP(void, Lock, TESSERA_MUTEX "4LockEv", Mutex* m) {
  WhileLocking(m, 0, [&] { RealLock(m); });
}
TESSERA_WRAP(void, Unlock, TESSERA_MUTEX "6UnlockEv", Mutex* m) {
  WhileUnlocking(m, 0, [&] { RealUnlock(m); });
}
TESSERA_WRAP(bool, TryLock, TESSERA_MUTEX "7TryLockEv", Mutex* m) {
  return TryLocking(m, 0, [&] { return RealTryLock(m); });
}
TESSERA_WRAP(void, ReaderLock, TESSERA_MUTEX "10ReaderLockEv", Mutex* m) {
  WhileLocking(m, __tsan_mutex_read_lock, [&] { RealReaderLock(m); });
}
TESSERA_WRAP(void, ReaderUnlock, TESSERA_MUTEX "12ReaderUnlockEv", Mutex* m) {
  WhileUnlocking(m, __tsan_mutex_read_lock, [&] { RealReaderUnlock(m); });
}
TESSERA_WRAP(void, LockWhen, TESSERA_MUTEX "8LockWhenERKNS0_9ConditionE", Mutex* m,
             const Condition& c) {
  WhileLocking(m, 0, [&] { RealLockWhen(m, c); });
}
TESSERA_WRAP(bool, LockWhenTimeout,
             TESSERA_MUTEX "19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE", Mutex* m,
             const Condition& c, Duration d) {
  return WhileLocking(m, 0, [&] { return RealLockWhenTimeout(m, c, d); });
}
TESSERA_WRAP(bool, LockWhenDeadline,
             TESSERA_MUTEX "20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE", Mutex* m,
             const Condition& c, Time t) {
  return WhileLocking(m, 0, [&] { return RealLockWhenDeadline(m, c, t); });
}
TESSERA_WRAP(void, Await, TESSERA_MUTEX "5AwaitERKNS0_9ConditionE", Mutex* m, const Condition& c) {
  WhileUnlocked(m, [&] { RealAwait(m, c); });
}
TESSERA_WRAP(bool, AwaitTimeout, TESSERA_MUTEX "16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
             Mutex* m, const Condition& c, Duration d) {
  return WhileUnlocked(m, [&] { return RealAwaitTimeout(m, c, d); });
}
TESSERA_WRAP(bool, AwaitDeadline, TESSERA_MUTEX "17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE",
             Mutex* m, const Condition& c, Time t) {
  return WhileUnlocked(m, [&] { return RealAwaitDeadline(m, c, t); });
}
TESSERA_WRAP(void, Wait, TESSERA_COND_VAR "4WaitEPNS0_5MutexE", CondVar* v, Mutex* m) {
  WhileUnlocked(m, [&] { RealWait(v, m); });
}
TESSERA_WRAP(bool, WaitTimeout, TESSERA_COND_VAR "15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
             CondVar* v, Mutex* m, Duration d) {
  return WhileUnlocked(m, [&] { return RealWaitTimeout(v, m, d); });
}
TESSERA_WRAP(bool, WaitDeadline, TESSERA_COND_VAR "16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE",
             CondVar* v, Mutex* m, Time t) {
  return WhileUnlocked(m, [&] { return RealWaitDeadline(v, m, t); });
}
TESSERA_WRAP(void, Notify, TESSERA_NOTIFICATION "6NotifyEv", Notification* n) {
  __tsan_release(n);
  RealNotify(n);
}
#undef TESSERA_NOTIFICATION
#define TESSERA_NOTIFICATION "K4absl7debian312Notification"
TESSERA_WRAP(void, WaitForNotification, TESSERA_NOTIFICATION "19WaitForNotificationEv",
             const Notification* n) {
  RealWaitForNotification(n);
  __tsan_acquire(const_cast<Notification*>(n));
}
TESSERA_WRAP(bool, WaitForNotificationTimeout,
             TESSERA_NOTIFICATION "30WaitForNotificationWithTimeoutENS0_8DurationE",
             const Notification* n, Duration d) {
  const bool notified = RealWaitForNotificationTimeout(n, d);
  if (notified) __tsan_acquire(const_cast<Notification*>(n));
  return notified;
}
TESSERA_WRAP(bool, WaitForNotificationDeadline,
             TESSERA_NOTIFICATION "31WaitForNotificationWithDeadlineENS0_4TimeE",
             const Notification* n, Time t) {
  const bool notified = RealWaitForNotificationDeadline(n, t);
  if (notified) __tsan_acquire(const_cast<Notification*>(n));
  return notified;
}
TESSERA_WRAP(bool, DecrementCount, "4absl7debian315BlockingCounter14DecrementCountEv",
             BlockingCounter* b) {
  __tsan_release(b);
  return RealDecrementCount(b);
}
TESSERA_WRAP(void, CounterWait, "4absl7debian315BlockingCounter4WaitEv", BlockingCounter* b) {
  RealCounterWait(b);
  __tsan_acquire(b);
}

}  // namespace tessera
