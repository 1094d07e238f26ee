// Copies and staging. See copies.h.
#include "runtime/cuda/copies.h"

#include <algorithm>

#include <fmt/format.h>

#include <quern/gpu.h>

#include "runtime/overlap.h"
#include "runtime/strided.h"

namespace quern::runtime::gpu {
namespace {

/// The bytes that a view touches; empty for views without elements.
std::pair<const char*, const char*> bytes_of(const TensorView& view) {
  std::int64_t low = 0, high = 0;
  if (view.count() == 0) return {nullptr, nullptr};
  if (!byte_range(view, &low, &high)) throw Error(Code::overflow, "error: a tensor spans more than 2^63 - 1 bytes");
  const char* data = static_cast<const char*>(view.data());
  return {data + low, data + high};
}

}  // namespace

Staging::Staging(Gpu& gpu, Stream stream, const Binding& binding, const TensorView* const* tensors, TensorView* views) : gpu_(gpu), stream_(stream) {
  const std::size_t slots = binding.slots().size();
  std::vector<std::pair<const char*, const char*>> spans(slots);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    views[slot] = *tensors[slot];
    if (views[slot].memory() != Memory::host) continue;
    spans[slot] = bytes_of(views[slot]);
    if (spans[slot].first) ranges_.push_back({spans[slot].first, spans[slot].second});
  }
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.low < b.low; });
  std::size_t kept = 0;
  for (const Range& r : ranges_) {
    if (kept > 0 && r.low < ranges_[kept - 1].high) ranges_[kept - 1].high = std::max(ranges_[kept - 1].high, r.high);
    else ranges_[kept++] = r;
  }
  ranges_.resize(kept);
  const Driver& d = gpu.driver();
  try {
    for (Range& r : ranges_) {
      const auto bytes = static_cast<std::size_t>(r.high - r.low), offset = static_cast<std::size_t>(reinterpret_cast<std::uintptr_t>(r.low) % 256);
      const std::string what = fmt::format("a copy of an argument ({} bytes)", bytes);
      gpu.require(gpu.has_pools() ? d.cuMemAllocAsync(&r.memory, bytes + offset, stream) : d.cuMemAlloc(&r.memory, bytes + offset), what);
      r.at = r.memory + offset;
      gpu.require(d.cuMemcpyHtoDAsync(r.at, r.low, bytes, stream), what);
    }
  } catch (...) {
    free_all();
    throw;
  }
  for (std::size_t slot = 0; slot < slots; ++slot) {
    TensorView& v = views[slot];
    if (v.memory() != Memory::host) continue;
    const TensorView host = v;
    void* mirror = nullptr;
    if (spans[slot].first) {
      const std::size_t range = range_of(spans[slot].first);
      mirror = reinterpret_cast<void*>(ranges_[range].at + static_cast<DevicePointer>(static_cast<const char*>(host.data()) - ranges_[range].low));
      if (slot >= binding.inputs() || binding.slots()[slot].result) written_.push_back({host, spans[slot].first, spans[slot].second, range});
    }
    v = TensorView(mirror, host.type(), host.shape(), host.strides()).on_gpu(gpu.ordinal());
  }
}

std::size_t Staging::range_of(const char* low) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), low, [](const char* p, const Range& r) { return p < r.low; });
  return static_cast<std::size_t>(after - ranges_.begin()) - 1;
}

void Staging::free_all() {
  const Driver& d = gpu_.driver();
  for (Range& r : ranges_)
    if (r.memory) gpu_.has_pools() ? d.cuMemFreeAsync(r.memory, stream_) : d.cuMemFree(r.memory);
  ranges_.clear();
}

Staging::~Staging() { free_all(); }

void Staging::copy_back() {
  const Driver& d = gpu_.driver();
  for (const Written& w : written_) {
    const Range& r = ranges_[w.range];
    const auto bytes = static_cast<std::size_t>(w.high - w.low);
    const DevicePointer from = r.at + static_cast<DevicePointer>(w.low - r.low);
    if (is_dense(w.host)) {
      gpu_.require(d.cuMemcpyDtoHAsync(const_cast<char*>(w.low), from, bytes, stream_), "copying a result to the host");
      continue;
    }
    // Between its elements may lie what others write meanwhile.
    const auto block = std::make_unique_for_overwrite<char[]>(bytes);
    gpu_.require(d.cuMemcpyDtoHAsync(block.get(), from, bytes, stream_), "copying a result to the host");
    gpu_.require(d.cuStreamSynchronize(stream_), "copying a result to the host");
    const TensorView copied(static_cast<void*>(block.get() + (static_cast<const char*>(w.host.data()) - w.low)), w.host.type(), w.host.shape(), w.host.strides());
    copy_strided(copied, w.host);
  }
  gpu_.require(d.cuStreamSynchronize(stream_), "copying a result to the host");
}

}  // namespace quern::runtime::gpu

