// The real NVRTC, in processes of their own (this one has the emulated one): several compiles at once, what does not compile,
// and a process that ends while compiles are under way.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include <quern/quern.h>

#include "runtime/cuda/compile_nvrtc.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/later.h"
#include "runtime/cuda/nvrtc_files.h"
#include "tests/catch.h"

using namespace quern;
using namespace quern::runtime::gpu;

namespace {

std::string text_of(int i) {
  return "struct words { long long at[2]; };\nextern \"C\" __global__ void __launch_bounds__(128) k(const __grid_constant__ words w) {\n"
         "  float s = 0;\n  for (int i = threadIdx.x; i < w.at[1]; i += " + std::to_string(i + 1) + ") s += ((float*)w.at[0])[i];\n  ((float*)w.at[0])[threadIdx.x] = s;\n}\n";
}

bool real_nvrtc() {
  try {
    nvrtc();
    return true;
  } catch (const Error&) {
    return false;  // process_test says whether that is a failure
  }
}

int alone(const std::string& tag, const std::string& environment = "") {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  return std::system((environment + " QUERN_NVRTC= QUERN_TEST_REAL_NVRTC=1 timeout 120 '" + self + "' '" + tag + "' > /dev/null 2>&1").c_str());
}

}  // namespace

TEST_CASE("(alone) compiles of several threads give the same code as one after another", "[.nvrtc_threads]") {
  if (!real_nvrtc()) return;
  constexpr int kTexts = 6;
  const auto target = *quern::cuda::target_named("sm_90a");
  std::vector<CompiledText> one(kTexts), many(kTexts);
  for (int i = 0; i < kTexts; ++i) one[static_cast<std::size_t>(i)] = compile_nvrtc(text_of(i), target);
  std::vector<std::thread> threads;
  for (int i = 0; i < kTexts; ++i) threads.emplace_back([&, i] { many[static_cast<std::size_t>(i)] = compile_nvrtc(text_of(i), target); });
  for (std::thread& t : threads) t.join();
  for (std::size_t i = 0; i < kTexts; ++i) {
    CHECK(!one[i].cubin.empty());
    CHECK(one[i].cubin == many[i].cubin);
    REQUIRE(many[i].kernels.size() == 1);
    CHECK(many[i].kernels[0].entry == "k");
    CHECK(many[i].kernels[0].registers > 0);
  }
}

TEST_CASE("(alone) the search by names alone leads to the file that is opened", "[.nvrtc_files]") {
  if (!real_nvrtc()) return;
  const std::vector<std::string> files = nvrtc_files();
  REQUIRE(!files.empty());
  bool same = false;
  for (const std::string& file : files) same |= std::filesystem::equivalent(file, nvrtc().path);
  CHECK(same);
}

TEST_CASE("(alone) text that does not compile is shown with its lines", "[.nvrtc_errors]") {
  if (!real_nvrtc()) return;
  try {
    compile_nvrtc("extern \"C\" __global__ void k() {\n  int x = missing;\n}\n", *quern::cuda::target_named("sm_80"));
    FAIL("compiled");
  } catch (const Error& e) {
    CHECK(e.code() == Code::internal);
    CHECK(e.message().find("identifier \"missing\" is undefined") != std::string::npos);
    CHECK(e.message().find("2 |   int x = missing;") != std::string::npos);
  }
  quern::cuda::Target unknown;
  unknown.sm = 91;
  unknown.accelerated = false;
  CHECK_THROWS_AS(compile_nvrtc(text_of(0), unknown), Error);
  // A GPU newer than NVRTC gets PTX of the newest that it knows.
  unknown.sm = 990;
  const CompiledText ptx = compile_nvrtc(text_of(0), unknown);
  CHECK(ptx.cubin.empty());
  CHECK(ptx.image().find(".entry k") != std::string::npos);
}

TEST_CASE("(alone) the process ends while kernels are compiled", "[.nvrtc_exit]") {
  std::vector<std::future<Status>> never_asked;
  std::vector<Kernel> kernels;
  for (int i = 0; i < 6; ++i) {
    kernels.emplace_back("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] + " + std::to_string(i) + " }", Options().on(Device::cuda).for_target("sm_90a"));
    const Argument arguments[] = {Argument(TensorView(static_cast<float*>(nullptr), f32, {8}).on_gpu(0))};
    never_asked.push_back(kernels.back().prepare_async(arguments));
  }
  usleep(static_cast<useconds_t>(std::atoi(std::getenv("QUERN_TEST_WAIT_US"))));
  std::exit(0);
}

TEST_CASE("(alone) exit() from inside of a compile", "[.own_exit]") {
  const quern::runtime::UnderWay here;
  std::exit(7);
}

TEST_CASE("exit() does not wait for the compile that it interrupts") { CHECK(alone("[own_exit]") == 7 * 256); }
TEST_CASE("the real NVRTC compiles on several threads") { CHECK(alone("[nvrtc_threads]") == 0); }
TEST_CASE("the real NVRTC is where the search by names alone says, wherever it is found") {
  CHECK(alone("[nvrtc_files]") == 0);
  if (!std::filesystem::exists("/usr/local/cuda/lib64/libnvrtc.so")) return;
  // By the loader's path, and by the last of the three names.
  const std::string folder = "/tmp/quern-nvrtc-" + std::to_string(getpid());
  std::filesystem::create_directory(folder);
  std::filesystem::create_symlink(std::filesystem::canonical("/usr/local/cuda/lib64/libnvrtc.so"), folder + "/libnvrtc.so.13");
  CHECK(alone("[nvrtc_files]", "LD_LIBRARY_PATH=" + folder) == 0);
  std::filesystem::remove_all(folder);
}
TEST_CASE("the real NVRTC's errors are shown") { CHECK(alone("[nvrtc_errors]") == 0); }
TEST_CASE("a process may end while kernels are compiled") {
  for (const char* wait : {"0", "5000", "10000", "20000", "40000", "60000", "150000", "300000"}) {
    setenv("QUERN_TEST_WAIT_US", wait, 1);
    INFO(wait << " us");
    CHECK(alone("[nvrtc_exit]") == 0);
  }
}
