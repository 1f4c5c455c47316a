// The layers of a flow, from data to noise and, with the gradient of the loss, back again.
//
// The loss is minus the mean log density: each log determinant enters it with -1/B. ``slope`` is
// the gradient of the loss by the rows: by those that come out of a layer when its ``backward``
// begins, by those that went in when it ends.

#pragma once

#include "inverse.h"

namespace MAF_ISA {

template <class T>
class Layer {
 public:
  Rows<T> in, out;
  bool lowest = false;  // next to the data, whose gradient nobody wants

  virtual ~Layer() = default;
  virtual void prepare(const Panels<T>& panels, Memory<T>& memory, Sizes& sizes) = 0;
  virtual void forward(const Worker&, const Update<T>&, const Scratch<T>&) = 0;
  virtual void backward(const Worker&, const Update<T>&, const Scratch<T>&,
                        const Rows<T>& slope) = 0;
  // From the rows that come out to those that went in, with given statistics; no log determinant.
  virtual bool inverts() const { return true; }
  virtual void inverse(const Worker&, const Update<T>&) = 0;
  // The small parameters, by one thread, after all else.
  virtual void finish(const Update<T>&) = 0;
};

// Batch norm of one feature at a time.
template <class T>
class BatchNorm final : public Layer<T> {
 public:
  long features, log_gamma, beta;  // where they begin in the flat parameters
  long mean, variance;             // and in the statistics

  void prepare(const Panels<T>& panels, Memory<T>& memory, Sizes&) override {
    centred_ = memory.take(features, panels);
    scale_ = memory.take(features);
    inverse_ = memory.take(features);
    gamma_slope_ = memory.take(features);
    beta_slope_ = memory.take(features);
  }

  void forward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch) override {
    const T rows = (T)update.panels.batch;
    for (long d = worker.begin(features); d < worker.end(features); d++) {
      T middle = 0;
      if (update.training) {
        for (const Panel& panel : update.panels) {
          const T* x = this->in.at(panel, d);
          middle += sum<T>(panel.count,
                           [&](auto pack, long i) { return load<decltype(pack)>(x + i); });
        }
        middle /= rows;
      } else {
        middle = update.statistics[mean + d];
      }
      T squares = 0;
      for (const Panel& panel : update.panels) {
        const T* x = this->in.at(panel, d);
        T* c = centred_.at(panel, d);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          store<P>(c + i, load<P>(x + i) - middle);
        });
        if (update.training)
          squares += sum<T>(panel.count, [&](auto pack, long i) {
            const auto value = load<decltype(pack)>(c + i);
            return value * value;
          });
      }
      const T spread_out = update.training ? squares / rows : update.statistics[variance + d];
      const T safe = spread_out + (T)1e-5;
      const T gamma = update.parameters[log_gamma + d], shift = update.parameters[beta + d];
      inverse_[d] = 1 / safe;
      scale_[d] = (T)__builtin_exp(gamma) / __builtin_sqrt(safe);
      scratch.constant[worker.number] += gamma - 0.5 * __builtin_log(safe);
      for (const Panel& panel : update.panels) {
        const T* c = centred_.at(panel, d);
        T* u = this->out.at(panel, d);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          store<P>(u + i, load<P>(c + i) * scale_[d] + shift);
        });
      }
    }
    worker.wait();
  }

  void inverse(const Worker& worker, const Update<T>& update) override {
    for (long d = worker.begin(features); d < worker.end(features); d++) {
      const T safe = update.statistics[variance + d] + (T)1e-5, middle = update.statistics[mean + d];
      const T gamma = update.parameters[log_gamma + d], shift = update.parameters[beta + d];
      const T scale = (T)__builtin_exp(-gamma) * __builtin_sqrt(safe);
      for (const Panel& panel : update.panels) {
        const T* u = this->out.at(panel, d);
        T* x = this->in.at(panel, d);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          store<P>(x + i, (load<P>(u + i) - shift) * scale + middle);
        });
      }
    }
    worker.wait();
  }

  void backward(const Worker& worker, const Update<T>& update, const Scratch<T>&,
                const Rows<T>& slope) override {
    const T rows = (T)update.panels.batch;
    for (long d = worker.begin(features); d < worker.end(features); d++) {
      T slopes = 0, products = 0;  // sums of the gradient, and of it times the centred rows
      for (const Panel& panel : update.panels) {
        const T *g = slope.at(panel, d), *c = centred_.at(panel, d);
        slopes += sum<T>(panel.count,
                         [&](auto pack, long i) { return load<decltype(pack)>(g + i); });
        products += sum<T>(panel.count, [&](auto pack, long i) {
          typedef decltype(pack) P;
          return load<P>(g + i) * load<P>(c + i);
        });
      }
      beta_slope_[d] = slopes;
      gamma_slope_[d] = products * scale_[d] - 1;  // the log determinant holds log gamma
      if (this->lowest) continue;
      const T average = slopes / rows;
      // Through the variance: of the scale, and of the log determinant.
      const T back = (1 - products * scale_[d]) * inverse_[d] / rows;
      for (const Panel& panel : update.panels) {
        T* g = slope.at(panel, d);
        const T* c = centred_.at(panel, d);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          store<P>(g + i, (load<P>(g + i) - average) * scale_[d] + load<P>(c + i) * back);
        });
      }
    }
    worker.wait();
  }

  void finish(const Update<T>& update) override {
    update.adam.update(log_gamma, gamma_slope_, features);
    update.adam.update(beta, beta_slope_, features);
  }

 private:
  Rows<T> centred_;
  T *scale_, *inverse_, *gamma_slope_, *beta_slope_;
};