namespace quern {
inline namespace v0 {

using namespace runtime;  // NOLINT: the implementation of the public functions
namespace rg = runtime::gpu;

Tensor gpu_tensor(ElementType type, Sizes shape, int number) {
  rg::Gpu& gpu = rg::gpu_at(number);
  gpu.require_alive();
  TensorView view(static_cast<void*>(nullptr), type, shape);
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(view.count(), static_cast<std::int64_t>(size_of(type)), &bytes))
    throw Error(Code::overflow, fmt::format("error: a tensor of {} takes more than 2^63 - 1 bytes", name(type)));
  const rg::Current current(gpu);
  rg::DevicePointer memory = 0;
  gpu.require(gpu.driver().cuMemAlloc(&memory, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1))), fmt::format("a tensor of {} bytes", bytes));
  struct Owner {
    rg::Gpu* gpu;
    rg::DevicePointer memory;
  };
  void* data = reinterpret_cast<void*>(memory);
  return Tensor::wrap(TensorView(data, type, shape).on_gpu(number), [](void* p) {
    const std::unique_ptr<Owner> owner(static_cast<Owner*>(p));
    try {
      const rg::Current inside(*owner->gpu);
      owner->gpu->driver().cuMemFree(owner->memory);
    } catch (const Error&) {
      // A lost GPU, or a forked child: nothing to free.
    }
  }, new Owner{&gpu, memory});
}

Tensor to_gpu(const TensorView& view, int number) {
  Tensor result = gpu_tensor(view.type(), view.shape(), number);
  copy_elements(view, result);
  return result;
}

Tensor to_host(const TensorView& view) { return Tensor::copy_of(view); }

}  // namespace v0
}  // namespace quern

namespace quern::runtime {
namespace rg = gpu;
namespace {

/// Bytes `low` up to `high` of a GPU view, in host memory, and the view of them there.
struct Fetched {
  std::unique_ptr<char[]> block;
  TensorView view;
};
Fetched fetch(rg::Gpu& gpu, const TensorView& v) {
  const auto [low, high] = rg::bytes_of(v);
  const auto bytes = static_cast<std::size_t>(high - low);
  Fetched f{std::make_unique_for_overwrite<char[]>(bytes), v};
  gpu.require(gpu.driver().cuMemcpyDtoHAsync(f.block.get(), reinterpret_cast<rg::DevicePointer>(low), bytes, nullptr), "copying a tensor to the host");
  gpu.require(gpu.driver().cuStreamSynchronize(nullptr), "copying a tensor to the host");
  f.view = TensorView(static_cast<void*>(f.block.get() + (static_cast<const char*>(v.data()) - low)), v.type(), v.shape(), v.strides());
  return f;
}

void send(rg::Gpu& gpu, const void* from, const void* to, std::int64_t bytes) {
  gpu.require(gpu.driver().cuMemcpyHtoDAsync(reinterpret_cast<rg::DevicePointer>(to), from, static_cast<std::size_t>(bytes), nullptr), "copying a tensor to the GPU");
  gpu.require(gpu.driver().cuStreamSynchronize(nullptr), "copying a tensor to the GPU");
}

}  // namespace

void copy_with_gpu(const TensorView& from, const TensorView& to) {
  const std::int64_t bytes = from.count() * static_cast<std::int64_t>(size_of(from.type()));
  const bool from_gpu = from.memory() == Memory::gpu, to_gpu = to.memory() == Memory::gpu;
  if (from_gpu) {
    rg::Gpu& gpu = rg::gpu_at(from.gpu());
    gpu.require_alive();
    const rg::Current current(gpu);
    if (is_dense(from) && is_dense(to)) {
      const auto source = reinterpret_cast<rg::DevicePointer>(from.data());
      gpu.require(to_gpu ? gpu.driver().cuMemcpyDtoDAsync(reinterpret_cast<rg::DevicePointer>(to.data()), source, static_cast<std::size_t>(bytes), nullptr)
                         : gpu.driver().cuMemcpyDtoHAsync(to.data(), source, static_cast<std::size_t>(bytes), nullptr), "copying a tensor");
      gpu.require(gpu.driver().cuStreamSynchronize(nullptr), "copying a tensor");
      return;
    }
    const Fetched here = fetch(gpu, from);
    return copy_elements(here.view, to);
  }
  rg::Gpu& gpu = rg::gpu_at(to.gpu());
  gpu.require_alive();
  const rg::Current current(gpu);
  if (is_dense(to)) {
    if (is_dense(from)) return send(gpu, from.data(), to.data(), bytes);
    const Tensor dense = Tensor::copy_of(from);
    return send(gpu, dense.data(), to.data(), bytes);
  }
  // What lies between the elements stays.
  const Fetched there = fetch(gpu, to);
  copy_strided(from, there.view);
  const auto [low, high] = rg::bytes_of(to);
  send(gpu, there.block.get(), low, high - low);
}

void gpu::check_facts(Gpu& gpu, Stream stream, const Binding& binding, const TensorView* const* tensors) {
  if (!binding.has_facts()) return;
  {
    // What fills the tensors may still be under way on the stream of the call.
    const Current current(gpu);
    gpu.require(gpu.driver().cuStreamSynchronize(stream), "reading what is declared nondecreasing");
  }
  CallArguments call;
  call.tensors.resize(binding.slots().size());
  std::vector<Tensor> copies;
  copies.reserve(binding.slots().size());
  for (std::size_t slot = 0; slot < binding.inputs(); ++slot) {
    call.tensors[slot] = tensors[slot];
    const bool there = tensors[slot]->memory() == Memory::gpu && tensors[slot]->count() > 0;
    if (there && binding.program().tensors[binding.slots()[slot].tensor].nondecreasing) call.tensors[slot] = &copies.emplace_back(to_host(*tensors[slot])).view();
  }
  binding.check_facts(call);
}

}  // namespace quern::runtime
