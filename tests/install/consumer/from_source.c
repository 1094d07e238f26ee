/* A kernel for GPUs that came as C text. Its argument is wrong, which is found before a GPU is looked for. */
#include "scaled.h"

#include <stdio.h>

int main(void) {
  static float o[4];
  const quern_status status = s_scaled_cuda(4, NULL, NULL, 2.0f, o, NULL, NULL);
  puts(quern_aot_message());
  return status == QUERN_INVALID_ARGUMENT ? 0 : 1;
}
