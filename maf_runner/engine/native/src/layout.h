// How a batch lies in memory, and which thread does what.
//
// Activations are feature-major: a row of numbers for each feature or unit, one for each example
// of the batch, so that everything but the transposes works along whole vectors. Batches that a
// tile of registers cannot span are cut into panels, each of which is a matrix of its own.

#pragma once

#include "pool.h"
#include "vectors.h"

namespace MAF_ISA {

// Examples begin .. begin + count of the batch, in rows of ``width`` numbers; those behind the
// count are there to fill the vectors, and never enter a sum over examples.
struct Panel {
  long first;  // example
  long count;
  long begin;  // of its rows in a buffer: times the number of rows
  long width;
};

template <class T>
struct Panels {
  long batch;
  Array<Panel> panel;
  long width = 0;   // of all
  long widest = 0;

  explicit Panels(long rows) : batch(rows) {
    const long unit = Half<T>::size, fits = ACROSS * Full<T>::size / unit;
    const long units = (rows + unit - 1) / unit;
    long count = (units + fits - 1) / fits;
    // Even shares in whole vectors; the last one may end on a half.
    const long whole = Full<T>::size / unit, vectors = (units + whole - 1) / whole;
    panel = Array<Panel>(count);
    for (long i = 0; i < count; i++) {
      const long from = vectors * i / count, to = vectors * (i + 1) / count;
      const long taken = (least(to * whole, units) - from * whole) * unit;
      panel[i] = {width, least(taken, rows - width), width, taken};
      width += taken;
      widest = most(widest, taken);
    }
  }
  const Panel* begin() const { return panel.data(); }
  const Panel* end() const { return panel.data() + panel.size(); }
};

// Rows of activations, or of their gradients: a view of memory that somebody else holds.
template <class T>
struct Rows {
  long rows = 0;
  T* data = nullptr;

  T* at(const Panel& panel, long row = 0) const {
    return data + panel.begin * rows + row * panel.width;
  }
};

// Holds memory, in pieces that are zero at first.
template <class T>
class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    while (last_) {
      Piece* piece = last_;
      last_ = piece->before;
      delete piece;
    }
  }
  T* take(long numbers) {
    last_ = new Piece{Array<T>(numbers), last_};
    return last_->numbers.data();
  }
  Rows<T> take(long rows, const Panels<T>& panels) { return {rows, take(rows * panels.width)}; }

 private:
  struct Piece {
    Array<T> numbers;
    Piece* before;
  };
  Piece* last_ = nullptr;
};

// One of the threads of an engine. All carry out the same program, each its share of every part.
struct Worker {
  int number;
  int of;
  Pool* pool;

  void wait() const { pool_wait(pool); }
  // Its share of n things, begin to end.
  long begin(long n) const { return n * number / of; }
  long end(long n) const { return n * (number + 1) / of; }
};

}  // namespace MAF_ISA
