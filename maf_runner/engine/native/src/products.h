// The three products of a linear layer whose connections fill one range of columns in each row.
//
// With units sorted by degree the zeros of a mask of MADE lie on one side of a staircase, so a tile
// of rows needs only the columns up to its step. Row r of a weight here is not row r of the
// parameter but ``order[r]``: the outputs of all parameters of a feature stand beside each other,
// which makes one staircase of them too.
//
//   forward         out[r, b] = sum_k W[r, k] in[k, b]       tiles of 4 rows by a whole panel
//   to the inputs   in'[k, b] = sum_r W[r, k] out'[r, b]     the same, W packed by 4 columns
//   to the weights  W'[r, k] = sum_b out'[r, b] in[k, b]     tiles of DEEP rows by 3 vectors of k,
//                                                            ``in`` transposed; Adam follows at
//                                                            once, while it is in the cache

#pragma once

#include "adam.h"
#include "functions.h"
#include "layout.h"

namespace MAF_ISA {

enum class Activation { none, relu, tanh };

constexpr long TILE = 4;           // rows (forward) or columns (backward) of a tile
constexpr long NEAR = 24 << 10;    // bytes of a block that shall stay in the first cache
constexpr long FAR = 256 << 10;    // and in the second
constexpr long STRIP = 3;          // vectors of a tile of a weight's gradient

template <class T>
struct Linear {
  long rows, columns;
  long weight, bias;          // where they begin in the flat parameters; bias < 0: there is none
  Array<long> order;          // the parameter's row of each row
  Array<long> low, high;      // its columns
  Array<long> tile_low, tile_high;  // columns of each tile of rows
  Array<long> from, to;             // rows of each tile of columns
  Array<long> reach_low, reach_high;  // the tiles of columns that look at a row
  Array<long> row_cost, column_cost;  // work before each tile, for even shares
  Array<T> bias_slope;        // the gradient of the bias, in the parameter's order

  long row_tiles() const { return (rows + TILE - 1) / TILE; }
  long column_tiles() const { return (columns + TILE - 1) / TILE; }

