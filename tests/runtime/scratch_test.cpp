// What scratch memory holds at first: kernels compute on the unused rows of a tile, too, and subnormal numbers that the heap left
// there take them many times as long.
#include <cstring>
#include <vector>

#include "runtime/memory.h"
#include "tests/catch.h"

using quern::runtime::Buffer;

TEST_CASE("scratch that is new is zero, scratch that is there is kept") {
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{5000}, std::size_t{8} << 20}) {
    // Memory of this size that was used before, which the allocator gives out again.
    for (int i = 0; i < 4; ++i) {
      Buffer dirty;
      std::memset(dirty.reserve(bytes), 0x5a, bytes);
    }
    Buffer scratch;
    auto* p = static_cast<unsigned char*>(scratch.reserve(bytes, true));
    REQUIRE(p);
    CHECK(std::vector<unsigned char>(p, p + bytes) == std::vector<unsigned char>(bytes, 0));
    p[3] = 7;
    CHECK(scratch.reserve(bytes / 2, true) == p);
    CHECK(p[3] == 7);
  }
}