// u = exp(s) (x - m) with s = p / 2, softly clipped if it is ``bounded``; m and p of a feature stand
// beside each other in the network's outputs.
template <class T>
class Affine final : public Layer<T> {
 public:
  bool bounded = false;
  Array<long> feature;  // in the order of the autoregression
  Network<T> network;
  Rows<T> outputs;      // shared with other layers

  void prepare(const Panels<T>& panels, Memory<T>& memory, Sizes& sizes) override {
    network.prepare(panels, memory, sizes);
    scale_ = memory.take(feature.size(), panels);
    if (bounded) clip_slope_ = memory.take(feature.size(), panels);
    sequence_.prepare(network, feature, 2);
  }

  void forward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch) override {
    network.forward(worker, update, this->in, outputs);
    const long features = feature.size();
    for (long r = worker.begin(features); r < worker.end(features); r++)
      for (const Panel& panel : update.panels) {
        const T *m = outputs.at(panel, 2 * r), *p = outputs.at(panel, 2 * r + 1);
        const T* x = this->in.at(panel, feature[r]);
        T *u = this->out.at(panel, feature[r]), *e = scale_.at(panel, feature[r]);
        T* c = bounded ? clip_slope_.at(panel, feature[r]) : nullptr;
        T* log_det = scratch.log_det[worker.number] + panel.begin;
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          typename P::Vector s = load<P>(p + i) * (T)0.5;
          if (bounded) {
            s = soft_clip<P>(s);
            store<P>(c + i, soft_clip_slope<P>(s));
          }
          const typename P::Vector scale = exponential<P>(s);
          store<P>(e + i, scale);
          store<P>(u + i, scale * (load<P>(x + i) - load<P>(m + i)));
          store<P>(log_det + i, load<P>(log_det + i) + s);
        });
      }
    worker.wait();
  }

  bool inverts() const override { return sequence_.possible; }

  void inverse(const Worker& worker, const Update<T>& update) override {
    sequence_.run(worker, update, network, this->in, outputs, [&](long r) {
      Sequence<T>::each(worker, update, [&](const Panel& panel) {
        const T *m = outputs.at(panel, 2 * r), *p = outputs.at(panel, 2 * r + 1);
        const T* u = this->out.at(panel, feature[r]);
        T* x = this->in.at(panel, feature[r]);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          typename P::Vector s = load<P>(p + i) * (T)0.5;
          if (bounded) s = soft_clip<P>(s);
          const typename P::Vector scale = exponential<P>(-s);
          store<P>(x + i, scale * load<P>(u + i) + load<P>(m + i));
        });
      });
    });
    worker.wait();
  }

  void backward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch,
                const Rows<T>& slope) override {
    const long features = feature.size();
    for (long r = worker.begin(features); r < worker.end(features); r++)
      for (const Panel& panel : update.panels) {
        T *m = outputs.at(panel, 2 * r), *p = outputs.at(panel, 2 * r + 1);
        T* g = slope.at(panel, feature[r]);
        const T *u = this->out.at(panel, feature[r]), *e = scale_.at(panel, feature[r]);
        const T* c = bounded ? clip_slope_.at(panel, feature[r]) : nullptr;
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          const typename P::Vector above = load<P>(g + i), back = load<P>(e + i) * above;
          store<P>(m + i, -back);
          typename P::Vector by_p = (T)0.5 * (above * load<P>(u + i) - update.weight);
          if (bounded) by_p *= load<P>(c + i);
          store<P>(p + i, by_p);
          store<P>(g + i, back);
        });
      }
    worker.wait();
    network.backward(worker, update, scratch, this->in, outputs, this->lowest ? nullptr : &slope,
                     true);
  }

  void finish(const Update<T>& update) override { network.finish(update); }

 private:
  Rows<T> scale_, clip_slope_;
  Sequence<T> sequence_;
};

// u = x where copied, (x - t) exp(-s) where changed; s and t see what is copied, and the context. s is
// softly clipped if it is ``bounded``.
template <class T>
class Coupling final : public Layer<T> {
 public:
  bool bounded = false;
  Array<long> copied, changed;
  long context = 0;
  Network<T> log_scale, shift;

