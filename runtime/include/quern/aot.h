/* Kernels compiled ahead of time: what the headers that `quern compile` writes include. C99 and C++. Such a function takes
   sizes as integers, then for each tensor a pointer and its strides (in elements, one per axis; NULL: dense, row-major), for
   each number its value (one with a default: a pointer, NULL for the default), and last the call, which may be NULL.

     if (attention(M, D, N, q, NULL, k, NULL, v, NULL, NULL, o, NULL, NULL) != QUERN_OK) puts(quern_aot_message());

   All functions may be called from any thread. A program needs this header and libquern-aot; no compiler, no LLVM. */
#ifndef QUERN_AOT_H
#define QUERN_AOT_H

#include <stddef.h>
#include <stdint.h>

#include <quern/status.h>

#if defined(_WIN32)
#define QUERN_AOT_API
#else
#define QUERN_AOT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Elements without a C type of their own: their bits. */
typedef uint16_t quern_f16;
typedef uint16_t quern_bf16;
typedef uint8_t quern_e4m3;
typedef uint8_t quern_e5m2;
typedef uint8_t quern_bool;

/* How to run. {0} and NULL mean: all threads that the process may use, the best code for this processor. */
typedef struct quern_call {
  int32_t threads;    /* 0: all that the process may use */
  int32_t gpu;        /* of the functions that end in _cuda: the number of the GPU whose memory the tensors are in */
  void* stream;       /* of the functions that end in _cuda: a CUstream, NULL for the default one */
  int32_t no_wait;    /* of the functions that end in _cuda: return when the work is queued. What the data breaks is then not reported:
                         reads outside of a tensor give 0, scatters do nothing there, `nondecreasing` is taken on trust */
  const char* target; /* "x86-64-v3": this code and no better; NULL: the best that runs here */
} quern_call;

/* What was wrong with the last call of this thread that failed, in full; "" if none has. Valid until the next one. */
QUERN_AOT_API const char* quern_aot_message(void);
/* "shape_mismatch" */
QUERN_AOT_API const char* quern_aot_status_name(quern_status status);

#ifdef __cplusplus
}
#endif

#endif /* QUERN_AOT_H */
