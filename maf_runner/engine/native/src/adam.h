// The paper's Adam over pieces of the flat parameters; see training's adam.py for the formula.

#pragma once

#include "vectors.h"

namespace MAF_ISA {

// Where parameters and their moments lie, and the numbers of this update. With a place for the
// gradient, that is written and nothing updated.
template <class T>
struct Adam {
  T* parameters;
  T* first;
  T* second;
  T* gradient;
  T a, b;
  T beta1, beta2, l2;

  // Update n parameters from the offset on by their gradient.
  void update(long offset, const T* slope, long n) const {
    if (gradient) {
      std::memcpy(gradient + offset, slope, n * sizeof(T));
      return;
    }
    typedef Full<T> P;
    const Adam here = *this;  // a copy, which the stores cannot change
    T *p = parameters + offset, *m = first + offset, *v = second + offset;
    long i = 0;
    for (; i + P::size <= n; i += P::size) {
      typename P::Vector values[3] = {load<P>(p + i), load<P>(m + i), load<P>(v + i)};
      here.step(values, load<P>(slope + i));
      store<P>(p + i, values[0]);
      store<P>(m + i, values[1]);
      store<P>(v + i, values[2]);
    }
    if (const long rest = n - i; rest > 0) {
      typename P::Vector values[3] = {load_first<P>(p + i, rest), load_first<P>(m + i, rest),
                                      load_first<P>(v + i, rest)};
      here.step(values, load_first<P>(slope + i, rest));
      store_first<P>(p + i, values[0], rest);
      store_first<P>(m + i, values[1], rest);
      store_first<P>(v + i, values[2], rest);
    }
  }

 private:
  void step(typename Full<T>::Vector* values, typename Full<T>::Vector slope) const {
    slope += l2 * values[0];
    values[1] += (1 - beta1) * (slope - values[1]);
    values[2] = beta2 * values[2] + (1 - beta2) * (slope * slope);
    values[0] -= over_root<Full<T>>(values[1], a * values[2] + b);
  }
};

}  // namespace MAF_ISA
