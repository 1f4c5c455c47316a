// From noise to data through a masked network, in one pass.
//
// Feature r of the autoregression needs the outputs for it alone, and these the hidden units of its
// degree or less. So every unit is computed once, as soon as the features that it sees are known.
// Steps (features) are taken in blocks: first the units of a block collect what they see of what
// was known before it, in large products; what is new within the block follows step by step.
//
// Each thread has panels of its own, so nobody waits within a layer.

#pragma once

#include "network.h"

namespace MAF_ISA {

constexpr long UNITS = 48;  // of a layer in a block, about: their rows stay in the first cache

// The units of a linear layer in the order in which they can be computed.
struct Stage {
  Array<long> unit;
  Array<long> first;  // of the units that are computed in a step; behind the last step the end
  Array<long> known;  // columns that are known when a step begins
  bool ascending;     // the known ones are the first columns; or else the last

  // Of the columns low .. high those known when a step begins.
  long old_low(long step, long low, long columns) const {
    return ascending ? low : most(low, columns - known[step]);
  }
  long old_high(long step, long high) const {
    return ascending ? least(high, known[step]) : high;
  }
  // And the others.
  long new_low(long step, long low) const { return ascending ? most(low, known[step]) : low; }
  long new_high(long step, long high, long columns) const {
    return ascending ? high : least(high, columns - known[step]);
  }
};

template <class T>
class Sequence {
 public:
  bool possible = true;

  // ``feature`` has the columns of the first layer in the order of the autoregression, and each of
  // them has ``outputs`` rows of the last one.
  void prepare(const Network<T>& network, const Array<long>& feature, long outputs) {
    const long steps = feature.size();
    stage_ = Array<Stage>(network.depth);
    Array<long> ready(steps);  // the step in which a column becomes known
    for (long r = 0; r < steps; r++) ready[feature[r]] = r + 1;
    for (long l = 0; l < network.depth; l++) {
      const Linear<T>& linear = network.linear[l];
      const bool last = l + 1 == network.depth;
      Stage& stage = stage_[l];
      see(ready, l == 0, steps, stage);
      Array<long> mine(linear.rows);
      for (long r = 0; r < linear.rows; r++) {
        const bool sees = linear.low[r] < linear.high[r];  // the last one it sees is at an end
        long when = sees ? most(ready[linear.low[r]], ready[linear.high[r] - 1]) : 0;
        if (last) {
          possible = possible && when <= r / outputs;
          when = r / outputs;
        }
        mine[r] = when;
      }
      sort(mine, steps, stage);
      ready = static_cast<Array<long>&&>(mine);
    }
  }

  // Calls ``emit(r)`` as soon as the outputs of step r stand in ``out``.
  template <class Emit>
  void run(const Worker& worker, const Update<T>& update, const Network<T>& network,
           const Rows<T>& in, const Rows<T>& out, const Emit& emit) const {
    const long depth = network.depth, steps = stage_[0].first.size() - 1;
    for (long begin = 0; begin < steps;) {
      const long end = block_end(begin, steps);
      for (long l = 0; l < depth; l++) {
        const Stage& stage = stage_[l];
        const Rows<T>& from = l ? network.hidden[l - 1] : in;
        const Rows<T>& to = l + 1 < depth ? network.hidden[l] : out;
        const Linear<T>& linear = network.linear[l];
        const long first = stage.first[begin], last = stage.first[end];
        for (long u = first; u < last; u += TILE)
          product(worker, update, linear, stage, u, last, begin, true, Activation::none, from, to);
        if (l == 0 && network.conditional)
          for (long u = first; u < last; u += TILE)
            given(worker, update, network.context, stage, u, last, to);
      }
      for (long step = begin; step < end; step++) {
        for (long l = 0; l < depth; l++) {
          const Stage& stage = stage_[l];
          const Rows<T>& from = l ? network.hidden[l - 1] : in;
          const Rows<T>& to = l + 1 < depth ? network.hidden[l] : out;
          const Activation after = l + 1 < depth ? network.activation : Activation::none;
          const long last = stage.first[step + 1];
          for (long u = stage.first[step]; u < last; u += TILE)
            product(worker, update, network.linear[l], stage, u, last, begin, false, after, from,
                    to);
        }
        emit(step);
      }
      begin = end;
    }
  }

 private:
  Array<Stage> stage_;

