// An engine: a model, described by whole numbers, for batches of one size.

#pragma once

#include "bases.h"
#include "table.h"

namespace MAF_ISA {

// Reads the description, number by number; the Python side (describe.py) writes it in this order.
class Reader {
 public:
  Reader(const int64_t* from, int64_t length) : at_(from), end_(from + length) {}
  long next() {
    if (at_ == end_) throw "the description ends too early";
    return *at_++;
  }
  Array<long> list(long n) {
    Array<long> found(n);
    for (long i = 0; i < n; i++) found[i] = next();
    return found;
  }
  bool over() const { return at_ == end_; }

 private:
  const int64_t *at_, *end_;
};

enum Kind { AFFINE = 1, BATCH_NORM = 2, COUPLING = 3, NORMAL = 10, MIXTURE = 11 };

template <class T>
Linear<T> read_linear(Reader& reader) {
  Linear<T> linear;
  linear.rows = reader.next();
  linear.columns = reader.next();
  linear.weight = reader.next();
  linear.bias = reader.next();
  linear.order = reader.list(linear.rows);
  linear.low = reader.list(linear.rows);
  linear.high = reader.list(linear.rows);
  linear.prepare();
  return linear;
}

template <class T>
Network<T> read_network(Reader& reader) {
  Network<T> network;
  network.activation = reader.next() ? Activation::tanh : Activation::relu;
  network.depth = reader.next();
  network.linear = Array<Linear<T>>(network.depth);
  for (long l = 0; l < network.depth; l++) network.linear[l] = read_linear<T>(reader);
  network.conditional = reader.next();
  if (network.conditional) network.context = read_linear<T>(reader);
  return network;
}

template <class T>
class Engine {
 public:
  Engine(Reader reader, long batch, int threads) : panels_(batch), threads_(threads) {
    features_ = reader.next();
    context_ = reader.next();
    depth_ = reader.next();
    layers_ = Array<Layer<T>*>(depth_);
    try {
      for (long i = 0; i < depth_; i++) layers_[i] = read(reader);
      if (!reader.over()) throw "the description is too long";
      prepare();
      pool_ = pool_create(threads);
    } catch (...) {
      clear();
      throw;
    }
  }
  ~Engine() {
    pool_destroy(pool_);
    clear();
  }

  double update(const Numbers& numbers) {
    run({this, &numbers, nullptr, 0, panels_.batch, 0, depth_, false});
    double loss = 0;
    for (const Panel& panel : panels_)
      for (long b = 0; b < panel.count; b++)
        for (int t = 0; t < threads_; t++) loss -= scratch_.log_det[t][panel.begin + b];
    loss /= panels_.batch;
    for (int t = 0; t < threads_; t++) loss -= scratch_.constant[t];
    return loss;
  }

  void log_density(const Numbers& numbers, const T* statistics, long rows, T* result) {
    for (long first = 0; first < rows; first += panels_.batch) {
      run({this, &numbers, statistics, first, rows, 0, depth_, false});
      double constant = 0;
      for (int t = 0; t < threads_; t++) constant += scratch_.constant[t];
      for (const Panel& panel : panels_)
        for (long b = 0; b < panel.count && first + panel.first + b < rows; b++) {
          T found = 0;
          for (int t = 0; t < threads_; t++) found += scratch_.log_det[t][panel.begin + b];
          result[first + panel.first + b] = found + (T)constant;
        }
    }
  }

  void transform(const Numbers& numbers, const T* statistics, long layer, long rows, T* result) {
    if (layer < 0 || layer + 1 >= depth_) return;
    for (long first = 0; first < rows; first += panels_.batch) {
      run({this, &numbers, statistics, first, rows, layer, layer + 1, false});
      give(layers_[layer]->out, first, rows, result);
    }
  }

  bool inverse(const Numbers& numbers, const T* statistics, long rows, T* result) {
    for (long i = 0; i + 1 < depth_; i++)
      if (!layers_[i]->inverts()) return false;
    for (long first = 0; first < rows; first += panels_.batch) {
      run({this, &numbers, statistics, first, rows, 0, depth_ - 1, true});
      give(layers_[0]->in, first, rows, result);
    }
    return true;
  }

 private:
  struct Call {
    Engine* engine;
    const Numbers* numbers;
    const T* statistics;  // null: training
    long first, rows;     // of the rows given, the first of this batch; and how many there are
    long begin, end;      // the layers to pass
    bool inverse;         // from the last of them to the first
  };

