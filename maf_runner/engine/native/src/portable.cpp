// The engine for any processor the compiler knows; compiled with no flags of its own.

#define MAF_ISA maf_portable
#include "engine.h"

static int fits() {
  return 1;
}

extern const Table table_portable;
const Table table_portable = {
    "portable",            fits,
    maf_portable::create, maf_portable::destroy,
    maf_portable::update, maf_portable::log_density,
    maf_portable::transform, maf_portable::inverse,
};
