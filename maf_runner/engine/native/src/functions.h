// exp, log and tanh of vectors. Overflow, inf and NaN come out as from the C library.

#pragma once

#include "vectors.h"

namespace MAF_ISA {

template <class T>
struct Constants;

template <>
struct Constants<float> {
  static constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  static constexpr float LN2_HIGH = 355.0f / 512;  // few bits: a multiple of it is exact
  static constexpr float LN2_LOW = -2.12194440054690583e-4f;
  static constexpr float LARGE = 105;  // exp overflows above it, and is 0 below its negative
  static constexpr int TERMS = 8, LOG_TERMS = 6;
  static constexpr int MANTISSA = 23, BIAS = 127;
  static constexpr float BOUND = 9;  // where the argument of tanh is clipped
  static constexpr float BELOW_ONE = 0x1.fffffep-1f;
};

template <>
struct Constants<double> {
  static constexpr double ROUND = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double LN2_HIGH = 2977044471.0 / 4294967296.0;
  static constexpr double LN2_LOW = 1.9082149292705878e-10;
  static constexpr double LARGE = 750;
  static constexpr int TERMS = 14, LOG_TERMS = 12;
  static constexpr int MANTISSA = 52, BIAS = 1023;
  static constexpr double BOUND = 19;
  static constexpr double BELOW_ONE = 0x1.fffffffffffffp-1;
};

template <class P>
inline typename P::Vector choose(typename P::Wholes where, typename P::Vector yes,
                                 typename P::Vector no) {
  return where ? yes : no;
}

// 2^n for whole n within the range of normal numbers.
template <class P>
inline typename P::Vector power_of_two(typename P::Wholes n) {
  typedef Constants<typename P::Number> C;
  return (typename P::Vector)((n + (typename P::Whole)C::BIAS) << C::MANTISSA);
}

// x = n ln 2 + r with a whole n and a small r; gives e^r - 1, by its Taylor series.
template <class P>
inline typename P::Vector reduced(typename P::Vector x, typename P::Wholes& n) {
  typedef typename P::Number T;
  typedef Constants<T> C;
  const typename P::Vector shifted = x * (T)1.44269504088896340736 + C::ROUND;
  n = (typename P::Wholes)shifted - (typename P::Wholes)spread<P>(C::ROUND);
  const typename P::Vector whole = shifted - C::ROUND;
  const typename P::Vector r = (x - whole * C::LN2_HIGH) - whole * C::LN2_LOW;
  double factorial = 1;
  double inverse[C::TERMS + 1] = {};
  for (int i = 1; i <= C::TERMS; i++) inverse[i] = 1 / (factorial *= i);
  typename P::Vector series = spread<P>((T)inverse[C::TERMS]);
#pragma GCC unroll 16
  for (int i = C::TERMS - 1; i >= 2; i--) series = series * r + (T)inverse[i];
  return r + r * r * series;
}

template <class P>
inline typename P::Vector exponential(typename P::Vector x) {
  typedef Constants<typename P::Number> C;
  typename P::Vector inside = choose<P>(x > C::LARGE, spread<P>(C::LARGE), x);  // NaN stays
  inside = choose<P>(x < -C::LARGE, spread<P>(-C::LARGE), inside);
  typename P::Wholes n;
  const typename P::Vector less_one = reduced<P>(inside, n);
  const typename P::Wholes half = n >> 1;  // in two factors, each of which is a normal number
  return (1 + less_one) * power_of_two<P>(half) * power_of_two<P>(n - half);
}

// tanh of x, which the model clips: beyond the bound the result is exactly 1 (or -1), and only
// there, so that it tells the backward pass where there is no gradient.
template <class P>
inline typename P::Vector clipped_tanh(typename P::Vector x) {
  typedef typename P::Number T;
  typedef Constants<T> C;
  const typename P::Vector size = choose<P>(x < 0, -x, x);
  const typename P::Vector inside = choose<P>(size > C::BOUND, spread<P>(C::BOUND), size);
  typename P::Wholes n;
  const typename P::Vector less_one = reduced<P>(2 * inside, n);
  const typename P::Vector scale = power_of_two<P>(n);
  const typename P::Vector grown = less_one * scale + (scale - 1);  // e^2x - 1
  typename P::Vector result = grown / (grown + 2);
  result = choose<P>(result > C::BELOW_ONE, spread<P>(C::BELOW_ONE), result);
  result = choose<P>(size > C::BOUND, spread<P>((T)1), result);
  return choose<P>(x < 0, -result, result);
}

// Into (-3, 3), small numbers almost to themselves; the model's `soft_clip`.
constexpr double CLIP = 3;

template <class P>
inline typename P::Vector soft_clip(typename P::Vector x) {
  typedef typename P::Number T;
  return x / (1 + choose<P>(x < 0, -x, x) * (T)(1 / CLIP));
}

// Its derivative at the place where it is ``clipped``.
template <class P>
inline typename P::Vector soft_clip_slope(typename P::Vector clipped) {
  typedef typename P::Number T;
  const typename P::Vector root = 1 - choose<P>(clipped < 0, -clipped, clipped) * (T)(1 / CLIP);
  return root * root;
}

// The natural logarithm of a sum of exponentials: of 0, inf, NaN or a positive normal number.
template <class P>
inline typename P::Vector logarithm(typename P::Vector x) {
  typedef typename P::Number T;
  typedef typename P::Whole W;
  typedef Constants<T> C;
  const W one = (W)C::BIAS << C::MANTISSA, mantissa = ((W)1 << C::MANTISSA) - 1;
  const typename P::Wholes bits = (typename P::Wholes)x;
  typename P::Wholes n = (bits >> C::MANTISSA) - (W)C::BIAS;
  typename P::Vector m = (typename P::Vector)((bits & mantissa) | one);  // in [1, 2)
  const typename P::Wholes upper = m > (T)1.41421356237309504880;
  m = choose<P>(upper, (T)0.5 * m, m);
  n = n - upper;  // true is -1
  const typename P::Vector s = (m - 1) / (m + 1), square = s * s;  // log m = 2 artanh s
  typename P::Vector series = spread<P>((T)(1.0 / (2 * C::LOG_TERMS + 1)));
#pragma GCC unroll 16
  for (int i = C::LOG_TERMS - 1; i >= 1; i--) series = series * square + (T)(1.0 / (2 * i + 1));
  const typename P::Vector whole = __builtin_convertvector(n, typename P::Vector);
  typename P::Vector result = whole * C::LN2_LOW + 2 * (s + s * square * series);
  result += whole * C::LN2_HIGH;
  const T infinity = (T)__builtin_inf();
  result = choose<P>(x < infinity, result, x);  // inf and NaN are themselves
  return choose<P>(x == 0, spread<P>(-infinity), result);
}

}  // namespace MAF_ISA
