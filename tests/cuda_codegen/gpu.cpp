#include "tests/cuda_codegen/gpu.h"

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>

namespace quern::cuda::test {

namespace {

struct Driver {
  int (*init)(unsigned) = nullptr;
  int (*device)(int*, int) = nullptr;
  int (*attribute)(int*, int, int) = nullptr;
  int (*retain)(void**, int) = nullptr;
  int (*current)(void*) = nullptr;
  int (*allocate)(std::uint64_t*, std::size_t) = nullptr;
  int (*release)(std::uint64_t) = nullptr;
  int (*to_device)(std::uint64_t, const void*, std::size_t) = nullptr;
  int (*to_host)(void*, std::uint64_t, std::size_t) = nullptr;
  int (*load)(void**, const void*) = nullptr;
  int (*unload)(void*) = nullptr;
  int (*function)(void**, void*, const char*) = nullptr;
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**) = nullptr;
  int (*wait)() = nullptr;
  std::string why;
  std::string arch;
};

template <class F>
bool find(void* library, const char* name, F& to) {
  to = reinterpret_cast<F>(dlsym(library, name));
  return to != nullptr;
}

void open(Driver& d) {
  const char* named = std::getenv("QUERN_LIBCUDA");
  void* library = dlopen(named ? named : "libcuda.so.1", RTLD_NOW);
  if (!library) {
    d.why = "no driver: " + std::string(dlerror());
    return;
  }
  const bool all = find(library, "cuInit", d.init) && find(library, "cuDeviceGet", d.device) && find(library, "cuDeviceGetAttribute", d.attribute) &&
                   find(library, "cuDevicePrimaryCtxRetain", d.retain) && find(library, "cuCtxSetCurrent", d.current) &&
                   find(library, "cuMemAlloc_v2", d.allocate) && find(library, "cuMemFree_v2", d.release) &&
                   find(library, "cuMemcpyHtoD_v2", d.to_device) && find(library, "cuMemcpyDtoH_v2", d.to_host) &&
                   find(library, "cuModuleLoadData", d.load) && find(library, "cuModuleUnload", d.unload) &&
                   find(library, "cuModuleGetFunction", d.function) && find(library, "cuLaunchKernel", d.launch) && find(library, "cuCtxSynchronize", d.wait);
  int device = 0, major = 0, minor = 0;
  void* context = nullptr;
  if (!all || d.init(0) != 0 || d.device(&device, 0) != 0 || d.retain(&context, device) != 0 || d.current(context) != 0) {
    d.why = "no GPU that the driver can use";
    return;
  }
  d.attribute(&major, 75, device);
  d.attribute(&minor, 76, device);
  d.arch = "sm_" + std::to_string(10 * major + minor) + (major == 9 ? "a" : "");
}

const Driver& driver() {
  static const Driver opened = [] {
    Driver d;
    open(d);
    return d;
  }();
  return opened;
}

void check(int result, const char* call) {
  if (result != 0) throw std::runtime_error(std::string(call) + " failed with " + std::to_string(result));
}

}  // namespace

bool have_gpu(std::string* why) {
  *why = driver().why;
  return why->empty();
}

std::string gpu_arch() { return driver().arch; }

DeviceArray::DeviceArray(std::size_t bytes) : bytes_(bytes) { check(driver().allocate(&address_, bytes ? bytes : 1), "cuMemAlloc"); }
DeviceArray::DeviceArray(const std::vector<std::uint8_t>& from) : DeviceArray(from.size()) {
  if (bytes_) check(driver().to_device(address_, from.data(), bytes_), "cuMemcpyHtoD");
}
DeviceArray::~DeviceArray() { driver().release(address_); }
std::vector<std::uint8_t> DeviceArray::read() const {
  std::vector<std::uint8_t> out(bytes_);
  if (bytes_) check(driver().to_host(out.data(), address_, bytes_), "cuMemcpyDtoH");
  return out;
}

DeviceModule::DeviceModule(const std::string& cubin) { check(driver().load(&module_, cubin.data()), "cuModuleLoadData"); }
DeviceModule::~DeviceModule() { driver().unload(module_); }
void DeviceModule::launch(const std::string& kernel, unsigned blocks, unsigned threads, const std::vector<std::uint64_t>& parameters) const {
  void* function = nullptr;
  check(driver().function(&function, module_, kernel.c_str()), "cuModuleGetFunction");
  std::vector<std::uint64_t> values = parameters;
  std::vector<void*> pointers;
  for (std::uint64_t& v : values) pointers.push_back(&v);
  check(driver().launch(function, blocks, 1, 1, threads, 1, 1, 0, nullptr, pointers.data(), nullptr), "cuLaunchKernel");
  check(driver().wait(), kernel.c_str());
}

}  // namespace quern::cuda::test
