// What an object made ahead of time knows about a kernel, beside its code: signatures, variants, how they are launched. Written
// into the object by the compiler (build/), read at the first call. The one idea: it holds the checked and the lowered programs
// without their equations, so that binding, checks and messages are those of a kernel compiled at run time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/compile_cuda.h"
#include "dsl/ir/program.h"
#include "runtime/device.h"

namespace quern::runtime::aot {

/// A variant of the code: for one layout of the tensors on one kind of processor. Functions and cubins are named by their
/// place in the object's table (object.h).
struct Variant {
  std::string target;                  // "x86-64-v3", "sm_90a"
  std::vector<Layout> layouts;         // by slot; a call whose tensors are at least so regular may take it
  ir::Program program;                 // lowered: names, types, sizes, no equations
  std::vector<ir::TensorId> workspace;
  std::vector<std::vector<std::uint8_t>> may_share;  // [written slot][read slot]

  // On a CPU.
  std::uint32_t plan = 0;
  std::vector<std::uint32_t> run;
  // On a GPU.
  quern::cuda::Target gpu;
  std::vector<quern::cuda::KernelLaunch> launches;
  std::uint32_t cubin = 0;
  std::uint64_t cubin_bytes = 0;

  bool on_gpu() const { return target.starts_with("sm_"); }
};

/// One choice of compile-time values. Their values stand in `program.symbols`.
struct Case {
  ir::Program program;   // checked, no equations
  std::vector<Variant> variants;
};

struct Image {
  std::vector<Case> cases;   // equal but for values: the same symbols, slots and scalars in the same order
};

/// One variant by itself, for the cache on disk; reading throws as read_image does.
std::string write_variant(const Variant& variant);
Variant read_variant(std::span<const char> bytes);

std::string write_image(const Image& image);
/// Throws Error(unsupported) for the image of another version, Error(internal) for a damaged one.
Image read_image(std::span<const char> bytes);

}  // namespace quern::runtime::aot