  // What is known of a layer's columns when each step begins.
  void see(const Array<long>& ready, bool rows, long steps, Stage& stage) {
    const long columns = ready.size();
    stage.ascending = !columns || ready[0] <= ready[columns - 1];
    for (long c = 1; c < columns; c++)
      possible = possible && (stage.ascending ? ready[c - 1] <= ready[c] : ready[c - 1] >= ready[c]);
    stage.known = Array<long>(steps + 1);
    // A feature that becomes known in a step is there when the next begins; so is a hidden unit.
    for (long c = 0; c < columns; c++)
      if (const long step = rows ? ready[c] : ready[c] + 1; step <= steps) stage.known[step]++;
    for (long step = 0; step < steps; step++) stage.known[step + 1] += stage.known[step];
  }

  static void sort(const Array<long>& when, long steps, Stage& stage) {
    stage.first = Array<long>(steps + 1);
    Array<long> next(steps + 1);
    long count = 0;
    for (long r = 0; r < when.size(); r++)  // those that see the last feature are of no use
      if (when[r] < steps) stage.first[when[r] + 1]++, count++;
    for (long step = 0; step < steps; step++) {
      stage.first[step + 1] += stage.first[step];
      next[step + 1] = stage.first[step + 1];
    }
    stage.unit = Array<long>(count);
    for (long r = 0; r < when.size(); r++)
      if (when[r] < steps) stage.unit[next[when[r]]++] = r;
  }

  long block_end(long begin, long steps) const {
    long end = begin + 1;
    auto fits = [&](long to) {
      for (long l = 0; l + 1 < stage_.size(); l++)
        if (stage_[l].first[to] - stage_[l].first[begin] > UNITS) return false;
      return to - begin <= UNITS;
    };
    while (end < steps && fits(end + 1)) end++;
    return end;
  }

  // Up to TILE units: the columns known before the block, or those of the block.
  static void product(const Worker& worker, const Update<T>& update, const Linear<T>& linear,
                      const Stage& stage, long u, long last, long block, bool old,
                      Activation after, const Rows<T>& from, const Rows<T>& to) {
    long low = linear.columns, high = 0, row[TILE];
    T start[TILE] = {};
    for (long i = 0; i < TILE; i++) {
      const long r = row[i] = stage.unit[least(u + i, last - 1)];
      if (linear.bias >= 0) start[i] = update.parameters[linear.bias + linear.order[r]];
      if (linear.low[r] >= linear.high[r]) continue;
      low = least(low, linear.low[r]);
      high = most(high, linear.high[r]);
    }
    const long begin = old ? stage.old_low(block, low, linear.columns) : stage.new_low(block, low);
    const long end = old ? stage.old_high(block, high)
                         : stage.new_high(block, high, linear.columns);
    const long n = most(0, end - begin);
    if (!n && !old && after == Activation::none) return;
    const T* a[TILE];
    for (long i = 0; i < TILE; i++)
      a[i] = update.parameters + linear.weight + linear.order[row[i]] * linear.columns +
             (n ? begin : 0);
    const bool relu = after == Activation::relu;
    const Ends<T> ends = {old, start, relu ? after : Activation::none, Activation::none, {}};
    each(worker, update, [&](const Panel& panel) {
      T* c[TILE];
      for (long i = 0; i < TILE; i++) c[i] = to.at(panel, row[i]);
      tile_for<T, false>(panel.width)(n, a, from.at(panel, n ? begin : 0), c, ends);
      if (after == Activation::tanh)
        for (long i = 0; i < least(TILE, last - u); i++)
          along<T>(panel.width, [&](auto pack, long j) {
            typedef decltype(pack) P;
            store<P>(c[i] + j, clipped_tanh<P>(load<P>(c[i] + j)));
          });
    });
  }

  // What they see of the context.
  static void given(const Worker& worker, const Update<T>& update, const Linear<T>& linear,
                    const Stage& stage, long u, long last, const Rows<T>& to) {
    const Ends<T> ends = {false, nullptr, Activation::none, Activation::none, {}};
    each(worker, update, [&](const Panel& panel) {
      const T* a[TILE];
      T* c[TILE];
      for (long i = 0; i < TILE; i++) {
        const long row = stage.unit[least(u + i, last - 1)];
        a[i] = update.parameters + linear.weight + linear.order[row] * linear.columns;
        c[i] = to.at(panel, row);
      }
      tile_for<T, false>(panel.width)(linear.columns, a, update.context.at(panel), c, ends);
    });
  }

 public:
  // The panels of a thread.
  template <class Work>
  static void each(const Worker& worker, const Update<T>& update, const Work& work) {
    long number = 0;
    for (const Panel& panel : update.panels)
      if (number++ % worker.of == worker.number) work(panel);
  }
};

}  // namespace MAF_ISA