  Layer<T>* read(Reader& reader) {
    const long kind = reader.next();
    if (kind == AFFINE) {
      auto* layer = new Affine<T>;
      layer->bounded = reader.next();
      layer->feature = reader.list(features_);
      layer->network = read_network<T>(reader);
      return layer;
    }
    if (kind == BATCH_NORM) {
      auto* layer = new BatchNorm<T>;
      layer->features = features_;
      layer->log_gamma = reader.next();
      layer->beta = reader.next();
      layer->mean = reader.next();
      layer->variance = reader.next();
      return layer;
    }
    if (kind == COUPLING) {
      auto* layer = new Coupling<T>;
      layer->bounded = reader.next();
      const long copied = reader.next();
      layer->copied = reader.list(copied);
      layer->changed = reader.list(features_ - copied);
      layer->context = context_;
      layer->log_scale = read_network<T>(reader);
      layer->shift = read_network<T>(reader);
      return layer;
    }
    if (kind == NORMAL) {
      auto* layer = new Normal<T>;
      layer->features = features_;
      return layer;
    }
    if (kind == MIXTURE) {
      auto* layer = new Mixture<T>;
      layer->feature = reader.list(features_);
      layer->components = reader.next();
      layer->network = read_network<T>(reader);
      return layer;
    }
    throw "there is no such layer";
  }

  void prepare() {
    Sizes sizes;
    Rows<T> rows = memory_.take(features_, panels_);
    context_rows_ = memory_.take(context_, panels_);
    context_transposed_ = memory_.take(transposed_size<T>(context_, panels_));
    slope_ = memory_.take(features_, panels_);
    for (long i = 0; i < depth_; i++) {
      layers_[i]->prepare(panels_, memory_, sizes);
      layers_[i]->lowest = i == 0;
      layers_[i]->in = rows;
      if (i + 1 < depth_) layers_[i]->out = rows = memory_.take(features_, panels_);
    }
    T* const outputs = memory_.take(sizes.outputs);
    for (T*& slopes : scratch_.slopes) slopes = memory_.take(sizes.slopes);
    for (T*& transposed : scratch_.transposed) transposed = memory_.take(sizes.transposed);
    auto of_each = [&](Array<T*>& pointers, long size) {
      pointers = Array<T*>(threads_);
      for (int t = 0; t < threads_; t++) pointers[t] = memory_.take(size);
      return pointers.data();
    };
    scratch_.packed = of_each(packed_, sizes.packed);
    scratch_.result = of_each(result_, sizes.result);
    scratch_.log_det = of_each(log_det_, panels_.width);
    constant_ = Array<double>(threads_);
    scratch_.constant = constant_.data();
    T** const room = of_each(room_, 2 * sizes.components * Full<T>::size);
    for (long i = 0; i < depth_; i++) {
      if (auto* affine = dynamic_cast<Affine<T>*>(layers_[i]))
        affine->outputs = {2 * features_, outputs};
      if (auto* mixture = dynamic_cast<Mixture<T>*>(layers_[i])) {
        mixture->outputs = {3 * mixture->components * features_, outputs};
        mixture->room = room;
      }
    }
  }

  void clear() {
    for (long i = 0; i < depth_; i++) delete layers_[i];
  }

  void run(Call call) { pool_run(pool_, &Engine::work, &call); }

  static void work(void* what, int number) {
    const Call& call = *static_cast<Call*>(what);
    call.engine->pass({number, call.engine->threads_, call.engine->pool_}, call);
  }