  // Call once order, low and high are set.
  void prepare() {
    bias_slope = Array<T>(bias < 0 ? 0 : rows);
    tile_low = Array<long>(row_tiles());
    tile_high = Array<long>(row_tiles());
    from = Array<long>(column_tiles());
    to = Array<long>(column_tiles());
    reach_low = Array<long>(rows);
    reach_high = Array<long>(rows);
    for (long c = 0; c < column_tiles(); c++) from[c] = rows;
    for (long r = 0; r < rows; r++) {
      if (low[r] >= high[r]) continue;
      const long t = r / TILE;
      const bool fresh = tile_low[t] >= tile_high[t];
      tile_low[t] = fresh ? low[r] : least(tile_low[t], low[r]);
      tile_high[t] = fresh ? high[r] : most(tile_high[t], high[r]);
      for (long c = low[r] / TILE; c <= (high[r] - 1) / TILE; c++) {
        from[c] = least(from[c], r);
        to[c] = most(to[c], r + 1);
      }
    }
    for (long c = 0; c < column_tiles(); c++)
      for (long r = from[c]; r < to[c]; r++) {
        if (reach_low[r] >= reach_high[r]) reach_low[r] = c;
        reach_high[r] = c + 1;
      }
    row_cost = Array<long>(row_tiles() + 1);
    for (long t = 0; t < row_tiles(); t++)
      row_cost[t + 1] = row_cost[t] + tile_high[t] - tile_low[t] + 1;
    column_cost = Array<long>(column_tiles() + 1);
    for (long c = 0; c < column_tiles(); c++)
      column_cost[c + 1] = column_cost[c] + most(0, to[c] - from[c]) + 1;
  }
};

// The first tile of a thread's share, so that all have about the same work.
inline long fair(const Array<long>& cost, int number, int of) {
  const long tiles = cost.size() - 1;
  long t = 0;
  while (t < tiles && cost[t] * of < cost[tiles] * number) t++;
  return t;
}

// The first half of a vector, which costs nothing.
template <class Q, class P>
inline typename Q::Vector lower(typename P::Vector x) {
  typename Q::Vector half;
  __builtin_memcpy(&half, &x, sizeof half);
  return half;
}

// How a tile begins and ends.
template <class T>
struct Ends {
  bool fresh;          // it does not go on from what is there
  const T* start;      // TILE numbers to begin with, or null: zero
  Activation after;    // relu: applied to the sums
  Activation slope;    // the sums are multiplied by the slope of it, of which ``value`` came out
  const T* value[TILE];
};

// c[i] = sum over k < n of a(i, k) b[k], for TILE rows i; b has rows of one panel's width. a(i, k)
// is a[i][k], or packed: a[0][TILE k + i].
template <class T, int FULL, int HALF, bool PACKED>
inline void tile(long n, const T* const* a, const T* b, T* const* c, const Ends<T>& ends) {
  typedef Full<T> P;
  typedef Pack<T, HALF ? Half<T>::size : 1> Q;
  constexpr int COUNT = FULL ? FULL : 1;
  constexpr long width = FULL * P::size + (HALF ? Half<T>::size : 0);
  typename P::Vector sums[TILE][COUNT];
  typename Q::Vector halves[TILE];
#pragma GCC unroll 8
  for (int i = 0; i < TILE; i++) {
    if (ends.fresh) {
      const T start = ends.start ? ends.start[i] : 0;
#pragma GCC unroll 8
      for (int j = 0; j < FULL; j++) sums[i][j] = spread<P>(start);
      if constexpr (HALF) halves[i] = spread<Q>(start);
    } else {
#pragma GCC unroll 8
      for (int j = 0; j < FULL; j++) sums[i][j] = load<P>(c[i] + j * P::size);
      if constexpr (HALF) halves[i] = load<Q>(c[i] + FULL * P::size);
    }
  }
  const T *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3];
  for (long k = 0; k < n; k++) {
    const T numbers[TILE] = {PACKED ? a0[TILE * k] : a0[k], PACKED ? a0[TILE * k + 1] : a1[k],
                             PACKED ? a0[TILE * k + 2] : a2[k], PACKED ? a0[TILE * k + 3] : a3[k]};
    if constexpr (FEW) {  // 12 sums, 3 of b and 1 of a: just sixteen
      typename P::Vector other[COUNT];
#pragma GCC unroll 8
      for (int j = 0; j < FULL; j++) other[j] = load<P>(b + j * P::size);
#pragma GCC unroll 8
      for (int i = 0; i < TILE; i++) {
        const typename P::Vector one = spread<P>(numbers[i]);
#pragma GCC unroll 8
        for (int j = 0; j < FULL; j++) sums[i][j] += one * other[j];
      }
    } else {
      typename P::Vector one[TILE];
#pragma GCC unroll 8
      for (int i = 0; i < TILE; i++) one[i] = spread<P>(numbers[i]);
#pragma GCC unroll 8
      for (int j = 0; j < FULL; j++) {
        const typename P::Vector other = load<P>(b + j * P::size);
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++) sums[i][j] += one[i] * other;
      }
      if constexpr (HALF) {
        const typename Q::Vector other = load<Q>(b + FULL * P::size);
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++) halves[i] += lower<Q, P>(one[i]) * other;
      }
    }
    b += width;
  }
#pragma GCC unroll 8
  for (int i = 0; i < TILE; i++) {
    if (ends.after == Activation::relu) {  // of NaN: NaN
#pragma GCC unroll 8
      for (int j = 0; j < FULL; j++)
        sums[i][j] = choose<P>(sums[i][j] < 0, typename P::Vector{}, sums[i][j]);
      if constexpr (HALF) halves[i] = choose<Q>(halves[i] < 0, typename Q::Vector{}, halves[i]);
    }
    if (ends.slope == Activation::relu) {
#pragma GCC unroll 8
      for (int j = 0; j < FULL; j++)
        sums[i][j] = choose<P>(load<P>(ends.value[i] + j * P::size) <= 0, typename P::Vector{},
                               sums[i][j]);
      if constexpr (HALF)
        halves[i] = choose<Q>(load<Q>(ends.value[i] + FULL * P::size) <= 0, typename Q::Vector{},
                              halves[i]);
    } else if (ends.slope == Activation::tanh) {
#pragma GCC unroll 8
      for (int j = 0; j < FULL; j++) {
        const typename P::Vector y = load<P>(ends.value[i] + j * P::size);
        sums[i][j] *= 1 - y * y;
      }
      if constexpr (HALF) {
        const typename Q::Vector y = load<Q>(ends.value[i] + FULL * P::size);
        halves[i] *= 1 - y * y;
      }
    }
#pragma GCC unroll 8
    for (int j = 0; j < FULL; j++) store<P>(c[i] + j * P::size, sums[i][j]);
    if constexpr (HALF) store<Q>(c[i] + FULL * P::size, halves[i]);
  }
}

