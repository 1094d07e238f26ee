// main() of every test program. Kernels are compiled, not loaded from what an earlier run left, unless a test says so.
#include <cstdlib>

namespace {
[[maybe_unused]] const int no_cache = setenv("QUERN_CACHE", "off", 0);
}

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
