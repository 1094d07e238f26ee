#include <quern.h>
#include <stdio.h>

int main(void) {
  quern_kernel* kernel = NULL;
  const quern_status status = quern_compile("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = y[n] }", NULL, NULL, &kernel);
  char text[512];
  quern_error(kernel, text, sizeof text);
  puts(text);
  quern_destroy(kernel);
  return status == QUERN_INVALID_PROGRAM ? 0 : 1;
}