template <class T, bool PACKED>
using Tile = void (*)(long, const T* const*, const T*, T* const*, const Ends<T>&);

// The tile for panels of a width.
template <class T, bool PACKED>
Tile<T, PACKED> tile_for(long width) {
  const long unit = Half<T>::size;
  const bool half = HALVES && width / unit % 2;
#define MAF_CASE(n)                                                            \
  case n:                                                                      \
    if constexpr (n <= ACROSS) {                                               \
      if (!half) return tile<T, n, 0, PACKED>;                                 \
      if constexpr (HALVES && n < ACROSS) return tile<T, n, 1, PACKED>;        \
    }                                                                          \
    break;
  switch (width / Full<T>::size) {
    MAF_CASE(0)
    MAF_CASE(1)
    MAF_CASE(2)
    MAF_CASE(3)
    MAF_CASE(4)
    MAF_CASE(5)
    MAF_CASE(6)
    MAF_CASE(7)
  }
#undef MAF_CASE
  return nullptr;
}

// Cut n into equal blocks, of which ``bytes`` for each thing fit into the first cache.
inline long block_of(long n, long bytes) {
  const long most_things = most(16, NEAR / bytes);
  const long blocks = (n + most_things - 1) / most_things;
  return blocks ? (n + blocks - 1) / blocks : 1;
}

// Numbers of a line of the cache.
template <class T>
constexpr long LINE = 64 / sizeof(T);

// Have n numbers fetched: the processor's own guesses are no use where pieces of rows are short.
template <class T>
inline void fetch(const T* from, long n) {
  for (long i = 0; i < n + LINE<T> - 1; i += LINE<T>) __builtin_prefetch(from + i);
}

// out = activation(W in + bias), or added to ``out`` if there is ``more`` in it already. A group of
// tiles meets all panels before the next one comes, so that a weight is read from memory once.
template <class T>
void forward(const Worker& worker, const Panels<T>& panels, const Linear<T>& linear,
             const T* parameters, const Rows<T>& in, const Rows<T>& out,
             Activation activation, bool more = false) {
  const T* weight = parameters + linear.weight;
  const long first = fair(linear.row_cost, worker.number, worker.of);
  const long last = fair(linear.row_cost, worker.number + 1, worker.of);
  const long block = block_of(linear.columns, panels.widest * sizeof(T));
  const long group = most(1, FAR / 2 / (TILE * block * (long)sizeof(T)));
  for (long k = 0; k < linear.columns || k == 0; k += block)
    for (long g = first; g < last; g += group)
      for (const Panel& panel : panels) {
        const auto work = tile_for<T, false>(panel.width);
        const long stop = least(g + group, last);
        for (long t = g; t < stop; t++) {
          const long begin = most(linear.tile_low[t], k);
          const long end = least(linear.tile_high[t], k + block);
          const bool empty = linear.tile_low[t] >= linear.tile_high[t];
          if (empty ? k > 0 : begin >= end) continue;
          const bool done = empty || linear.tile_high[t] <= k + block;
          T start[TILE] = {};
          const T* a[TILE];
          T* c[TILE];
          for (long i = 0; i < TILE; i++) {
            const long row = least(TILE * t + i, linear.rows - 1);  // the last one again
            a[i] = weight + linear.order[row] * linear.columns + begin;
            c[i] = out.at(panel, row);
            if (linear.bias >= 0) start[i] = parameters[linear.bias + linear.order[row]];
          }
          if (t + 1 < stop) {
            const long next = most(linear.tile_low[t + 1], k);
            const long n = least(linear.tile_high[t + 1], k + block) - next;
            for (long i = 0; i < TILE && n > 0; i++) {
              const long row = least(TILE * (t + 1) + i, linear.rows - 1);
              fetch(weight + linear.order[row] * linear.columns + next, n);
            }
          }
          const bool fresh = !more && (empty || linear.tile_low[t] >= k);
          const bool relu = done && activation == Activation::relu;
          const Ends<T> ends = {fresh, start, relu ? Activation::relu : Activation::none,
                                Activation::none, {}};
          work(empty ? 0 : end - begin, a, in.at(panel, begin), c, ends);
          if (done && activation == Activation::tanh)
            for (long i = 0; i < least(TILE, linear.rows - TILE * t); i++)
              along<T>(panel.width, [&](auto pack, long j) {
                typedef decltype(pack) P;
                store<P>(c[i] + j, clipped_tanh<P>(load<P>(c[i] + j)));
              });
        }
      }
}

