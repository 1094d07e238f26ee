#include "attention.h"

#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  constexpr int d = 128, n = 50;
  std::vector<float> q(d, 0.5f), k(n * d, 0.25f), v(n * d), o(d);
  for (int i = 0; i < n * d; ++i) v[static_cast<std::size_t>(i)] = static_cast<float>(i / d);
  if (attention(d, 1, n, q.data(), nullptr, k.data(), nullptr, v.data(), nullptr, o.data(), nullptr, nullptr) != QUERN_OK) {
    std::puts(quern_aot_message());
    return 1;
  }
  // Equal keys: the mean of the values.
  for (const float x : o)
    if (std::abs(x - 24.5f) > 1e-4f) return 2;
  return attention(96, 1, n, q.data(), nullptr, k.data(), nullptr, v.data(), nullptr, o.data(), nullptr, nullptr) == QUERN_NOT_PREPARED ? 0 : 3;
}
