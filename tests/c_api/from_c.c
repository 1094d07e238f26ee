/* The C ABI as a C11 program uses it. */
#include "from_c.h"

#include <string.h>

#include <quern.h>

#define EXPECT(condition) \
  do { \
    if (!(condition)) return #condition; \
  } while (0)

static const char* kAdd = "kernel add(x: f32[N], y: f32[N], scale: f32 = 1) -> (o: f32[N]) { o[n] = x[n] + scale * y[n] }";

static DLTensor vector(float* data, int64_t* shape) {
  DLTensor t = {data, {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, shape, NULL, 0};
  return t;
}

const char* c_runs_a_kernel(void) {
  float x[4] = {1, 2, 3, 4}, y[4] = {10, 20, 30, 40}, o[4] = {0};
  int64_t shape[1] = {4};
  DLTensor tx = vector(x, shape), ty = vector(y, shape), to = vector(o, shape);
  quern_kernel* k = NULL;
  EXPECT(quern_compile(kAdd, NULL, NULL, &k) == QUERN_OK);
  quern_argument arguments[] = {{.kind = QUERN_INPUT, .tensor = &tx},
                                {.kind = QUERN_INPUT, .tensor = &ty},
                                {.name = "scale", .kind = QUERN_REAL, .real = 0.5},
                                {.kind = QUERN_OUTPUT, .tensor = &to}};
  EXPECT(quern_run(k, arguments, 4, NULL, 0) == QUERN_OK);
  EXPECT(o[0] == 6 && o[3] == 24);
  EXPECT(quern_output_count(k) == 1);
  /* Strided and reversed: y from its end. */
  int64_t back[1] = {-1};
  ty.strides = back;
  ty.byte_offset = 3 * sizeof(float);
  EXPECT(quern_run(k, arguments, 4, NULL, 0) == QUERN_OK);
  EXPECT(o[0] == 21 && o[3] == 9);
  quern_counters c = quern_kernel_counters(k);
  EXPECT(c.calls == 2 && c.compiles + c.hits >= 2);
  char text[16];
  EXPECT(quern_explain(k, text, sizeof text) > 0);
  EXPECT(strlen(text) < sizeof text);
  quern_destroy(k);
  return NULL;
}

const char* c_sees_errors(void) {
  char text[400];
  quern_kernel* k = NULL;
  EXPECT(quern_compile("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = z[n] }", NULL, NULL, &k) == QUERN_INVALID_PROGRAM);
  EXPECT(k != NULL);
  EXPECT(quern_error(k, text, sizeof text) > 0);
  EXPECT(strstr(text, "'z'") != NULL);
  EXPECT(quern_run(k, NULL, 0, NULL, 0) == QUERN_INVALID_ARGUMENT);
  quern_destroy(k);
  EXPECT(quern_compile(NULL, NULL, NULL, &k) == QUERN_INVALID_ARGUMENT);
  quern_destroy(k);
  EXPECT(quern_compile_file("/nonexistent.quern", NULL, NULL, &k) == QUERN_IO);
  quern_destroy(k);
  EXPECT(quern_compile(kAdd, "other", NULL, &k) == QUERN_INVALID_ARGUMENT);
  quern_error(k, text, sizeof text);
  EXPECT(strstr(text, "add") != NULL);
  quern_destroy(k);

  EXPECT(quern_compile(kAdd, "add", NULL, &k) == QUERN_OK);
  EXPECT(quern_error(k, text, sizeof text) == 0 && text[0] == 0);
  float x[4] = {0}, o[4];
  int64_t four[1] = {4}, three[1] = {3};
  DLTensor tx = vector(x, four), ty = vector(x, three), to = vector(o, four);
  quern_argument arguments[] = {{.kind = QUERN_INPUT, .tensor = &tx}, {.kind = QUERN_INPUT, .tensor = &ty}, {.kind = QUERN_OUTPUT, .tensor = &to}};
  EXPECT(quern_run(k, arguments, 3, NULL, 0) == QUERN_SHAPE_MISMATCH);
  EXPECT(quern_error(k, text, 10) > 10);
  EXPECT(strlen(text) == 9);
  quern_error(k, text, sizeof text);
  EXPECT(strstr(text, "'y'") != NULL && strstr(text, "3") != NULL && strstr(text, "4") != NULL);
  EXPECT(strcmp(quern_status_name(QUERN_SHAPE_MISMATCH), "shape_mismatch") == 0);
  ty = vector(x, four);
  ty.dtype.bits = 64;
  EXPECT(quern_run(k, arguments, 3, NULL, 0) == QUERN_TYPE_MISMATCH);
  ty.dtype.bits = 24;
  EXPECT(quern_run(k, arguments, 3, NULL, 0) == QUERN_UNSUPPORTED);
  ty = vector(x, four);
  ty.device.device_type = kDLCUDA;
  EXPECT(quern_run(k, arguments, 3, NULL, 0) == QUERN_UNSUPPORTED);
  quern_destroy(k);
  return NULL;
}

const char* c_prepares_and_launches(void) {
  quern_kernel* k = NULL;
  EXPECT(quern_compile("kernel prepared(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] - 7 }", NULL, NULL, &k) == QUERN_OK);
  float x[100] = {0}, o[100];
  int64_t some[1] = {10}, all[1] = {100};
  DLTensor tx = vector(NULL, some), to = vector(NULL, some);
  quern_argument arguments[] = {{.kind = QUERN_INPUT, .tensor = &tx}, {.name = "o", .kind = QUERN_OUTPUT, .tensor = &to}};
  EXPECT(quern_launch(k, arguments, 2) == QUERN_INVALID_ARGUMENT);  /* null data */
  EXPECT(quern_prepare(k, arguments, 2) == QUERN_OK);
  tx = vector(x, all);
  to = vector(o, all);
  EXPECT(quern_launch(k, arguments, 2) == QUERN_OK);
  EXPECT(o[0] == -7 && o[99] == -7);
  int64_t stride[1] = {2};
  tx = vector(x, some);
  to = vector(o, some);
  tx.strides = stride;
  EXPECT(quern_launch(k, arguments, 2) == QUERN_NOT_PREPARED);
  quern_destroy(k);
  return NULL;
}

const char* c_gets_allocated_outputs(void) {
  quern_kernel* k = NULL;
  EXPECT(quern_compile("kernel two(x: f32[N]) -> (a: f32[N], b: f64) {\n a[n] = x[n] * 2\n b = sum[n](f64(x[n])) }", NULL, NULL, &k) == QUERN_OK);
  float x[3] = {1, 2, 3};
  int64_t shape[1] = {3};
  DLTensor tx = vector(x, shape);
  quern_argument arguments[] = {{.kind = QUERN_INPUT, .tensor = &tx}};
  DLManagedTensorVersioned* outputs[2] = {NULL, NULL};
  EXPECT(quern_run(k, arguments, 1, NULL, 0) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_run(k, arguments, 1, outputs, 1) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_run(k, arguments, 1, outputs, 2) == QUERN_OK);
  EXPECT(outputs[0]->dl_tensor.ndim == 1 && outputs[0]->dl_tensor.shape[0] == 3);
  EXPECT(((float*)outputs[0]->dl_tensor.data)[2] == 6);
  EXPECT(outputs[1]->dl_tensor.ndim == 0 && outputs[1]->dl_tensor.dtype.bits == 64);
  EXPECT(*(double*)outputs[1]->dl_tensor.data == 6);
  quern_destroy(k);
  for (int i = 0; i < 2; ++i) outputs[i]->deleter(outputs[i]);
  return NULL;
}

const char* c_refuses_misuse(void) {
  EXPECT(quern_compile(kAdd, NULL, NULL, NULL) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_run(NULL, NULL, 0, NULL, 0) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_prepare(NULL, NULL, 0) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_launch(NULL, NULL, 0) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_error(NULL, NULL, 0) > 0);
  EXPECT(quern_explain(NULL, NULL, 0) == 0);
  EXPECT(quern_output_count(NULL) == 0);
  quern_destroy(NULL);
  quern_options_destroy(NULL);
  quern_kernel* k = NULL;
  EXPECT(quern_compile(kAdd, NULL, NULL, &k) == QUERN_OK);
  EXPECT(quern_run(k, NULL, 3, NULL, 0) == QUERN_INVALID_ARGUMENT);
  quern_argument none = {.kind = QUERN_INPUT, .tensor = NULL};
  EXPECT(quern_prepare(k, &none, 1) == QUERN_INVALID_ARGUMENT);
  none.kind = (quern_kind)77;
  EXPECT(quern_prepare(k, &none, 1) == QUERN_INVALID_ARGUMENT);
  quern_destroy(k);
  return NULL;
}

const char* c_sets_options(void) {
  quern_options* o = quern_options_create();
  EXPECT(o != NULL);
  EXPECT(quern_options_device(o, QUERN_DEVICE_INTERPRETER) == QUERN_OK);
  EXPECT(quern_options_device(o, (quern_device)9) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_options_threads(o, 1) == QUERN_OK);
  EXPECT(quern_options_threads(o, -1) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_options_set(o, "W", 3) == QUERN_OK);
  EXPECT(quern_options_set(o, NULL, 3) == QUERN_INVALID_ARGUMENT);
  EXPECT(quern_options_set_type(o, "T", QUERN_F64) == QUERN_OK);
  EXPECT(quern_options_set(NULL, "W", 3) == QUERN_INVALID_ARGUMENT);
  quern_kernel* k = NULL;
  EXPECT(quern_compile("kernel w<W, T: type>(x: T[N]) -> (o: T[N]) { o[n] = x[n] * W }", NULL, o, &k) == QUERN_OK);
  quern_options_destroy(o);
  double x[2] = {1, 2}, y[2];
  int64_t shape[1] = {2};
  DLTensor tx = {x, {kDLCPU, 0}, 1, {kDLFloat, 64, 1}, shape, NULL, 0}, ty = {y, {kDLCPU, 0}, 1, {kDLFloat, 64, 1}, shape, NULL, 0};
  quern_argument arguments[] = {{.kind = QUERN_INPUT, .tensor = &tx}, {.kind = QUERN_OUTPUT, .tensor = &ty}};
  EXPECT(quern_run(k, arguments, 2, NULL, 0) == QUERN_OK);
  EXPECT(y[1] == 6);
  quern_destroy(k);
  return NULL;
}
