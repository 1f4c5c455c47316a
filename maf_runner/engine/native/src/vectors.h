// Vectors of the machine's width, by the compiler's own vector types.
//
// Everything here and in the headers built on it lives in a namespace named after the instruction
// set (MAF_ISA), for the same text is compiled several times with different flags: without names of
// their own the linker would merge the copies, and an old processor would meet new instructions.
// For the same reason no templates of the standard library are used.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace MAF_ISA {

#if defined(__AVX512F__)
constexpr int WIDTH = 64;  // bytes of a vector
constexpr int ACROSS = 7;  // vectors of a row that a tile of four rows keeps in registers
constexpr int DEEP = 8;    // rows of a tile of a weight's gradient, three vectors wide
#elif defined(__AVX2__)
constexpr int WIDTH = 32, ACROSS = 3, DEEP = 4;
#elif defined(__aarch64__)
constexpr int WIDTH = 16, ACROSS = 6, DEEP = 8;
#else
constexpr int WIDTH = 16, ACROSS = 3, DEEP = 4;
#endif
constexpr bool FEW = ACROSS == 3;  // registers
// Rows end on half a vector where a half is still a vector of the machine: 100 floats take 104.
constexpr bool HALVES = WIDTH == 64;

template <int BYTES>
struct Integer;
template <>
struct Integer<4> {
  typedef int32_t type;
};
template <>
struct Integer<8> {
  typedef int64_t type;
};

// N numbers of type T, as a value and as they lie in memory, where they need not be aligned.
template <class T, int N>
struct Pack {
  typedef T Number;
  typedef typename Integer<sizeof(T)>::type Whole;
  static constexpr int size = N;
  typedef T Vector __attribute__((vector_size(N * sizeof(T))));
  typedef Whole Wholes __attribute__((vector_size(N * sizeof(T))));
  typedef T Stored __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)), may_alias));
};

template <class T>
using Full = Pack<T, WIDTH / sizeof(T)>;
template <class T>
using Half = Pack<T, (HALVES ? WIDTH / 2 : WIDTH) / sizeof(T)>;

template <class P>
inline typename P::Vector load(const typename P::Number* from) {
  return *reinterpret_cast<const typename P::Stored*>(from);
}

template <class P>
inline void store(typename P::Number* to, typename P::Vector value) {
  *reinterpret_cast<typename P::Stored*>(to) = value;
}

// Every lane the same; x - 0 is x, also for -0, so that nothing is computed.
template <class P>
inline typename P::Vector spread(typename P::Number value) {
  return value - typename P::Vector{};
}

// The first n < N lanes, the others zero.
template <class P>
inline typename P::Vector load_first(const typename P::Number* from, long n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(typename P::Vector) == 64) {
    if constexpr (sizeof(typename P::Number) == 4)
      return (typename P::Vector)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), from);
    else
      return (typename P::Vector)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), from);
  }
#endif
  typename P::Number lanes[P::size] = {};
  for (long i = 0; i < n; i++) lanes[i] = from[i];
  return load<P>(lanes);
}

template <class P>
inline void store_first(typename P::Number* to, typename P::Vector value, long n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(typename P::Vector) == 64) {
    if constexpr (sizeof(typename P::Number) == 4)
      _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), (__m512)value);
    else
      _mm512_mask_storeu_pd(to, (__mmask8)((1u << n) - 1), (__m512d)value);
    return;
  }
#endif
  for (long i = 0; i < n; i++) to[i] = value[i];
}

template <class P>
inline typename P::Vector root(typename P::Vector x) {
  constexpr int bytes = sizeof(typename P::Vector);
  constexpr bool single = sizeof(typename P::Number) == 4;
#if defined(__AVX512F__)
  if constexpr (bytes == 64 && single) return (typename P::Vector)_mm512_sqrt_ps((__m512)x);
  if constexpr (bytes == 64 && !single) return (typename P::Vector)_mm512_sqrt_pd((__m512d)x);
#endif
#if defined(__AVX__)
  if constexpr (bytes == 32 && single) return (typename P::Vector)_mm256_sqrt_ps((__m256)x);
  if constexpr (bytes == 32 && !single) return (typename P::Vector)_mm256_sqrt_pd((__m256d)x);
#endif
#if defined(__SSE2__)
  if constexpr (bytes == 16 && single) return (typename P::Vector)_mm_sqrt_ps((__m128)x);
  if constexpr (bytes == 16 && !single) return (typename P::Vector)_mm_sqrt_pd((__m128d)x);
#endif
#if defined(__aarch64__) && defined(__ARM_NEON)
  if constexpr (bytes == 16 && single) return (typename P::Vector)vsqrtq_f32((float32x4_t)x);
  if constexpr (bytes == 16 && !single) return (typename P::Vector)vsqrtq_f64((float64x2_t)x);
#endif
  typename P::Vector result = x;
  for (int i = 0; i < P::size; i++) result[i] = __builtin_sqrt(x[i]);
  return result;
}