  void prepare(const Panels<T>& panels, Memory<T>& memory, Sizes& sizes) override {
    log_scale.prepare(panels, memory, sizes);
    shift.prepare(panels, memory, sizes);
    given_ = memory.take(copied.size() + context, panels);
    given_slope_ = memory.take(copied.size() + context, panels);
    s_ = memory.take(changed.size(), panels);
    t_ = memory.take(changed.size(), panels);
    scale_ = memory.take(changed.size(), panels);
  }

  void forward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch) override {
    networks(worker, update, this->in, this->out);
    const long outputs = changed.size();
    for (long r = worker.begin(outputs); r < worker.end(outputs); r++)
      for (const Panel& panel : update.panels) {
        const T *t = t_.at(panel, r), *x = this->in.at(panel, changed[r]);
        T* s = s_.at(panel, r);
        T *u = this->out.at(panel, changed[r]), *e = scale_.at(panel, r);
        T* log_det = scratch.log_det[worker.number] + panel.begin;
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          if (bounded) store<P>(s + i, soft_clip<P>(load<P>(s + i)));
          const typename P::Vector scale = exponential<P>(-load<P>(s + i));
          store<P>(e + i, scale);
          store<P>(u + i, (load<P>(x + i) - load<P>(t + i)) * scale);
          store<P>(log_det + i, load<P>(log_det + i) - load<P>(s + i));
        });
      }
    worker.wait();
  }

  void inverse(const Worker& worker, const Update<T>& update) override {
    networks(worker, update, this->out, this->in);
    const long outputs = changed.size();
    for (long r = worker.begin(outputs); r < worker.end(outputs); r++)
      for (const Panel& panel : update.panels) {
        const T *s = s_.at(panel, r), *t = t_.at(panel, r), *u = this->out.at(panel, changed[r]);
        T* x = this->in.at(panel, changed[r]);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          typename P::Vector log_scale = load<P>(s + i);
          if (bounded) log_scale = soft_clip<P>(log_scale);
          store<P>(x + i, load<P>(u + i) * exponential<P>(log_scale) + load<P>(t + i));
        });
      }
    worker.wait();
  }

  void backward(const Worker& worker, const Update<T>& update, const Scratch<T>& scratch,
                const Rows<T>& slope) override {
    const long outputs = changed.size();
    for (long r = worker.begin(outputs); r < worker.end(outputs); r++)
      for (const Panel& panel : update.panels) {
        T *s = s_.at(panel, r), *t = t_.at(panel, r), *g = slope.at(panel, changed[r]);
        const T *u = this->out.at(panel, changed[r]), *e = scale_.at(panel, r);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          const typename P::Vector above = load<P>(g + i), back = load<P>(e + i) * above;
          store<P>(t + i, -back);
          typename P::Vector by_s = update.weight - above * load<P>(u + i);
          if (bounded) by_s *= soft_clip_slope<P>(load<P>(s + i));
          store<P>(s + i, by_s);
          store<P>(g + i, back);
        });
      }
    worker.wait();
    const Rows<T>* wanted = this->lowest ? nullptr : &given_slope_;
    log_scale.backward(worker, update, scratch, given_, s_, wanted, false);
    shift.backward(worker, update, scratch, given_, t_, wanted, true);
    if (this->lowest) return;
    for (long r = worker.begin(copied.size()); r < worker.end(copied.size()); r++)
      for (const Panel& panel : update.panels) {
        T* g = slope.at(panel, copied[r]);
        const T* more = given_slope_.at(panel, r);
        along<T>(panel.width, [&](auto pack, long i) {
          typedef decltype(pack) P;
          store<P>(g + i, load<P>(g + i) + load<P>(more + i));
        });
      }
    worker.wait();
  }

  void finish(const Update<T>& update) override {
    log_scale.finish(update);
    shift.finish(update);
  }

 private:
  // Both networks of what is copied from one side to the other, and of the context.
  void networks(const Worker& worker, const Update<T>& update, const Rows<T>& from,
                const Rows<T>& to) {
    const long inputs = copied.size() + context;
    for (long r = worker.begin(inputs); r < worker.end(inputs); r++)
      for (const Panel& panel : update.panels) {
        const bool is_row = r < copied.size();
        const T* row = is_row ? from.at(panel, copied[r])
                              : update.context.at(panel, r - copied.size());
        std::memcpy(given_.at(panel, r), row, panel.width * sizeof(T));
        if (is_row) std::memcpy(to.at(panel, copied[r]), row, panel.width * sizeof(T));
      }
    worker.wait();
    log_scale.forward(worker, update, given_, s_);
    shift.forward(worker, update, given_, t_);
  }

  Rows<T> given_, given_slope_, s_, t_, scale_;
};

}  // namespace MAF_ISA
