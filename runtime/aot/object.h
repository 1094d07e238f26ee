/* What an object made ahead of time and the runtime agree on: plain C. The object holds one `quern_aot_kernel` for each
   kernel and one function for each of its C functions, which packs its arguments and calls `quern_aot_call`. */
#ifndef QUERN_AOT_OBJECT_H
#define QUERN_AOT_OBJECT_H

#include <stdint.h>

#include <quern/aot.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct quern_aot_kernel {
  const char* image; /* runtime/aot/image.h */
  uint64_t image_bytes;
  const void* const* table; /* functions and cubins, by the numbers of the image */
  uint64_t table_count;
  void* state; /* NULL until the first call; the runtime's */
} quern_aot_kernel;

enum { QUERN_AOT_ON_CPU = 0, QUERN_AOT_ON_CUDA = 1 };

/* sizes: by symbol; data, strides: by slot (parameters, then outputs), strides[i] NULL for dense; scalars: a pointer to each
   value (double, float, int64_t or int32_t), NULL for its default. Throws nothing. */
QUERN_AOT_API quern_status quern_aot_call(quern_aot_kernel* kernel, int32_t device, const int64_t* sizes, void* const* data,
                                          const int64_t* const* strides, const void* const* scalars, const quern_call* call);

#ifdef __cplusplus
}
#endif

#endif