// The rows that are packed at once: what is packed of them shall stay in the second cache.
template <class T>
long packed_rows(const Linear<T>& linear, const Panels<T>& panels) {
  const long fit = most(TILE, FAR / (long)sizeof(T) / most(1, linear.columns));
  return least(block_of(linear.rows, panels.widest * sizeof(T)), fit);
}

// The numbers that packing needs for itself, for each thread.
template <class T>
long packed_size(const Linear<T>& linear, const Panels<T>& panels) {
  const long block = packed_rows(linear, panels);
  return panels.widest + block * linear.column_tiles() * TILE;
}

// Rows r .. stop of the tiles first .. last of columns: packed[tile][row][TILE columns]. Of four
// rows at a time, which make a line of the cache in the end.
template <class T>
void pack(const Linear<T>& linear, const T* weight, long first, long last, long r, long stop,
          long block, T* packed) {
  constexpr long N = 4;
  const long whole = linear.columns / TILE;  // tiles; the columns behind them are few
  for (long row = r; row < stop; row += N) {
    const long count = least(N, stop - row);
    const T* source[N];
    long low = last, high = first;
    for (long i = 0; i < N; i++) {
      const long here = least(row + i, stop - 1);
      source[i] = weight + linear.order[here] * linear.columns;
      if (linear.reach_low[here] >= linear.reach_high[here]) continue;
      low = least(low, linear.reach_low[here]);
      high = most(high, linear.reach_high[here]);
    }
    low = most(low, first);
    high = least(high, last);
    T* const target = packed + (row - r) * TILE;
    for (long c = low; c < least(high, whole); c++) {
      T* const to = target + (c - first) * block * TILE;
      if (count == N)
        for (long i = 0; i < N; i++)
          std::memcpy(to + i * TILE, source[i] + c * TILE, TILE * sizeof(T));
      else
        for (long i = 0; i < count; i++)
          std::memcpy(to + i * TILE, source[i] + c * TILE, TILE * sizeof(T));
    }
    for (long c = most(low, whole); c < high; c++)
      for (long i = 0; i < count; i++)
        for (long j = 0; j < TILE; j++)
          target[(c - first) * block * TILE + i * TILE + j] =
              c * TILE + j < linear.columns ? source[i][c * TILE + j] : 0;
  }
}

// in' = (W^T out') times the slope of the activation that made ``value``; or added to in'.
template <class T>
void to_inputs(const Worker& worker, const Panels<T>& panels, const Linear<T>& linear,
               const T* parameters, const Rows<T>& out, const Rows<T>& in, Activation activation,
               const Rows<T>* value, bool more, T* packed) {
  const T* weight = parameters + linear.weight;
  const long first = fair(linear.column_cost, worker.number, worker.of);
  const long last = fair(linear.column_cost, worker.number + 1, worker.of);
  const long block = packed_rows(linear, panels);
  T* const nowhere = packed;  // for columns that fill up a tile
  packed += panels.widest;
  for (long r = 0; r < linear.rows || r == 0; r += block) {
    const long stop = least(r + block, linear.rows);
    pack(linear, weight, first, last, r, stop, block, packed);
    for (const Panel& panel : panels) {
      const auto work = tile_for<T, true>(panel.width);
      for (long c = first; c < last; c++) {
        const bool empty = linear.from[c] >= linear.to[c];
        const long begin = most(linear.from[c], r), end = least(linear.to[c], stop);
        if (empty ? r > 0 : begin >= end) continue;
        const bool done = empty || linear.to[c] <= stop;
        Ends<T> ends = {!more && (empty || linear.from[c] >= r), nullptr, Activation::none,
                        done ? activation : Activation::none, {}};
        const T* start = packed + ((c - first) * block + begin - r) * TILE;
        const T* a[TILE] = {start, start, start, start};
        T* to[TILE];
        for (long i = 0; i < TILE; i++) {
          const long column = TILE * c + i;
          to[i] = column < linear.columns ? in.at(panel, column) : nowhere;
          if (value) ends.value[i] = value->at(panel, least(column, linear.columns - 1));
        }
        // The next rows to be packed, into the second cache: of a line of them, which is that of
        // some tiles, each tile has its share fetched.
        constexpr long TILES = LINE<T> / TILE;
        for (long row = stop + c % TILES; row < least(stop + block, linear.rows); row += TILES)
          if (c >= linear.reach_low[row] && c < linear.reach_high[row])
            __builtin_prefetch(weight + linear.order[row] * linear.columns + TILE * c, 0, 2);
        work(empty ? 0 : end - begin, a, out.at(panel, begin), to, ends);
      }
    }
  }
}

