// Random numbers that are the same on every host. In: a seed. Out: a stream of choices.
// The one idea: splitmix64 and plain integer arithmetic; the standard distributions differ between libraries.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace quern::fuzz {

class Rng {
 public:
  /// Neighbouring seeds give unrelated streams.
  explicit Rng(std::uint64_t seed) : state_(seed ^ 0x632be59bd9b4e019ull) { state_ = next() * 0xd1342543de82ef95ull + next(); }

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  /// In [0, count); 0 when count is 0.
  int below(std::int64_t count) { return count <= 0 ? 0 : static_cast<int>(next() % static_cast<std::uint64_t>(count)); }
  /// In [low, high].
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double normal() {
    const double u = unit() + 0x1p-60, v = unit();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
  template <class T>
  const T& pick(const std::vector<T>& from) { return from[static_cast<std::size_t>(below(static_cast<std::int64_t>(from.size())))]; }
  template <class T>
  T pick(std::initializer_list<T> from) { return from.begin()[below(static_cast<std::int64_t>(from.size()))]; }

 private:
  std::uint64_t state_;
};

}  // namespace quern::fuzz
