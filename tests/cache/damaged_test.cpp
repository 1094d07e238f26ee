// Files damaged in every way that chance finds, met by kernels as they meet them: through the store, to the device, to a right
// result. On the CPU and on the emulated GPU.
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "runtime/device.h"
#include "tests/cache/place.h"
#include "tests/catch.h"

using namespace quern;
using namespace quern_test;

namespace {

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// `bytes` with one damage; another one for each state of `random`.
std::string damaged(std::string bytes, const std::string& other, std::mt19937& random) {
  const auto at = [&] { return random() % bytes.size(); };
  switch (random() % 6) {
    case 0:  // some bytes
      for (unsigned n = 1 + random() % 8; n > 0; --n) bytes[at()] = static_cast<char>(random());
      break;
    case 1: bytes.resize(at()); break;
    case 2: bytes += std::string(1 + random() % 5000, static_cast<char>(random())); break;
    case 3: {  // a lost page
      const std::size_t begin = at();
      bytes.replace(begin, std::min<std::size_t>(512, bytes.size() - begin), std::min<std::size_t>(512, bytes.size() - begin), '\0');
      break;
    }
    case 4: {  // the end of another entry
      const std::size_t begin = std::min(at(), other.size());
      bytes = bytes.substr(0, begin) + other.substr(begin);
      break;
    }
    default: bytes[at()] ^= static_cast<char>(1 << random() % 8);
  }
  return bytes;
}

void run_damage(Device device, int count) {
  const Place place;
  const WithCache cache(place.folder());
  const std::vector<float> x{1, 2, 3};
  const auto result = [&](int factor, std::uint64_t* compiles) {
    clear_cache();
    const Kernel kernel("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] * " + std::to_string(factor) + " + 1 }", Options().on(device));
    const double y = Tensor(kernel(x)).get({2});
    *compiles = kernel.counters().compiles;
    return y;
  };
  std::uint64_t compiles = 0;
  const auto path = [&] {
    const std::string digest = place.store().list().at(0).digest;
    return place.folder() + "/" + digest.substr(0, 2) + "/" + digest;
  };
  REQUIRE(result(5, &compiles) == 16);
  const std::string other = content(path());
  place.store().clear();
  REQUIRE(result(4, &compiles) == 13);
  const std::string file = path(), whole = content(file);
  REQUIRE(!whole.empty());
  std::mt19937 random(7);
  int right = 0, again = 0, tried = 0;
  for (int i = 0; i < count; ++i) {
    const std::string bytes = damaged(whole, other, random);
    if (bytes == whole) continue;
    ++tried;
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    chmod(file.c_str(), 0600);
    right += result(4, &compiles) == 13;
    again += compiles == 1;  // nothing of it was taken
  }
  CHECK(tried > count * 3 / 4);  // the others changed nothing: zeros over zeros
  CHECK(right == tried);
  CHECK(again == tried);
  CHECK(result(4, &compiles) == 13);
  CHECK(compiles == 0);
}

void run_on_gpu([[maybe_unused]] int count) {
#ifdef QUERN_EMULATED_CUDA
  setenv("QUERN_LIBCUDA", QUERN_EMULATED_CUDA, 1);
  setenv("QUERN_NVRTC", QUERN_EMULATED_CUDA, 1);
  run_damage(Device::cuda, count);
  unsetenv("QUERN_LIBCUDA");
  unsetenv("QUERN_NVRTC");
#endif
}

}  // namespace

TEST_CASE("kernels whose files are damaged are compiled again") {
  if (runtime::has_cpu()) run_damage(Device::cpu, 40);
}
TEST_CASE("kernels of a GPU whose files are damaged are compiled again") { run_on_gpu(100); }
TEST_CASE("2,000 damaged files of a kernel", "[.][release]") {
  if (runtime::has_cpu()) run_damage(Device::cpu, 2000);
}
TEST_CASE("2,000 damaged files of a kernel of a GPU", "[.][release]") { run_on_gpu(2000); }
