// NVRTC for tests: opened by name, no header of CUDA needed.
#pragma once

#include <string>

namespace quern::cuda::test {

struct Compiled {
  bool ok = false;
  std::string log;
  std::string cubin;
  double milliseconds = 0;
};

/// False where there is no NVRTC (QUERN_NVRTC may name the library); then `why` says so. With QUERN_REQUIRE_NVRTC=1 in the
/// environment that is a failure of the test that asks.
bool have_nvrtc(std::string* why);
/// `arch` is sm_80, sm_90a, ...
Compiled compile(const std::string& text, const std::string& arch);

}  // namespace quern::cuda::test
