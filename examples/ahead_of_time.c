/* A kernel compiled ahead of time: attention.quern became attention.h and attention.o when this was built (see the
   CMakeLists.txt here), and the program that ships needs libquern-aot alone. Prints the status of a right and a wrong call. */
#include <stdio.h>
#include <stdlib.h>

#include "attention.h"

int main(void) {
  const int64_t M = 128, N = 256, D = 64;
  float* q = calloc((size_t)(M * D), sizeof *q);
  float* k = calloc((size_t)(N * D), sizeof *k);
  float* v = calloc((size_t)(N * D), sizeof *v);
  float* o = calloc((size_t)(M * D), sizeof *o);
  if (!q || !k || !v || !o) return 1;
  for (int64_t i = 0; i < N * D; ++i) v[i] = 2;

  /* NULL strides: dense; NULL scale: its default; NULL call: all threads. */
  quern_status status = attention(D, M, N, q, NULL, k, NULL, v, NULL, NULL, o, NULL, NULL);
  printf("%s, o[0] = %g\n", quern_aot_status_name(status), o[0]);
  const int right = status == QUERN_OK && o[0] > 1.999f && o[0] < 2.001f;

  status = attention(96, M, N, q, NULL, k, NULL, v, NULL, NULL, o, NULL, NULL);
  if (status != QUERN_OK) puts(quern_aot_message());
  free(q);
  free(k);
  free(v);
  free(o);
  return right && status == QUERN_NOT_PREPARED ? 0 : 1;
}
