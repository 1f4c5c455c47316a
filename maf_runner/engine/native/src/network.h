// A network of linear layers, masked or not, with the same activation between all of them.

#pragma once

#include "products.h"

namespace MAF_ISA {

// What all layers of an engine share: the threads' view of one update.
template <class T>
struct Update {
  const Panels<T>& panels;
  Adam<T> adam;
  const T* parameters;
  Rows<T> context;             // [C, B]
  const T* context_transposed;
  T weight;                    // of each example in the loss: 1 / B
  bool training;
  const T* statistics;         // of batch norms, where not training
};

// Room for gradients between layers, one after the other, and for the products' own needs.
template <class T>
struct Scratch {
  T* slopes[3];       // of hidden units
  T* transposed[2];
  T** packed;         // of each thread
  T** result;
  T** log_det;        // [B] of each thread: its share of the log density
  double* constant;   // and of what is the same for every example
};

// The sizes of all that.
struct Sizes {
  long slopes = 0, transposed = 0, packed = 0, result = 0, outputs = 0, components = 0;
};

template <class T>
struct Network {
  long depth = 0;           // linear layers
  Array<Linear<T>> linear;
  bool conditional = false;
  Linear<T> context;        // into the first hidden layer
  Activation activation;
  Array<Rows<T>> hidden;    // what comes out of each layer but the last

  long inputs() const { return linear[0].columns; }
  long outputs() const { return linear[depth - 1].rows; }

  void prepare(const Panels<T>& panels, Memory<T>& memory, Sizes& sizes) {
    hidden = Array<Rows<T>>(depth - 1);
    for (long l = 0; l < depth; l++) measure(linear[l], panels, sizes);
    if (conditional) {
      measure(context, panels, sizes);
      for (long t = 0; t < context.row_cost.size(); t++)  // so that a thread has the same rows
        context.row_cost[t] = linear[0].row_cost[t];
    }
    for (long l = 0; l + 1 < depth; l++) {
      hidden[l] = memory.take(linear[l].rows, panels);
      sizes.slopes = most(sizes.slopes, linear[l].rows * panels.width);
    }
    sizes.outputs = most(sizes.outputs, outputs() * panels.width);
  }

  void forward(const Worker& worker, const Update<T>& update, const Rows<T>& in,
               const Rows<T>& out) const {
    for (long l = 0; l < depth; l++) {
      const bool given = conditional && l == 0, last = l + 1 == depth;
      const Rows<T>& from = l ? hidden[l - 1] : in;
      const Rows<T>& to = last ? out : hidden[l];
      const Activation after = last ? Activation::none : activation;
      MAF_ISA::forward(worker, update.panels, linear[l], update.parameters, from, to,
                       given ? Activation::none : after);
      if (given)
        MAF_ISA::forward(worker, update.panels, context, update.parameters, update.context, to,
                         after, true);
      worker.wait();
    }
  }

  // From the gradient of the outputs to that of the parameters, which are updated, and to that of
  // the inputs, if it is wanted: ``slope`` is null, or written, or added to if there is ``more``.
  void backward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch,
                const Rows<T>& in, const Rows<T>& out, const Rows<T>* slope, bool more) {
    // Three buffers in turn, and two: a thread that is ahead writes none that another still reads.
    Rows<T> above = out;
    for (long l = depth - 1; l >= 0; l--) {
      const Rows<T>& from = l ? hidden[l - 1] : in;
      T* const transposed = scratch.transposed[l % 2];
      Rows<T> below = {linear[l].columns, scratch.slopes[l % 3]};
      transpose(worker, update.panels, from, transposed);
      if (l > 0)
        to_inputs(worker, update.panels, linear[l], update.parameters, above, below, activation,
                  &hidden[l - 1], false, scratch.packed[worker.number]);
      else if (slope)
        to_inputs<T>(worker, update.panels, linear[l], update.parameters, above, *slope,
                     Activation::none, nullptr, more, scratch.packed[worker.number]);
      worker.wait();
      to_weights(worker, update.panels, linear[l], above, transposed, update.adam,
                 scratch.result[worker.number]);
      if (l == 0 && conditional)
        to_weights(worker, update.panels, context, above, update.context_transposed, update.adam,
                   scratch.result[worker.number]);
      above = below;
    }
    worker.wait();
  }

  // Adam on the biases, whose gradients have been kept.
  void finish(const Update<T>& update) {
    for (long l = 0; l < depth; l++)
      update.adam.update(linear[l].bias, linear[l].bias_slope.data(), linear[l].rows);
  }

 private:
  static void measure(const Linear<T>& linear, const Panels<T>& panels, Sizes& sizes) {
    sizes.transposed = most(sizes.transposed, transposed_size<T>(linear.columns, panels));
    sizes.packed = most(sizes.packed, packed_size(linear, panels));
    sizes.result = most(sizes.result, slope_size(linear));
  }
};

}  // namespace MAF_ISA
