/* Quern from C11: a string becomes a kernel, a kernel runs on DLPack tensors. Handles are opaque, every function returns a
   status, no C++ exception crosses, and the text of the last error stays with the handle. All functions may be called
   from any thread; one handle may be used by several threads at once, except while it is destroyed.

     quern_kernel* k;
     if (quern_compile(text, NULL, NULL, &k) != QUERN_OK) { quern_error(k, buffer, sizeof buffer); ... }
     quern_argument args[] = {{.kind = QUERN_INPUT, .tensor = &x}, {.kind = QUERN_OUTPUT, .tensor = &y}};
     quern_run(k, args, 2, NULL, 0);
     quern_destroy(k);
*/
#ifndef QUERN_H
#define QUERN_H

#include <stddef.h>
#include <stdint.h>

#include <quern/dlpack.h>
#include <quern/export.h>
#include <quern/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum quern_type QUERN_ENUM {
  QUERN_F64, QUERN_F32, QUERN_F16, QUERN_BF16, QUERN_E4M3, QUERN_E5M2,
  QUERN_I64, QUERN_I32, QUERN_I16, QUERN_I8, QUERN_U8, QUERN_BOOL
} quern_type;

typedef enum quern_device QUERN_ENUM { QUERN_DEVICE_AUTOMATIC, QUERN_DEVICE_CPU, QUERN_DEVICE_INTERPRETER, QUERN_DEVICE_CUDA } quern_device;

typedef enum quern_kind QUERN_ENUM { QUERN_INPUT, QUERN_OUTPUT, QUERN_REAL, QUERN_INTEGER, QUERN_BOOLEAN, QUERN_STREAM } quern_kind;

typedef struct quern_options quern_options;
typedef struct quern_kernel quern_kernel;

typedef struct quern_argument {
  const char* name;        /* NULL: by position, inputs and numbers among themselves, outputs among themselves */
  quern_kind kind;
  const DLTensor* tensor;  /* QUERN_INPUT (inout parameters too) and QUERN_OUTPUT; host or CUDA memory */
  double real;             /* QUERN_REAL */
  int64_t integer;         /* QUERN_INTEGER, QUERN_BOOLEAN; QUERN_STREAM: a CUstream, (int64_t)(intptr_t)stream */
} quern_argument;

typedef struct quern_counters {
  uint64_t calls, compiles, failures, hits, misses, loads;
} quern_counters;

QUERN_API const char* quern_version(void);
/* "shape_mismatch" */
QUERN_API const char* quern_status_name(quern_status status);

/* NULL when out of memory. Every setter refuses a NULL handle or name with QUERN_INVALID_ARGUMENT. */
QUERN_API quern_options* quern_options_create(void);
QUERN_API void quern_options_destroy(quern_options* options);
QUERN_API quern_status quern_options_device(quern_options* options, quern_device device);
QUERN_API quern_status quern_options_threads(quern_options* options, int32_t threads);
QUERN_API quern_status quern_options_target(quern_options* options, const char* target);
/* The GPU of calls whose tensors all lie in host memory, and the CUstream of calls that name none (NULL: the default one). */
QUERN_API quern_status quern_options_gpu(quern_options* options, int32_t gpu);
QUERN_API quern_status quern_options_stream(quern_options* options, void* stream);
QUERN_API quern_status quern_options_set(quern_options* options, const char* name, int64_t value);
QUERN_API quern_status quern_options_set_type(quern_options* options, const char* name, quern_type type);
QUERN_API quern_status quern_options_without(quern_options* options, const char* pass);

/* Checks `text` and takes its kernel `name` (NULL: its only one). `options` may be NULL and is not kept. On failure
   *kernel still is a handle, which holds the message and must be destroyed; it is NULL only when there is no memory. */
QUERN_API quern_status quern_compile(const char* text, const char* name, const quern_options* options, quern_kernel** kernel);
QUERN_API quern_status quern_compile_file(const char* path, const char* name, const quern_options* options, quern_kernel** kernel);
QUERN_API void quern_destroy(quern_kernel* kernel);

