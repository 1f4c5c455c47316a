// What each instruction set's copy of the engine offers, as plain functions.

#pragma once

#include <cstdint>

struct Numbers {
  void* parameters;  // flat, as the model's
  void* first;       // and their moments
  void* second;
  void* gradient;    // if there is a place for it, it is written and nothing else
  const void* x;        // [B, D]
  const void* context;  // [B, C], or null
  double a, b, beta1, beta2, l2;
};

struct Table {
  const char* name;
  int (*fits)();  // whether this processor has the instructions
  void* (*create)(const int64_t* description, int64_t length, int is_double, int64_t batch,
                  int threads);
  void (*destroy)(void* engine);
  double (*update)(void* engine, const Numbers* numbers);
  // Log densities [rows] in nats of any number of rows; batch norms take the given statistics.
  void (*log_density)(void* engine, const Numbers* numbers, const void* statistics, int64_t rows,
                      void* result);
  // What a layer, counted from the data, makes of any number of rows [rows, D], in place.
  void (*transform)(void* engine, const Numbers* numbers, const void* statistics, int64_t layer,
                    int64_t rows, void* result);
  // Data [rows, D] from the noise of the base, in numbers->x; false where a layer has no inverse.
  int (*inverse)(void* engine, const Numbers* numbers, const void* statistics, int64_t rows,
                 void* result);
};
