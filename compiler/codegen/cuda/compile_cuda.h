// tile::Module -> CUDA C++ text and how to launch it. Nothing of CUDA is needed here: the text goes to NVRTC and the
// launches to the driver in runtime/cuda/. The one idea: whatever a kernel needs to know at run time comes in one block of
// 8-byte words whose meaning is listed here, so that a launch is a walk over that list.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/codegen/cpu/compile_cpu.h"
#include "compiler/codegen/cuda/target.h"
#include "compiler/ir/tile.h"

namespace quern::cuda {

/// One 8-byte word of a kernel's parameter block.
struct Word {
  enum Kind : std::uint8_t {
    data,     // address of a tensor's element [0, ..., 0] in device memory; `id` is a TensorId
    stride,   // i64: elements between neighbours along `axis` of tensor `id`
    symbol,   // i64: value of SymbolId `id`
    scalar,   // 8 bytes of ScalarId `id`, as in codegen/cpu/abi.h
    status,   // address of a zeroed cpu::Status in device memory
    slab,     // address of device memory: `slab_bytes` for each block of the grid, 256-byte aligned
    tasks,    // i64: the value of `tasks`
    zeroed,   // address of `zeroed_bytes` of device memory, 256-byte aligned, cleared before the launch
    counter,  // address of 8 bytes of device memory that are 0 before a launch and that it leaves 0; no other launch of the
              // stream's order has them
    mapped,   // i64: bit k is set where tensor map k could be made for the tensor of this call
  };
  Kind kind = data;
  std::uint32_t id = 0;
  int axis = 0;
};

/// A tensor map for copies of boxes by hardware (cuTensorMapEncodeTiled): elements of 1 or 2 bytes, zeros outside.
/// It can be made when the tensor starts on a multiple of 16 bytes, axes[0] has stride 1, all other strides are multiples
/// of 16 bytes and no extent is 0.
struct TensorMap {
  ir::TensorId tensor = 0;
  std::vector<int> axes;           // of the tensor, the fastest first; all of them, 2 to 5. The fastest may come again: pieces of box[0] of it
  std::vector<std::uint32_t> box;  // elements along each
  int element_bytes = 2;
  bool swizzled = true;            // in rows of 128 bytes, exchanged; else rows as long as box[0]
};

/// One launch. Expressions are i64 over the symbols of CudaModule::program.
struct KernelLaunch {
  std::string entry;           // extern "C" name; one parameter: the maps and the words, by value
  int threads = 128;           // of a block
  ir::Expr tasks;              // 0 = nothing to launch; block b does tasks b, b + blocks, ...
  int blocks_per_multiprocessor = 0;  // grid = min(tasks, this x multiprocessors); 0 = one block a task (at most 2^31 - 1)
  ir::Expr shared_bytes;       // dynamic shared memory; beyond 48 KB the kernel's attribute must be raised
  ir::Expr slab_bytes;         // per block; 0 = none
  ir::Expr zeroed_bytes;       // for the whole launch; 0 = none
  std::vector<Word> words;     // at most 500
  std::vector<TensorMap> maps; // 128 bytes each, 64-byte aligned, before the words in the parameter block
};

struct CudaModule {
  ir::Program program;                 // the module's, with the size expressions of the launches in its pool
  std::string text;                    // the whole translation unit; includes nothing
  std::vector<KernelLaunch> launches;  // run in order on one stream
  std::vector<ir::TensorId> workspace; // temps between kernels: dense row-major, shape in `program`, 256-byte aligned
  std::string error;                   // not empty: a fault of the compiler, with what it was doing
};

struct CudaOptions {
  Target target;
  std::vector<cpu::TensorLayout> layouts;  // by TensorId; missing entries = nothing known
};

/// Thread-safe. Never throws on a well-formed module; `error` says what went wrong otherwise.
CudaModule print_cuda(const tile::Module& module, const CudaOptions& options);

}  // namespace quern::cuda
