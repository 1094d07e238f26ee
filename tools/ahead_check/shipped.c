/* The smallest program that ships: attention made ahead of time, called once. */
#include "shipped.h"

int main(void) {
  static float q[64], k[3 * 64], v[3 * 64], o[64];
  quern_call call = {0};
  int i;
  call.threads = 1;
  for (i = 0; i < 3 * 64; ++i) v[i] = (float)(i / 64);
  if (attention(64, 1, 3, q, NULL, k, NULL, v, NULL, o, NULL, &call) != QUERN_OK) return 1;
  return o[0] > 0.999f && o[0] < 1.001f ? 0 : 2;
}
