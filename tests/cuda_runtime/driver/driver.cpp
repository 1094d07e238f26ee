// The driver's functions over host memory and the emulator. Everything runs at once, in the calling thread. Allocations end
// at a page without access, so that a kernel which goes beyond one is an illegal address, as on a GPU.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_emulator/machine/tensor_copies.h"
#include "tests/cuda_runtime/driver/entries.h"
#include "tests/cuda_runtime/driver/state.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace quern_test {

State& state() {
  static auto* s = new State;
  return *s;
}

Result State::due(const char* function) {
  if (lost) return lost;
  const auto found = failures.find(function);
  if (found == failures.end() || found->second.second == 0) return kSuccess;
  --found->second.second;
  return found->second.first;
}

bool State::holds(DevicePointer p, std::size_t bytes) const {
  auto after = memory.upper_bound(p);
  if (after == memory.begin()) return false;
  --after;
  return p + bytes <= after->first + after->second.bytes;
}

Result State::run(const RecordedLaunch& launch) {
  quern::emulator::How how;
  const std::string fault = launch.kernel->library->text->launch(launch.kernel->entry, launch.grid, launch.parameter.data(), how);
  if (fault.empty()) return kSuccess;
  std::fprintf(stderr, "emulated GPU: %s\n", fault.c_str());
  return lost = 700;
}

