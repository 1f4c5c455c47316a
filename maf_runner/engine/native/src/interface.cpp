// The plain C interface of the library, for ctypes.

#include <cstring>
#include <exception>

#include "table.h"

// setup.py says which of the copies it could compile, the best first.
extern const Table table_avx512, table_avx2, table_portable;
static const Table* const TABLES[] = {
#if defined(MAF_AVX512)
    &table_avx512,
#endif
#if defined(MAF_AVX2)
    &table_avx2,
#endif
    &table_portable};

namespace {

struct Handle {
  const Table* table;
  void* engine;
};

thread_local char said[256] = "";

void say(const char* what) {
  std::strncpy(said, what, sizeof said - 1);
}

// The best copy for this processor, or that of a name; null where it does not fit.
const Table* find(const char* name) {
  for (const Table* table : TABLES)
    if ((!*name || !std::strcmp(name, table->name)) && table->fits()) return table;
  return nullptr;
}

}  // namespace

#define MAF_EXPORT extern "C" __attribute__((visibility("default")))

// Raised whenever a function or the description changes.
MAF_EXPORT int maf_version() { return 3; }

// Why the last call failed.
MAF_EXPORT const char* maf_error() { return said; }

// The instruction set that is taken where none is named, or null if the named one is not here.
MAF_EXPORT const char* maf_instructions(const char* name) {
  const Table* table = find(name);
  return table ? table->name : nullptr;
}

// Null where it failed.
MAF_EXPORT void* maf_create(const char* instructions, const int64_t* description, int64_t length,
                            int is_double, int64_t batch, int threads) {
  try {
    const Table* table = find(instructions);
    if (!table) throw "no such instruction set is here";
    return new Handle{table, table->create(description, length, is_double, batch, threads)};
  } catch (const char* what) {
    say(what);
  } catch (const std::bad_alloc&) {
    say("out of memory");
  } catch (const std::exception& error) {
    say(error.what());
  }
  return nullptr;
}

MAF_EXPORT void maf_destroy(void* handle) {
  if (!handle) return;
  Handle* found = static_cast<Handle*>(handle);
  found->table->destroy(found->engine);
  delete found;
}

// One update, or the gradient alone; returns the loss before it, in nats.
MAF_EXPORT double maf_update(void* handle, const Numbers* numbers) {
  Handle* found = static_cast<Handle*>(handle);
  return found->table->update(found->engine, numbers);
}

MAF_EXPORT void maf_log_density(void* handle, const Numbers* numbers, const void* statistics,
                                int64_t rows, void* result) {
  Handle* found = static_cast<Handle*>(handle);
  found->table->log_density(found->engine, numbers, statistics, rows, result);
}

MAF_EXPORT void maf_transform(void* handle, const Numbers* numbers, const void* statistics,
                              int64_t layer, int64_t rows, void* result) {
  Handle* found = static_cast<Handle*>(handle);
  found->table->transform(found->engine, numbers, statistics, layer, rows, result);
}

// 0 where a layer has no inverse.
MAF_EXPORT int maf_inverse(void* handle, const Numbers* numbers, const void* statistics,
                           int64_t rows, void* result) {
  Handle* found = static_cast<Handle*>(handle);
  return found->table->inverse(found->engine, numbers, statistics, rows, result);
}
