// The C ABI from C, an older dlpack.h included before ours, and what the shared library shows to the outside.
#include "old_dlpack.h"

#include <dlfcn.h>

#include <cstdio>
#include <string>

#include <quern.h>
#include <quern/quern.h>

#include "from_c.h"
#include "tests/catch.h"

namespace {
std::string verdict(const char* failure) { return failure ? failure : ""; }
}  // namespace

TEST_CASE("a C program runs kernels") { CHECK(verdict(c_runs_a_kernel()) == ""); }
TEST_CASE("a C program sees errors") { CHECK(verdict(c_sees_errors()) == ""); }
TEST_CASE("a C program prepares and launches") { CHECK(verdict(c_prepares_and_launches()) == ""); }
TEST_CASE("a C program receives allocated outputs") { CHECK(verdict(c_gets_allocated_outputs()) == ""); }
TEST_CASE("misuse from C is refused") { CHECK(verdict(c_refuses_misuse()) == ""); }
TEST_CASE("options from C") { CHECK(verdict(c_sets_options()) == ""); }

TEST_CASE("an older dlpack.h is completed") {
  const quern::Tensor t = quern::Tensor::zeros(quern::f32, {2});
  DLManagedTensorVersioned* d = t.to_dlpack();
  CHECK(d->dl_tensor.device.device_type == kDLCPU);
  CHECK(quern::Tensor::from_dlpack(d).count() == 2);
}

TEST_CASE("the shared library shows its own names only") {
  Dl_info info{};
  REQUIRE(dladdr(reinterpret_cast<void*>(&quern_version), &info) != 0);
  FILE* names = popen(("nm -D --defined-only '" + std::string(info.dli_fname) + "' | c++filt").c_str(), "r");
  REQUIRE(names);
  char line[4096];
  int shown = 0;
  std::string foreign;
  while (fgets(line, sizeof line, names)) {
    std::string name(line);
    const auto at = name.find(' ', name.find(' ') + 1);
    name = name.substr(at + 1, name.size() - at - 2);
    ++shown;
    const bool own = name.rfind("quern_", 0) == 0 || name.rfind("quern::v0::", 0) == 0 || name.find("for quern::v0::") != std::string::npos;
    if (!own) foreign += name + "\n";
    if (name.find("Impl") != std::string::npos) foreign += name + "\n";
  }
  pclose(names);
  CHECK(shown > 60);
  CHECK(foreign == "");
}
