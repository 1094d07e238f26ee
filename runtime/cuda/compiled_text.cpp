// Machine code of a GPU as bytes, for the cache on disk. See compile_nvrtc.h.
#include <cmath>

#include "runtime/byte_stream.h"
#include "runtime/cuda/compile_nvrtc.h"

namespace quern::runtime::gpu {
namespace {
constexpr std::size_t kMostKernels = 1 << 20, kMostRemarks = 1 << 20, kMostOfAnything = std::size_t{1} << 31;
}

std::string pack(const CompiledText& compiled) {
  ByteWriter out;
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
  return out.take();
}

std::shared_ptr<const CompiledText> unpack(std::string_view bytes, std::string* error) {
  ByteReader in(bytes);
  auto compiled = std::make_shared<CompiledText>();
  compiled->cubin = in.text();
  compiled->ptx = in.text();
  compiled->seconds = static_cast<double>(in.number()) * 1e-6;
  for (std::size_t left = in.count(kMostKernels); left > 0 && !in.failed(); --left) {
    KernelResources k;
    k.entry = in.text();
    for (int* n : {&k.registers, &k.stack_bytes, &k.spill_store_bytes, &k.spill_load_bytes, &k.static_shared_bytes}) *n = static_cast<int>(in.count(kMostOfAnything));
    compiled->kernels.push_back(std::move(k));
  }
  for (std::size_t left = in.count(kMostRemarks); left > 0 && !in.failed(); --left) {
    Remark r;
    for (std::string* text : {&r.code, &r.text, &r.meaning}) *text = in.text();
    compiled->remarks.push_back(std::move(r));
  }
  if (in.complete() && !compiled->image().empty()) return compiled;
  *error = "it is not machine code of a GPU";
  return nullptr;
}

}  // namespace quern::runtime::gpu
