// The engine for processors with AVX-512; compiled with its flags.

#define MAF_ISA maf_avx512
#include "engine.h"

static int fits() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

extern const Table table_avx512;
const Table table_avx512 = {
    "avx512",            fits,
    maf_avx512::create, maf_avx512::destroy,
    maf_avx512::update, maf_avx512::log_density,
    maf_avx512::transform, maf_avx512::inverse,
};