namespace {

constexpr Result kNotFound = 500, kCaptureUnsupported = 900;
constexpr std::size_t kPage = 4096;

using Lock = std::lock_guard<std::recursive_mutex>;

Result allocate(DevicePointer* p, std::size_t bytes) {
  State& s = state();
  if (bytes == 0) return kInvalidValue;
  const std::size_t rounded = (bytes + 255) / 256 * 256, mapped = (rounded + kPage - 1) / kPage * kPage + kPage;
  void* mapping = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return kOutOfMemory;
  mprotect(static_cast<char*>(mapping) + mapped - kPage, kPage, PROT_NONE);
  *p = reinterpret_cast<DevicePointer>(mapping) + mapped - kPage - rounded;
  std::memset(reinterpret_cast<void*>(*p), 0xa5, rounded);
  s.memory[*p] = {bytes, mapping, mapped};
  ++s.counters.allocations;
  ++s.counters.live_allocations;
  s.counters.live_bytes += bytes;
  return kSuccess;
}

Result release(DevicePointer p) {
  State& s = state();
  const auto found = s.memory.find(p);
  if (found == s.memory.end()) return kInvalidValue;
  ++s.counters.frees;
  --s.counters.live_allocations;
  s.counters.live_bytes -= found->second.bytes;
  munmap(found->second.mapping, found->second.mapped);
  s.memory.erase(found);
  return kSuccess;
}

CUctx_st contexts[kGpus] = {{0}, {1}};

#define BEGIN(name)          \
  State& s = state();        \
  const Lock lock(s.mutex);  \
  if (const Result due = s.due(#name); due != kSuccess) return due
#define NOT_IN_CAPTURE \
  if (s.capture) return kCaptureUnsupported

Result cuInit(unsigned) {
  BEGIN(cuInit);
  ++s.counters.inits;
  return kSuccess;
}
Result cuGetErrorName(Result result, const char** name) {
  *name = result == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : result == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR";
  return kSuccess;
}
Result cuGetErrorString(Result result, const char** text) {
  *text = result == 700 ? "an illegal memory access was encountered" : "emulated";
  return kSuccess;
}
Result cuDeviceGetCount(int* count) {
  BEGIN(cuDeviceGetCount);
  *count = kGpus;
  return kSuccess;
}
Result cuDeviceGet(DeviceId* id, int ordinal) {
  *id = ordinal;
  return ordinal < kGpus ? kSuccess : 101;
}
Result cuDeviceGetName(char* name, int length, DeviceId) {
  std::snprintf(name, static_cast<std::size_t>(length), "emulated GPU");
  return kSuccess;
}
Result cuDeviceTotalMem(std::size_t* bytes, DeviceId) {
  *bytes = std::size_t{1} << 34;
  return kSuccess;
}
Result cuDeviceGetAttribute(int* value, int attribute, DeviceId) {
  switch (attribute) {
    case kMultiprocessorCount: *value = 3; break;
    case kComputeMajor: *value = 9; break;
    case kComputeMinor: *value = 0; break;
    case kSharedBytesOptin: *value = 227 * 1024; break;
    case kMemoryPools: *value = 1; break;
    default: return kInvalidValue;
  }
  return kSuccess;
}
Result cuDevicePrimaryCtxRetain(Context* context, DeviceId id) {
  BEGIN(cuDevicePrimaryCtxRetain);
  *context = &contexts[id];
  return kSuccess;
}
thread_local std::vector<Context> current;
Result cuCtxGetCurrent(Context* context) {
  *context = current.empty() ? nullptr : current.back();
  return kSuccess;
}
Result cuCtxPushCurrent(Context context) {
  current.push_back(context);
  return kSuccess;
}
Result cuCtxPopCurrent(Context* context) {
  if (current.empty()) return 201;
  *context = current.back();
  current.pop_back();
  return kSuccess;
}
Result cuCtxSynchronize() {
  BEGIN(cuCtxSynchronize);
  NOT_IN_CAPTURE;
  ++s.counters.synchronizations;
  return kSuccess;
}
Result cuLibraryLoadData(Library* library, const void* image, void*, void**, unsigned, void*, void**, unsigned) {
  BEGIN(cuLibraryLoadData);
  NOT_IN_CAPTURE;
  auto made = std::make_unique<CUlib_st>();
  const std::string text = static_cast<const char*>(image);
  if (const char* refuses = std::getenv("QUERN_EMULATED_REFUSES"); refuses && text.find(std::strchr(refuses, ':') + 1) != std::string::npos) return std::atoi(refuses);
  made->entries = entries_of(text);
  try {
    made->text = quern::emulator::Text::load(text, made->entries);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "emulated GPU: %s\n", e.what());
    return kNoBinaryForGpu;
  }
  for (std::size_t i = 0; i < made->entries.size(); ++i) made->kernels.push_back(std::make_unique<CUkern_st>(CUkern_st{made.get(), i}));
  ++s.counters.library_loads;
  *library = made.release();
  return kSuccess;
}
Result cuLibraryUnload(Library library) {
  const Lock lock(state().mutex);
  ++state().counters.library_unloads;
  delete library;
  return kSuccess;
}
Result cuLibraryGetKernel(Kernel* kernel, Library library, const char* name) {
  for (std::size_t i = 0; i < library->entries.size(); ++i)
    if (library->entries[i] == name) return *kernel = library->kernels[i].get(), kSuccess;
  return kNotFound;
}
Result cuKernelGetFunction(Function* function, Kernel kernel) {
  BEGIN(cuKernelGetFunction);
  *function = reinterpret_cast<Function>(kernel);
  return kSuccess;
}
Result cuKernelGetAttribute(int* value, int attribute, Kernel, DeviceId) {
  *value = 0;
  return attribute == kStaticShared ? kSuccess : kInvalidValue;
}
Result cuKernelSetAttribute(int attribute, int value, Kernel kernel, DeviceId) {
  if (attribute != kMaxDynamicShared || value > 227 * 1024) return kInvalidValue;
  kernel->most_shared = value;
  return kSuccess;
}
Result cuLaunchKernel(Function function, unsigned grid_x, unsigned, unsigned, unsigned block_x, unsigned, unsigned, unsigned shared, Stream stream, void** parameters,
                      void**) {
  BEGIN(cuLaunchKernel);
  const auto kernel = reinterpret_cast<Kernel>(function);
  if (grid_x == 0 || block_x == 0 || block_x > 1024 || static_cast<int>(shared) > kernel->most_shared) return kInvalidValue;
  if (current.empty()) return 201;
  const std::size_t bytes = kernel->library->text->parameter_bytes(kernel->entry);
  RecordedLaunch launch{kernel, {static_cast<std::int64_t>(grid_x), static_cast<int>(block_x), shared}, {}};
  launch.parameter.assign(static_cast<const char*>(parameters[0]), static_cast<const char*>(parameters[0]) + bytes);
  ++s.counters.launches;
  s.last = launch;
  if (s.capture && stream == s.captured) {
    s.recorded.push_back(std::move(launch));
    return kSuccess;
  }
  s.run(launch);  // what a kernel does wrong shows at the next call
  return kSuccess;
}
/// What the documentation demands for elements of 1 and 2 bytes with the 128-byte swizzle or none, the forms that are emulated.
Result cuTensorMapEncodeTiled(void* map, int type, unsigned rank, void* address, const std::uint64_t* extents, const std::uint64_t* strides, const std::uint32_t* box,
                              const std::uint32_t* element_strides, int interleave, int swizzle, int promotion, int fill) {
  BEGIN(cuTensorMapEncodeTiled);
  if ((type != 0 && type != 1) || interleave != 0 || (swizzle != 0 && swizzle != 3) || promotion < 0 || promotion > 3 || fill != 0 || rank < 1 || rank > 5) return kInvalidValue;
  if (reinterpret_cast<std::uintptr_t>(map) % 64 != 0 || reinterpret_cast<std::uintptr_t>(address) % 16 != 0) return kInvalidValue;
  quern::cuda::MapNumbers numbers;
  numbers.address = reinterpret_cast<std::uint64_t>(address);
  numbers.rank = static_cast<int>(rank);
  numbers.element_bytes = type + 1;
  numbers.swizzled = swizzle == 3;
  for (unsigned i = 0; i < rank; ++i) {
    if (extents[i] < 1 || extents[i] > std::uint64_t{1} << 32 || box[i] < 1 || box[i] > 256 || element_strides[i] != 1) return kInvalidValue;
    numbers.extents[i] = extents[i];
    numbers.box[i] = box[i];
    if (i == 0) continue;
    if (strides[i - 1] % 16 != 0 || strides[i - 1] >= std::uint64_t{1} << 40) return kInvalidValue;
    numbers.strides[i - 1] = strides[i - 1];
  }
  const std::uint32_t row = box[0] * static_cast<std::uint32_t>(numbers.element_bytes);
  if ((numbers.swizzled && row > 128) || row % 16 != 0) return kInvalidValue;
  quern::emulator::encode_map(numbers, map);
  ++s.counters.maps;
  return kSuccess;
}
Result cuMemAlloc(DevicePointer* p, std::size_t bytes) {
  BEGIN(cuMemAlloc);
  NOT_IN_CAPTURE;
  return allocate(p, bytes);
}
Result cuMemAllocAsync(DevicePointer* p, std::size_t bytes, Stream) {
  BEGIN(cuMemAllocAsync);
  NOT_IN_CAPTURE;
  return allocate(p, bytes);
}
Result cuMemFree(DevicePointer p) {
  BEGIN(cuMemFree);
  NOT_IN_CAPTURE;
  return release(p);
}
Result cuMemFreeAsync(DevicePointer p, Stream) {
  BEGIN(cuMemFreeAsync);
  NOT_IN_CAPTURE;
  return release(p);
}
Result cuMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = std::size_t{1} << 34;
  *free = *total - state().counters.live_bytes;
  return kSuccess;
}
Result cuMemcpyHtoDAsync(DevicePointer to, const void* from, std::size_t bytes, Stream) {
  BEGIN(cuMemcpyHtoDAsync);
  NOT_IN_CAPTURE;
  if (!s.holds(to, bytes)) return kInvalidValue;
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return kSuccess;
}
Result cuMemcpyDtoHAsync(void* to, DevicePointer from, std::size_t bytes, Stream) {
  BEGIN(cuMemcpyDtoHAsync);
  NOT_IN_CAPTURE;
  if (!s.holds(from, bytes)) return kInvalidValue;
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return kSuccess;
}
Result cuMemcpyDtoDAsync(DevicePointer to, DevicePointer from, std::size_t bytes, Stream) {
  BEGIN(cuMemcpyDtoDAsync);
  if (!s.holds(from, bytes) || !s.holds(to, bytes)) return kInvalidValue;
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  return kSuccess;
}
Result cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t bytes, Stream) {
  BEGIN(cuMemsetD8Async);
  if (!s.holds(to, bytes)) return kInvalidValue;
  std::memset(reinterpret_cast<void*>(to), value, bytes);
  return kSuccess;
}
Result cuStreamCreate(Stream* stream, unsigned) {
  static std::atomic<int> number{0};
  *stream = new CUstream_st{++number};
  return kSuccess;
}
Result cuStreamDestroy(Stream stream) {
  delete stream;
  return kSuccess;
}
Result cuStreamSynchronize(Stream) {
  BEGIN(cuStreamSynchronize);
  NOT_IN_CAPTURE;
  ++s.counters.synchronizations;
  return kSuccess;
}
Result cuStreamGetCaptureInfo(Stream stream, int* status, std::uint64_t* id, void*, void*, std::size_t*) {
  BEGIN(cuStreamGetCaptureInfo);
  const bool active = s.capture && stream == s.captured;
  *status = active ? kCaptureActive : kCaptureNone;
  *id = active ? s.capture : 0;
  return kSuccess;
}
double now() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
Result cuEventCreate(Event* event, unsigned) {
  *event = new CUevent_st{0};
  return kSuccess;
}
Result cuEventDestroy(Event event) {
  delete event;
  return kSuccess;
}
Result cuEventRecord(Event event, Stream) {
  event->at = now();
  return kSuccess;
}
Result cuEventSynchronize(Event) {
  BEGIN(cuEventSynchronize);
  return kSuccess;
}
Result cuEventElapsedTime(float* milliseconds, Event begin, Event end) {
  *milliseconds = static_cast<float>(end->at - begin->at);
  return kSuccess;
}