  // One thread's share of an update, or of a log density.
  void pass(const Worker& worker, const Call& call) {
    const Numbers& given = *call.numbers;
    T* const parameters = static_cast<T*>(given.parameters);
    const Adam<T> adam = {parameters,
                          static_cast<T*>(given.first),
                          static_cast<T*>(given.second),
                          static_cast<T*>(given.gradient),
                          (T)given.a,
                          (T)given.b,
                          (T)given.beta1,
                          (T)given.beta2,
                          (T)given.l2};
    const bool training = !call.statistics;
    const Update<T> update = {panels_, adam, parameters, context_rows_, context_transposed_,
                              (T)1 / panels_.batch, training, call.statistics};
    const Rows<T>& start = call.inverse ? layers_[call.end]->in : layers_[call.begin]->in;
    take(worker, call, static_cast<const T*>(given.x), start);
    if (context_) take(worker, call, static_cast<const T*>(given.context), context_rows_);
    std::memset(scratch_.log_det[worker.number], 0, panels_.width * sizeof(T));
    scratch_.constant[worker.number] = 0;
    worker.wait();
    if (call.inverse) {
      for (long i = call.end - 1; i >= call.begin; i--) layers_[i]->inverse(worker, update);
      return;
    }
    if (context_ && training) transpose(worker, panels_, context_rows_, context_transposed_);
    for (long i = call.begin; i < call.end; i++) layers_[i]->forward(worker, update, scratch_);
    if (!training) return;
    for (long i = depth_ - 1; i >= 0; i--) layers_[i]->backward(worker, update, scratch_, slope_);
    for (long i = worker.number; i < depth_; i += worker.of) layers_[i]->finish(update);
  }

  // Rows of a batch, one behind the other, as rows of features. Behind the last one it is repeated.
  void take(const Worker& worker, const Call& call, const T* from, const Rows<T>& to) {
    for (const Panel& panel : panels_)
      for (long d = worker.begin(to.rows); d < worker.end(to.rows); d++) {
        T* row = to.at(panel, d);
        for (long b = 0; b < panel.count; b++)
          row[b] = from[least(call.first + panel.first + b, call.rows - 1) * to.rows + d];
      }
  }

  // And back: rows of a batch as they come out.
  void give(const Rows<T>& from, long first, long rows, T* result) const {
    for (const Panel& panel : panels_)
      for (long b = 0; b < panel.count && first + panel.first + b < rows; b++) {
        T* row = result + (first + panel.first + b) * features_;
        for (long d = 0; d < features_; d++) row[d] = from.at(panel, d)[b];
      }
  }

  Panels<T> panels_;
  int threads_;
  Pool* pool_ = nullptr;
  long features_, context_, depth_ = 0;
  Array<Layer<T>*> layers_;
  Memory<T> memory_;
  Scratch<T> scratch_;
  Rows<T> context_rows_, slope_;
  T* context_transposed_;
  Array<T*> packed_, result_, log_det_, room_;
  Array<double> constant_;
};

// The engine of either precision, behind plain functions.
struct Any {
  Engine<float>* single;
  Engine<double>* twice;
};

inline void* create(const int64_t* description, int64_t length, int is_double, int64_t batch,
                    int threads) {
  Any* any = new Any{};
  try {
    const Reader reader(description, length);
    if (is_double)
      any->twice = new Engine<double>(reader, batch, threads);
    else
      any->single = new Engine<float>(reader, batch, threads);
    return any;
  } catch (...) {
    delete any;
    throw;
  }
}

inline void destroy(void* engine) {
  Any* any = static_cast<Any*>(engine);
  delete any->single;
  delete any->twice;
  delete any;
}

inline double update(void* engine, const Numbers* numbers) {
  Any* any = static_cast<Any*>(engine);
  return any->single ? any->single->update(*numbers) : any->twice->update(*numbers);
}

inline void log_density(void* engine, const Numbers* numbers, const void* statistics, int64_t rows,
                        void* result) {
  Any* any = static_cast<Any*>(engine);
  if (any->single)
    any->single->log_density(*numbers, static_cast<const float*>(statistics), rows,
                             static_cast<float*>(result));
  else
    any->twice->log_density(*numbers, static_cast<const double*>(statistics), rows,
                            static_cast<double*>(result));
}

inline void transform(void* engine, const Numbers* numbers, const void* statistics, int64_t layer,
                      int64_t rows, void* result) {
  Any* any = static_cast<Any*>(engine);
  if (any->single)
    any->single->transform(*numbers, static_cast<const float*>(statistics), layer, rows,
                           static_cast<float*>(result));
  else
    any->twice->transform(*numbers, static_cast<const double*>(statistics), layer, rows,
                          static_cast<double*>(result));
}

inline int inverse(void* engine, const Numbers* numbers, const void* statistics, int64_t rows,
                   void* result) {
  Any* any = static_cast<Any*>(engine);
  if (any->single)
    return any->single->inverse(*numbers, static_cast<const float*>(statistics), rows,
                                static_cast<float*>(result));
  return any->twice->inverse(*numbers, static_cast<const double*>(statistics), rows,
                             static_cast<double*>(result));
}

}  // namespace MAF_ISA