/* Runs, compiling for the signature of the arguments where that has not been done. Outputs that are not among the
   arguments are allocated and stored to allocated[0..], in the order of the signature; the caller runs their deleters.
   With capacity 0 every output must be given. */
QUERN_API quern_status quern_run(const quern_kernel* kernel, const quern_argument* arguments, size_t count,
                                 DLManagedTensorVersioned** allocated, size_t capacity);
/* Compiles for the signature and runs nothing; data pointers may be NULL. */
QUERN_API quern_status quern_prepare(const quern_kernel* kernel, const quern_argument* arguments, size_t count);
/* The same for dense arguments of any sizes; every compile-time name and element type must have been set. */
QUERN_API quern_status quern_prepare_dense(const quern_kernel* kernel);
/* Runs and never compiles: QUERN_NOT_PREPARED for a signature that is new. Every output must be given. */
QUERN_API quern_status quern_launch(const quern_kernel* kernel, const quern_argument* arguments, size_t count);
/* On a GPU `quern_launch` returns when the work is queued, where all tensors are in its memory, and may be captured into a
   CUDA graph after `quern_prepare` with the same stream. This waits for the stream (NULL: that of the options) and returns
   QUERN_DATA for what the data broke since the last time; that a tensor in GPU memory is nondecreasing, as declared, is taken on
   trust by launches and checked by runs. */
QUERN_API quern_status quern_synchronize(const quern_kernel* kernel, void* stream);

/* Copies text, always terminated when capacity > 0, and returns its full length without the terminator. `quern_error`:
   the last error of the handle on any thread, "" if there was none. */
QUERN_API size_t quern_error(const quern_kernel* kernel, char* text, size_t capacity);
QUERN_API size_t quern_explain(const quern_kernel* kernel, char* text, size_t capacity);

/* What the compiled kernel depends on, field by field, and whether the cache on disk has it. */
QUERN_API size_t quern_explain_key(const quern_kernel* kernel, char* text, size_t capacity);

/* Compiled kernels on disk, for the whole process, instead of what the environment says (quern/cache.h). FROZEN never compiles:
   a kernel that is not there is QUERN_NOT_PREPARED, and the message names its key. `directory`: absolute, or NULL; `most_bytes`:
   0 for 1 GiB. */
typedef enum quern_cache_mode QUERN_ENUM { QUERN_CACHE_ON, QUERN_CACHE_READ_ONLY, QUERN_CACHE_FROZEN, QUERN_CACHE_OFF } quern_cache_mode;
QUERN_API quern_status quern_set_cache(quern_cache_mode mode, const char* directory, uint64_t most_bytes);
/* "" where there is none; what kept it from being used, "" while all is well. */
QUERN_API size_t quern_cache_directory(char* text, size_t capacity);
QUERN_API size_t quern_cache_warning(char* text, size_t capacity);

QUERN_API size_t quern_output_count(const quern_kernel* kernel);
QUERN_API quern_counters quern_kernel_counters(const quern_kernel* kernel);
QUERN_API quern_counters quern_process_counters(void);

/* Tensors in the memory of a GPU. `tensor` describes type and shape (its data and device are not read): a dense tensor of
   GPU `gpu` is stored to *allocated, elements unset; the caller runs its deleter. Copies go between any two tensors of one
   type and shape, on the host or a GPU, and are waited for. `error` (may be NULL) receives the message. */
QUERN_API quern_status quern_gpu_allocate(const DLTensor* tensor, int32_t gpu, DLManagedTensorVersioned** allocated, char* error, size_t capacity);
QUERN_API quern_status quern_copy(const DLTensor* from, const DLTensor* to, char* error, size_t capacity);
/* How many GPUs there are; starts the CUDA driver. 0 without one: `error` says what is missing. */
QUERN_API int32_t quern_gpu_count(char* error, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif /* QUERN_H */
