#include "attention.h"

#include <math.h>
#include <stdio.h>

int main(void) {
  static float q[64], k[3 * 64], v[3 * 64], o[64];
  quern_call call = {0};
  int i;
  call.threads = 1;
  for (i = 0; i < 3 * 64; ++i) v[i] = (float)(i / 64);
  if (attention(64, 1, 3, q, NULL, k, NULL, v, NULL, o, NULL, &call) != QUERN_OK) {
    puts(quern_aot_message());
    return 1;
  }
  for (i = 0; i < 64; ++i)
    if (fabsf(o[i] - 1.0f) > 1e-5f) return 2;
  return attention(64, 1, 3, NULL, NULL, k, NULL, v, NULL, o, NULL, &call) == QUERN_INVALID_ARGUMENT ? 0 : 3;
}
