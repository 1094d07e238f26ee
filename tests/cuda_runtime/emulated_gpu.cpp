// See emulated_gpu.h. The environment names the library before anything opens one.
#include "tests/cuda_runtime/emulated_gpu.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "runtime/cuda/driver.h"

namespace quern_test {
namespace {

[[maybe_unused]] const int named = [] {
  setenv("QUERN_LIBCUDA", QUERN_EMULATED_CUDA, 1);
  if (!getenv("QUERN_TEST_REAL_NVRTC")) setenv("QUERN_NVRTC", QUERN_EMULATED_CUDA, 1);
  else setenv("QUERN_LIBCUDA", "/nowhere", 1);
  return 0;
}();

}  // namespace

const Controls& controls() {
  static const Controls c = [] {
    void* library = dlopen(QUERN_EMULATED_CUDA, RTLD_NOW | RTLD_LOCAL);
    if (!library) throw std::runtime_error(dlerror());
    const auto find = [&](const char* name) {
      void* f = dlsym(library, name);
      if (!f) throw std::runtime_error(std::string("no ") + name);
      return f;
    };
    Controls found{};
    found.counters = reinterpret_cast<decltype(found.counters)>(find("emulated_counters"));
    found.fail = reinterpret_cast<decltype(found.fail)>(find("emulated_fail"));
    found.begin_capture = reinterpret_cast<decltype(found.begin_capture)>(find("emulated_begin_capture"));
    found.end_capture = reinterpret_cast<decltype(found.end_capture)>(find("emulated_end_capture"));
    found.replay = reinterpret_cast<decltype(found.replay)>(find("emulated_replay"));
    found.last_launch = reinterpret_cast<decltype(found.last_launch)>(find("emulated_last_launch"));
    return found;
  }();
  return c;
}

OwnStream::OwnStream() {
  quern::runtime::gpu::Stream stream = nullptr;
  quern::runtime::gpu::driver().cuStreamCreate(&stream, 1);
  stream_ = stream;
}
OwnStream::~OwnStream() { quern::runtime::gpu::driver().cuStreamDestroy(static_cast<quern::runtime::gpu::Stream>(stream_)); }

std::string in_child(const std::function<std::string()>& test) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    std::string text;
    try {
      text = test();
    } catch (const std::exception& e) {
      text = e.what();
    }
    const ssize_t written = write(ends[1], text.data(), text.size());
    _exit(written == static_cast<ssize_t>(text.size()) ? 0 : 3);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) return text + " [the process ended with status " + std::to_string(status) + "]";
  return text;
}

}  // namespace quern_test