// For programs that capture: the library itself has no use for these.
Result cuStreamBeginCapture(Stream stream, int) {
  emulated_begin_capture(stream);
  return kSuccess;
}
Result cuStreamEndCapture(Stream, void** graph) {
  const Lock lock(state().mutex);
  emulated_end_capture();
  *graph = new std::vector<RecordedLaunch>(state().recorded);
  return kSuccess;
}
Result cuGraphInstantiate(void** exec, void* graph, unsigned long long) {
  *exec = graph;
  return kSuccess;
}
Result cuGraphLaunch(void* exec, Stream) {
  BEGIN(cuGraphLaunch);
  for (const RecordedLaunch& launch : *static_cast<std::vector<RecordedLaunch>*>(exec)) s.run(launch);
  return kSuccess;
}

}  // namespace
}  // namespace quern_test

EXPORT int cuDriverGetVersion(int* version) {
  *version = 13000;
  if (const char* older = std::getenv("QUERN_EMULATED_DRIVER")) *version = std::atoi(older);
  return 0;
}

EXPORT int cuGetProcAddress_v2(const char* name, void** function, int version, std::uint64_t, int* status) {
  using namespace quern_test;
  int mine = 0;
  cuDriverGetVersion(&mine);
  *function = nullptr;
  if (version > mine) return kInvalidValue;
#define FIND(wanted, parameters) \
  if (std::strcmp(name, #wanted) == 0) *function = reinterpret_cast<void*>(static_cast<Result(*) parameters>(&wanted));
  QUERN_CUDA_DRIVER(FIND)
  FIND(cuStreamBeginCapture, (Stream, int))
  FIND(cuStreamEndCapture, (Stream, void**))
  FIND(cuGraphInstantiate, (void**, void*, unsigned long long))
  FIND(cuGraphLaunch, (void*, Stream))
#undef FIND
  if (status) *status = *function ? 0 : 1;
  return kSuccess;
}

using quern_test::state;

EXPORT EmulatedCounters emulated_counters() {
  const std::lock_guard lock(state().mutex);
  return state().counters;
}
EXPORT void emulated_fail(const char* function, int result, int times) {
  const std::lock_guard lock(state().mutex);
  state().failures[function] = {result, times};
}
EXPORT void emulated_begin_capture(void* stream) {
  const std::lock_guard lock(state().mutex);
  state().captured = static_cast<quern_test::Stream>(stream);
  state().capture = ++state().captures;
  state().recorded.clear();
}
EXPORT int emulated_end_capture() {
  const std::lock_guard lock(state().mutex);
  state().capture = 0;
  return static_cast<int>(state().recorded.size());
}
EXPORT void emulated_replay() {
  const std::lock_guard lock(state().mutex);
  for (const quern_test::RecordedLaunch& launch : state().recorded) state().run(launch);
}
EXPORT int emulated_last_launch(std::uint64_t* words, int most, unsigned* grid, unsigned* threads, unsigned* shared) {
  const std::lock_guard lock(state().mutex);
  const quern_test::RecordedLaunch& last = state().last;
  const int count = static_cast<int>(last.parameter.size() / 8);
  std::memcpy(words, last.parameter.data(), 8 * static_cast<std::size_t>(std::min(count, most)));
  *grid = static_cast<unsigned>(last.grid.blocks);
  *threads = static_cast<unsigned>(last.grid.threads);
  *shared = static_cast<unsigned>(last.grid.shared_bytes);
  return count;
}