template <class T>
constexpr long strip_width() {
  return STRIP * Full<T>::size;
}

// The size of `transpose`'s result.
template <class T>
long transposed_size(long rows, const Panels<T>& panels) {
  const long strips = (rows + strip_width<T>() - 1) / strip_width<T>();
  return strips * strip_width<T>() * panels.batch;
}

// Lanes of two vectors in turn, of their lower or their upper halves.
template <class P>
inline void interleave(typename P::Vector a, typename P::Vector b, typename P::Vector& low,
                       typename P::Vector& high) {
  if constexpr (P::size == 16) {
    low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                   15, 31);
  } else if constexpr (P::size == 8) {
    low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else if constexpr (P::size == 4) {
    low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  } else {
    low = __builtin_shufflevector(a, b, 0, 2);
    high = __builtin_shufflevector(a, b, 1, 3);
  }
}

// Rows of a batch as strips of columns: result[strip][example][STRIP vectors of rows].
template <class T>
void transpose(const Worker& worker, const Panels<T>& panels, const Rows<T>& in, T* result) {
  typedef Full<T> P;
  constexpr long N = P::size;
  const long groups = (in.rows + N - 1) / N;
  for (long g = worker.begin(groups); g < worker.end(groups); g++) {
    T* const place = result + g / STRIP * strip_width<T>() * panels.batch + g % STRIP * N;
    for (const Panel& panel : panels) {
      for (long b = 0; b < panel.count; b += N) {
        typename P::Vector one[N], other[N];
        for (long i = 0; i < N; i++) {
          const T* from = in.at(panel, least(g * N + i, in.rows - 1)) + b;
          one[i] = load<P>(from);  // may run into the next row, whose numbers are not stored
        }
        // Shuffling cards: after log2 N rounds a row has become a column.
        typename P::Vector *here = one, *there = other;
#pragma GCC unroll 4
        for (long rounds = 1; rounds < N; rounds *= 2) {
#pragma GCC unroll 8
          for (long i = 0; i < N / 2; i++)
            interleave<P>(here[i], here[i + N / 2], there[2 * i], there[2 * i + 1]);
          typename P::Vector* swap = here;
          here = there;
          there = swap;
        }
        T* to = place + (panel.first + b) * strip_width<T>();
        const long count = least(N, panel.count - b);
        if (count == N) {
#pragma GCC unroll 16
          for (long i = 0; i < N; i++) store<P>(to + i * strip_width<T>(), here[i]);
        } else {
          for (long i = 0; i < count; i++) store<P>(to + i * strip_width<T>(), here[i]);
        }
      }
    }
  }
}

// What the gradient of some rows needs, for each thread.
template <class T>
long slope_size(const Linear<T>& linear) {
  return DEEP * (linear.columns + 2 * strip_width<T>());
}

// What Adam will need of some rows and columns, fetched while their gradient is computed: a line
// of the cache at a time, of the parameters and of both moments.
template <class T, int MR>
struct Ahead {
  const T* of[3];
  long row[MR];  // offsets of the rows

  void fetch(long line, long lines) const {
    const long at = row[line / lines] + line % lines * LINE<T>;
    for (const T* numbers : of) __builtin_prefetch(numbers + at, 1);
  }
};

