// The engine for processors with AVX2 and FMA; compiled with their flags.

#define MAF_ISA maf_avx2
#include "engine.h"

static int fits() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

extern const Table table_avx2;
const Table table_avx2 = {
    "avx2",            fits,
    maf_avx2::create, maf_avx2::destroy,
    maf_avx2::update, maf_avx2::log_density,
    maf_avx2::transform, maf_avx2::inverse,
};
