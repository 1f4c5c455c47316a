#include "pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

// While it lives, its thread takes numbers too small for full precision (denormal ones: floats
// below 1e-38) for 0. Intel's processors take a hundred times as long for them, and the moments of
// a unit that never fires fall to such numbers and stay there.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | RESULTS | OPERANDS); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  static constexpr unsigned RESULTS = 1 << 15, OPERANDS = 1 << 6;
  unsigned before_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" : : "r"(before_ | BOTH));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

 private:
  static constexpr unsigned long BOTH = 1 << 24;
  unsigned long before_;
#else
  FlushDenormals() {}
#endif
};

constexpr int PATIENCE = 4000;  // looks at a flag before the processor is left to others

// Between two updates threads sleep; between the parts of one they only look again and again,
// since a part takes less time than to fall asleep and be woken.
template <class Condition>
void look_until(Condition done) {
  for (int looks = 0; !done(); looks++) {
    if (looks > PATIENCE) {
      std::this_thread::yield();
    } else {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  }
}

}  // namespace

struct Pool {
  int threads;
  std::vector<std::thread> others;
  std::mutex mutex;
  std::condition_variable called;
  void (*work)(void*, int) = nullptr;
  void* what = nullptr;
  long calls = 0;
  bool over = false;
  std::atomic<int> busy{0};     // of the others
  std::atomic<int> waiting{0};  // at pool_wait
  std::atomic<long> passed{0};  // how often all have come to it

  void serve(int number) {
    const FlushDenormals flush;
    long seen = 0;
    while (true) {
      {
        std::unique_lock<std::mutex> lock(mutex);
        called.wait(lock, [&] { return calls != seen || over; });
        if (over) return;
        seen = calls;
      }
      work(what, number);
      busy.fetch_sub(1, std::memory_order_acq_rel);
    }
  }
};

Pool* pool_create(int threads) {
  Pool* pool = new Pool;
  pool->threads = threads;
  try {
    for (int number = 1; number < threads; number++)
      pool->others.emplace_back([pool, number] { pool->serve(number); });
  } catch (...) {  // no more threads to be had
    pool_destroy(pool);
    throw;
  }
  return pool;
}

void pool_destroy(Pool* pool) {
  {
    std::lock_guard<std::mutex> lock(pool->mutex);
    pool->over = true;
  }
  pool->called.notify_all();
  for (std::thread& other : pool->others) other.join();
  delete pool;
}

void pool_run(Pool* pool, void (*work)(void*, int), void* what) {
  if (pool->threads > 1) {
    pool->busy.store(pool->threads - 1, std::memory_order_release);
    {
      std::lock_guard<std::mutex> lock(pool->mutex);
      pool->work = work;
      pool->what = what;
      pool->calls++;
    }
    pool->called.notify_all();
  }
  {
    const FlushDenormals flush;
    work(what, 0);
  }
  look_until([&] { return pool->busy.load(std::memory_order_acquire) == 0; });
}

void pool_wait(Pool* pool) {
  if (pool->threads == 1) return;
  const long round = pool->passed.load(std::memory_order_acquire);
  if (pool->waiting.fetch_add(1, std::memory_order_acq_rel) + 1 == pool->threads) {
    pool->waiting.store(0, std::memory_order_relaxed);
    pool->passed.fetch_add(1, std::memory_order_release);
  } else {
    look_until([&] { return pool->passed.load(std::memory_order_acquire) != round; });
  }
}
