// A number that chooses another run of a random test: QUERN_FUZZ_SEED=7 and the like.
#pragma once

#include <cstdlib>

namespace quern::test {

inline long from_environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtol(text, nullptr, 10) : otherwise;
}

}  // namespace quern::test
