// To bytes and back: the launches are written as for kernels compiled ahead of time. See gpu_image.h.
#include "runtime/cuda/gpu_image.h"

#include <cmath>

#include <fmt/format.h>

#include <quern/error.h>

#include "compiler/codegen/cuda/tensor_map.h"
#include "runtime/aot/image.h"
#include "runtime/byte_stream.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/cuda/nvrtc_files.h"

namespace quern::runtime::gpu {
namespace {

constexpr std::size_t kMostKernels = 1 << 20, kMostRemarks = 1 << 20, kMostOfAnything = std::size_t{1} << 31;
constexpr int kMostThreads = 1024;

/// What a launch refers to is there: nothing that stands in a file may lead out of the lists.
bool fits(const quern::cuda::KernelLaunch& launch, const ir::Program& p) {
  using quern::cuda::Word;
  if (launch.entry.empty() || launch.threads < 1 || launch.threads > kMostThreads || !launch.tasks) return false;
  for (const Word& w : launch.words) {
    switch (w.kind) {
      case Word::data:
      case Word::stride:
        if (w.id >= p.tensors.size()) return false;
        if (w.kind == Word::stride && (w.axis < 0 || static_cast<std::size_t>(w.axis) >= p.tensors[w.id].shape.size())) return false;
        break;
      case Word::symbol:
        if (w.id >= p.symbols.size()) return false;
        break;
      case Word::scalar:
        if (w.id >= p.scalars.size()) return false;
        break;
      case Word::status: case Word::slab: case Word::tasks: case Word::zeroed: case Word::counter: case Word::mapped: break;
      default: return false;
    }
  }
  for (const quern::cuda::TensorMap& map : launch.maps) {
    if (map.tensor >= p.tensors.size() || !quern::cuda::fault_of(map).empty()) return false;
    for (const int axis : map.axes)
      if (axis < 0 || static_cast<std::size_t>(axis) >= p.tensors[map.tensor].shape.size()) return false;
  }
  return true;
}

bool fits(const GpuImage& image, const Binding& binding) {
  const ir::Program &p = image.module.program, &settled = binding.program();
  if (p.tensors.size() < settled.tensors.size() || p.symbols.size() != settled.symbols.size() || p.scalars.size() != settled.scalars.size()) return false;
  if (p.parameters != settled.parameters || p.outputs != settled.outputs) return false;
  std::vector<bool> stored(p.tensors.size());
  for (const TensorSlot& slot : binding.slots())
    for (const ir::TensorId id : {slot.tensor, slot.result.value_or(slot.tensor)}) {
      stored[id] = true;
      if (p.tensors[id].type != settled.tensors[id].type || p.tensors[id].shape.size() != settled.tensors[id].shape.size() || p.tensors[id].entry != settled.tensors[id].entry)
        return false;
    }
  for (const ir::TensorId id : image.module.workspace) {
    if (id >= p.tensors.size() || stored[id]) return false;
    stored[id] = true;
  }
  for (const quern::cuda::KernelLaunch& launch : image.module.launches) {
    if (!fits(launch, p)) return false;
    for (const quern::cuda::Word& w : launch.words)
      if ((w.kind == quern::cuda::Word::data || w.kind == quern::cuda::Word::stride) && !stored[w.id]) return false;
    for (const quern::cuda::TensorMap& map : launch.maps)
      if (!stored[map.tensor]) return false;
  }
  const std::size_t slots = binding.slots().size();
  if (image.may_share.size() != slots) return false;
  for (const auto& row : image.may_share)
    if (row.size() != slots) return false;
  return image.module.launches.empty() || !image.compiled.image().empty();
}

}  // namespace

std::string pack(const GpuImage& image) {
  const CompiledText& compiled = image.compiled;
  ByteWriter out;
  const NvrtcFile& by = compiled.made_by;
  out.text(by.path);
  out.text(by.name);
  for (const std::int64_t n : {by.bytes, std::int64_t{by.major}, std::int64_t{by.minor}}) out.number(n);
  out.text(compiled.cubin);
  out.text(compiled.cubin.empty() ? compiled.ptx : "");
  out.number(std::llround(compiled.seconds * 1e6));
  out.number(static_cast<std::int64_t>(compiled.kernels.size()));
  for (const KernelResources& k : compiled.kernels) {
    out.text(k.entry);
    for (int n : {k.registers, k.stack_bytes, k.spill_store_bytes, k.spill_load_bytes, k.static_shared_bytes}) out.number(n);
  }
  out.number(static_cast<std::int64_t>(compiled.remarks.size()));
  for (const Remark& r : compiled.remarks)
    for (const std::string* text : {&r.code, &r.text, &r.meaning}) out.text(*text);
  aot::Variant v;
  v.program = image.module.program;
  v.workspace = image.module.workspace;
  v.launches = image.module.launches;
  v.may_share = image.may_share;
  out.text(aot::write_variant(v));
  return out.take();
}

std::shared_ptr<const GpuImage> unpack(std::string_view bytes, const Binding& binding, std::string* error) {
  *error = "it is not machine code of a GPU for such a kernel";
  ByteReader in(bytes);
  auto image = std::make_shared<GpuImage>();
  CompiledText& compiled = image->compiled;
  NvrtcFile& by = compiled.made_by;
  by.path = in.text();
  by.name = in.text();
  by.bytes = in.number();
  for (int* n : {&by.major, &by.minor}) *n = static_cast<int>(in.count(kMostOfAnything));
  compiled.cubin = in.text();
  compiled.ptx = in.text();
  compiled.seconds = static_cast<double>(in.number()) * 1e-6;
  for (std::size_t left = in.count(kMostKernels); left > 0 && !in.failed(); --left) {
    KernelResources k;
    k.entry = in.text();
    for (int* n : {&k.registers, &k.stack_bytes, &k.spill_store_bytes, &k.spill_load_bytes, &k.static_shared_bytes}) *n = static_cast<int>(in.count(kMostOfAnything));
    compiled.kernels.push_back(std::move(k));
  }
  for (std::size_t left = in.count(kMostRemarks); left > 0 && !in.failed(); --left) {
    Remark r;
    for (std::string* text : {&r.code, &r.text, &r.meaning}) *text = in.text();
    compiled.remarks.push_back(std::move(r));
  }
  const std::string_view launches = in.text();
  if (!in.complete()) return nullptr;
  try {
    aot::Variant v = aot::read_variant(launches);
    image->module.program = std::move(v.program);
    image->module.workspace = std::move(v.workspace);
    image->module.launches = std::move(v.launches);
    image->may_share = std::move(v.may_share);
  } catch (const Error&) {
    return nullptr;
  }
  return fits(*image, binding) ? image : nullptr;
}

quern::cuda::CudaModule named(const quern::cuda::CudaModule& module, const ir::Program& settled) {
  quern::cuda::CudaModule mine = module;
  ir::Program& p = mine.program;
  p.name = settled.name;
  for (std::size_t s = 0; s < p.symbols.size(); ++s) p.symbols[s].name = settled.symbols[s].name;
  for (std::size_t s = 0; s < p.scalars.size(); ++s) p.scalars[s].name = settled.scalars[s].name;
  // What the compiler added has no name of its own here.
  for (std::size_t t = 0; t < p.tensors.size(); ++t) p.tensors[t].name = t < settled.tensors.size() ? settled.tensors[t].name : "an intermediate";
  return mine;
}

std::string outdated(const NvrtcFile& maker) {
  const std::vector<std::string> files = nvrtc_files();
  if (files.empty()) return {};  // nothing here could make it anew
  for (const std::string& path : files) {
    NvrtcFile now{path, "", -1, 0, 0};
    now.look();
    if (now.bytes == maker.bytes && now.name == maker.name) return {};
  }
  try {
    const Nvrtc& here = nvrtc();
    if (here.major == maker.major && here.minor == maker.minor) return {};
    return fmt::format("NVRTC {}.{} made it, NVRTC {}.{} ({}) is here", maker.major, maker.minor, here.major, here.minor, here.path);
  } catch (const Error&) {
    return {};  // it cannot be used
  }
}

}  // namespace quern::runtime::gpu