// result[i, :] = sum over the batch of out'[r + i, b] times vectors of a strip, MR rows at a time.
template <class T, int MR, int NK>
inline void slope_tile(const Panels<T>& panels, const Rows<T>& out, long r, const T* strip,
                       T* result, long stride, const Ahead<T, MR>& ahead) {
  typedef Full<T> P;
  constexpr long lines = (NK * WIDTH + 63) / 64, all = MR * lines;
  const long pause = most(1, panels.batch / all);  // examples between two lines that are fetched
  long line = 0;
  typename P::Vector sums[MR][NK];
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NK; j++) sums[i][j] = typename P::Vector{};
  for (const Panel& panel : panels) {
    const T* slope[MR];
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) slope[i] = out.at(panel, r + i);
    for (long b = 0, next = 0; b < panel.count;) {
     if (line < all) ahead.fetch(line++, lines);
     next = line < all ? least(b + pause, panel.count) : panel.count;
     for (; b < next; b++) {
      typename P::Vector other[NK];
#pragma GCC unroll 4
      for (int j = 0; j < NK; j++) other[j] = load<P>(strip + j * P::size);
#pragma GCC unroll 8
      for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NK; j++) sums[i][j] += slope[i][b] * other[j];
      strip += strip_width<T>();
     }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NK; j++) store<P>(result + i * stride + j * P::size, sums[i][j]);
}

// MR rows from r on: their gradient in the columns begin .. end, and Adam.
template <class T, int MR>
void slopes_of(const Panels<T>& panels, const Linear<T>& linear, const Rows<T>& out,
               const T* transposed, const Adam<T>& adam, long r, long begin, long end, T* result) {
  constexpr long N = Full<T>::size, W = strip_width<T>();
  long low = end, high = begin;
  for (long i = r; i < r + MR; i++) {
    if (linear.low[i] >= linear.high[i]) continue;
    low = least(low, linear.low[i]);
    high = most(high, linear.high[i]);
  }
  low = most(low, begin) / N * N;
  high = least(high, end);
  if (low >= high) return;
  const long stride = linear.columns + 2 * W;
  Ahead<T, MR> ahead = {{adam.parameters, adam.first, adam.second}, {}};
  for (long k = low; k < high;) {
    const long s = k / W, offset = k % W;
    const long vectors = (least(high, (s + 1) * W) - k + N - 1) / N;
    const T* strip = transposed + s * W * panels.batch + offset;
    T* to = result + k - low;
    for (int i = 0; i < MR; i++)
      ahead.row[i] = linear.weight + linear.order[r + i] * linear.columns + k;
    if (vectors == 3)
      slope_tile<T, MR, 3>(panels, out, r, strip, to, stride, ahead);
    else if (vectors == 2)
      slope_tile<T, MR, 2>(panels, out, r, strip, to, stride, ahead);
    else
      slope_tile<T, MR, 1>(panels, out, r, strip, to, stride, ahead);
    k += vectors * N;
  }
  for (long i = 0; i < MR; i++) {
    const long first = most(linear.low[r + i], begin), last = least(linear.high[r + i], end);
    if (first < last)
      adam.update(linear.weight + linear.order[r + i] * linear.columns + first,
                  result + i * stride + first - low, last - first);
  }
}

// The gradient of the weight, and its update; the gradient of the bias, kept for the end.
template <class T>
void to_weights(const Worker& worker, const Panels<T>& panels, Linear<T>& linear,
                const Rows<T>& out, const T* transposed, const Adam<T>& adam, T* result) {
  constexpr long W = strip_width<T>();
  const long per_tile = DEEP / TILE;
  auto share = [&](int number) {  // in whole tiles of DEEP rows
    const long t = fair(linear.row_cost, number, worker.of);
    return least(linear.rows, (t + per_tile - 1) / per_tile * DEEP);
  };
  const long first = share(worker.number), last = share(worker.number + 1);
  // As many columns at a time as the second cache holds, transposed.
  const long group = most(1, FAR / (long)(panels.batch * sizeof(T)) / W) * W;
  for (long begin = 0; begin < linear.columns; begin += group) {
    const long end = least(begin + group, linear.columns);
    long r = first;
    for (; r + DEEP <= last; r += DEEP)
      slopes_of<T, DEEP>(panels, linear, out, transposed, adam, r, begin, end, result);
    for (; r + 4 <= last; r += 4)
      slopes_of<T, 4>(panels, linear, out, transposed, adam, r, begin, end, result);
    for (; r < last; r++)
      slopes_of<T, 1>(panels, linear, out, transposed, adam, r, begin, end, result);
  }
  if (linear.bias < 0) return;
  for (long r = first; r < last; r++) {
    T slope = 0;
    for (const Panel& panel : panels) {
      const T* row = out.at(panel, r);
      slope += sum<T>(panel.count, [&](auto pack, long i) { return load<decltype(pack)>(row + i); });
    }
    linear.bias_slope[linear.order[r]] = slope;
  }
}

}  // namespace MAF_ISA
