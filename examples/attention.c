/* Attention from C: opaque handles, status codes, DLPack tensors. */
#include <quern.h>

#include <math.h>
#include <stdio.h>

enum { M = 16, N = 24, D = 8 };

static DLTensor matrix(float* data, int64_t* shape) {
  DLTensor t = {data, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, NULL, 0};
  return t;
}

int main(void) {
  static float q[M * D], k[N * D], v[N * D], o[M * D];
  for (int i = 0; i < M * D; ++i) q[i] = 0.5f;
  for (int i = 0; i < N * D; ++i) { k[i] = 0.25f; v[i] = (float)(i / D); }

  quern_kernel* kernel;
  quern_status status = quern_compile(
      "kernel attention<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n"
      "  s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n"
      "  o[m,d] = sum[n](softmax[n](s[m,n]) * v[n,d])\n"
      "}\n", NULL, NULL, &kernel);
  int64_t few[] = {M, D}, many[] = {N, D};
  DLTensor tq = matrix(q, few), tk = matrix(k, many), tv = matrix(v, many), to = matrix(o, few);
  quern_argument arguments[] = {{.kind = QUERN_INPUT, .tensor = &tq}, {.kind = QUERN_INPUT, .tensor = &tk},
                                {.kind = QUERN_INPUT, .tensor = &tv}, {.name = "o", .kind = QUERN_OUTPUT, .tensor = &to}};
  if (status == QUERN_OK) status = quern_run(kernel, arguments, 4, NULL, 0);
  if (status != QUERN_OK) {
    char message[1000];
    quern_error(kernel, message, sizeof message);
    fprintf(stderr, "%s: %s\n", quern_status_name(status), message);
  } else {
    printf("o[0,0] = %g, o[%d,%d] = %g\n", o[0], M - 1, D - 1, o[M * D - 1]);
  }
  quern_destroy(kernel);
  return status == QUERN_OK && fabs(o[M * D - 1] - (N - 1) / 2.0) < 1e-4 ? 0 : 1;
}