// x / sqrt(y). Where there is an estimate of 1 / sqrt(y) to 14 bits, a step of Newton's method makes
// 28 of them, in a third of the time that the root and the division take.
template <class P>
inline typename P::Vector over_root(typename P::Vector x, typename P::Vector y) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (sizeof(typename P::Vector) == 64 && sizeof(typename P::Number) == 4) {
    // Zero, denormal, negative, infinite and NaN have no such step.
    constexpr int ODD = 0xff;
    if (__builtin_expect(!_mm512_fpclass_ps_mask((__m512)y, ODD), 1)) {
      const typename P::Vector guess = (typename P::Vector)_mm512_rsqrt14_ps((__m512)y);
      return x * (guess * (1.5f - 0.5f * (y * guess) * guess));
    }
  }
#endif
  return x / root<P>(y);
}

template <class P>
inline typename P::Number total(typename P::Vector x) {
  typename P::Number lanes[P::size];
  store<P>(lanes, x);
  for (int step = P::size / 2; step > 0; step /= 2)
    for (int i = 0; i < step; i++) lanes[i] += lanes[i + step];
  return lanes[0];
}

// Do ``work(pack, i)`` for each vector of a row, i being the number of its first entry. The last
// one may be half as wide.
template <class T, class Work>
inline void along(long width, Work work) {
  constexpr int step = Full<T>::size;
  long i = 0;
  for (; i + step <= width; i += step) work(Full<T>{}, i);
  if (HALVES && i < width) work(Half<T>{}, i);
}

// Sum of the first n numbers, in an order that depends on n alone. ``at(pack, i)`` gives the
// vector that begins at i.
template <class T, class At>
inline T sum(long n, At at) {
  typedef Full<T> P;
  typename P::Vector found[2] = {};
  long i = 0;
  for (; i + 2 * P::size <= n; i += 2 * P::size) {
    found[0] += at(P{}, i);
    found[1] += at(P{}, i + P::size);
  }
  if (i + P::size <= n) {
    found[0] += at(P{}, i);
    i += P::size;
  }
  T rest = 0;
  if (i < n) {  // what lies behind the n-th is not looked at: it may be anything
    T lanes[P::size];
    store<P>(lanes, at(P{}, i));
    for (long j = 0; j < n - i; j++) rest += lanes[j];
  }
  return total<P>(found[0] + found[1]) + rest;
}

inline long least(long a, long b) { return a < b ? a : b; }
inline long most(long a, long b) { return a > b ? a : b; }

// An array of a fixed length on a line of the cache, with room behind it for a vector that is read
// beyond its end. All bytes are zero at first, which every type it is used for can begin with.
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(long n) : length_(n) {
    const size_t bytes = sizeof(T) * n + 4 * 64;
    memory_ = std::calloc(bytes, 1);
    if (!memory_) throw std::bad_alloc();
    const uintptr_t at = reinterpret_cast<uintptr_t>(memory_);
    data_ = reinterpret_cast<T*>((at + 63) / 64 * 64);
  }
  Array(Array&& other) noexcept { swap(other); }
  Array& operator=(Array&& other) noexcept {
    swap(other);
    return *this;
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() {
    for (long i = 0; i < length_; i++) data_[i].~T();
    std::free(memory_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  long size() const { return length_; }
  T& operator[](long i) { return data_[i]; }
  const T& operator[](long i) const { return data_[i]; }

 private:
  void swap(Array& other) {
    void* memory = memory_;
    memory_ = other.memory_;
    other.memory_ = memory;
    T* data = data_;
    data_ = other.data_;
    other.data_ = data;
    const long length = length_;
    length_ = other.length_;
    other.length_ = length;
  }
  void* memory_ = nullptr;
  T* data_ = nullptr;
  long length_ = 0;
};

}  // namespace MAF_ISA
