// The densities at the end of a flow: where the log density is known, and the gradient begins.

#pragma once

#include "layers.h"

namespace MAF_ISA {

constexpr double HALF_LOG_TWO_PI = 0.91893853320467274178;

// ``in`` is what comes out of the flow; ``out`` is not used.
template <class T>
class Normal final : public Layer<T> {
 public:
  long features;

  void prepare(const Panels<T>&, Memory<T>&, Sizes&) override {}

  void forward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch) override {
    for (long d = worker.begin(features); d < worker.end(features); d++) {
      scratch.constant[worker.number] -= HALF_LOG_TWO_PI;
      for (const Panel& panel : update.panels) {
        const T* u = this->in.at(panel, d);
        T* log_density = scratch.log_det[worker.number] + panel.begin;
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          const typename P::Vector value = load<P>(u + i);
          store<P>(log_density + i, load<P>(log_density + i) - (T)0.5 * (value * value));
        });
      }
    }
  }

  void backward(const Worker& worker, const Update<T>& update, const Scratch<T>&,
                const Rows<T>& slope) override {
    for (long d = worker.begin(features); d < worker.end(features); d++)
      for (const Panel& panel : update.panels) {
        const T* u = this->in.at(panel, d);
        T* g = slope.at(panel, d);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          store<P>(g + i, load<P>(u + i) * update.weight);
        });
      }
    worker.wait();
  }

  bool inverts() const override { return false; }
  void inverse(const Worker&, const Update<T>&) override {}

  void finish(const Update<T>&) override {}
};

// A mixture of Gaussians for each feature, given those before it. Of the feature that is the r-th
// in the order of the autoregression the network's outputs 3 C r .. are C means, then C log
// precisions, then C logits.
template <class T>
class Mixture final : public Layer<T> {
 public:
  Array<long> feature;
  long components;
  Network<T> network;
  Rows<T> outputs;    // shared with other layers
  T** room = nullptr;  // of each thread: for 2 C vectors

  void prepare(const Panels<T>& panels, Memory<T>& memory, Sizes& sizes) override {
    network.prepare(panels, memory, sizes);
    slope_ = memory.take(feature.size(), panels);
    sizes.components = most(sizes.components, components);
  }

  // The gradient of the outputs takes their place at once, and that of the rows is kept.
  void forward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch) override {
    network.forward(worker, update, this->in, outputs);
    const long features = feature.size();
    for (long r = worker.begin(features); r < worker.end(features); r++) {
      scratch.constant[worker.number] -= HALF_LOG_TWO_PI;
      for (const Panel& panel : update.panels) {
        const long d = feature[r], w = panel.width;
        T* parameters = outputs.at(panel, 3 * components * r);
        const T* x = this->in.at(panel, d);
        T* log_density = scratch.log_det[worker.number] + panel.begin;
        T* slope = slope_.at(panel, d);
        along<T>(w, [&](auto pack, long i) {
          typedef decltype(pack) P;
          of_feature<P>(update, parameters + i, w, load<P>(x + i), log_density + i, slope + i,
                        room[worker.number]);
        });
      }
    }
    worker.wait();
  }

  void backward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch,
                const Rows<T>& slope) override {
    if (!this->lowest) {
      const long features = feature.size();
      for (long d = worker.begin(features); d < worker.end(features); d++)
        for (const Panel& panel : update.panels)
          std::memcpy(slope.at(panel, d), slope_.at(panel, d), panel.width * sizeof(T));
      worker.wait();
    }
    network.backward(worker, update, scratch, this->in, outputs, this->lowest ? nullptr : &slope,
                     true);
  }

  bool inverts() const override { return false; }
  void inverse(const Worker&, const Update<T>&) override {}

  void finish(const Update<T>& update) override { network.finish(update); }

 private:
  template <class P>
  static typename P::Vector larger(typename P::Vector a, typename P::Vector b) {
    return choose<P>(a > b, a, b);
  }
  // What is taken off before exp: an infinite one would make NaN of itself.
  template <class P>
  static typename P::Vector finite(typename P::Vector x) {
    const T infinity = (T)__builtin_inf();
    return choose<P>((x == infinity) | (x == -infinity), typename P::Vector{}, x);
  }

  template <class P>
  void of_feature(const Update<T>& update, T* parameters, long w, typename P::Vector x,
                  T* log_density, T* slope, T* kept) const {
    typedef typename P::Vector V;
    const long C = components;
    T *mean = parameters, *log_precision = mean + C * w, *logit = log_precision + C * w;
    T *precision = kept, *joint = kept + C * P::size;
    V top_joint = {}, top_logit = {};
    for (long c = 0; c < C; c++) {
      const V p = load<P>(log_precision + c * w), away = x - load<P>(mean + c * w);
      const V e = exponential<P>(p), weight = load<P>(logit + c * w);
      const V both = weight + (T)0.5 * (p - e * (away * away));
      store<P>(precision + c * P::size, e);
      store<P>(joint + c * P::size, both);
      top_joint = c ? larger<P>(both, top_joint) : both;  // of NaN: anything, the sum is NaN
      top_logit = c ? larger<P>(weight, top_logit) : weight;
    }
    top_joint = finite<P>(top_joint);
    top_logit = finite<P>(top_logit);
    V sum_joint = {}, sum_logit = {};
    for (long c = 0; c < C; c++) {
      sum_joint += exponential<P>(load<P>(joint + c * P::size) - top_joint);
      sum_logit += exponential<P>(load<P>(logit + c * w) - top_logit);
    }
    const V all_joint = logarithm<P>(sum_joint) + top_joint;
    const V all_logit = logarithm<P>(sum_logit) + top_logit;
    store<P>(log_density, load<P>(log_density) + (all_joint - all_logit));
    if (!update.training) return;
    V back = {};
    for (long c = 0; c < C; c++) {
      const V share = exponential<P>(load<P>(joint + c * P::size) - all_joint);  // its posterior
      const V prior = exponential<P>(load<P>(logit + c * w) - all_logit);
      const V away = x - load<P>(mean + c * w), e = load<P>(precision + c * P::size);
      const V weighted = update.weight * share, pull = weighted * (e * away);
      store<P>(mean + c * w, -pull);
      store<P>(log_precision + c * w, (T)-0.5 * weighted * (1 - e * (away * away)));
      store<P>(logit + c * w, update.weight * prior - weighted);
      back += pull;
    }
    store<P>(slope, back);
  }

  Rows<T> slope_;
};

}  // namespace MAF_ISA
