// The function being emitted: where symbols, strides, extents and base pointers come from. Each is put once into the
// entry block, so that all code below may use it. `here` marks where the next statement goes.
#pragma once

#include <map>
#include <unordered_map>

#include "compiler/codegen/cpu/compile_cpu.h"
#include "compiler/codegen/cpu/types.h"

namespace quern::cpu {

/// Number of elements: a constant, or a value of the entry block (then `value` is set and `constant` is 0).
struct Count {
  std::int64_t constant = 0;
  llvm::Value* value = nullptr;
  bool is(std::int64_t n) const { return !value && constant == n; }
};

struct Frame {
  const tile::Module& module;
  const ir::Program& program;
  const ir::ExprPool& pool;
  const CpuOptions& options;
  const Target& target;
  const tile::Kernel* kernel;
  int lanes;
  Builder b;
  llvm::Function* function;
  llvm::Value* args;
  llvm::Value* scratch = nullptr;
  llvm::Instruction* entry_end = nullptr;  // terminator of the entry block
  llvm::Instruction* here = nullptr;       // placeholder at the end of the current block
  llvm::Value* all_lanes = nullptr;        // every bit set, read from memory
  std::unordered_map<ir::IndexId, llvm::Value*> indices;  // block indices in scope

  Frame(const tile::Module& m, const CpuOptions& o, const tile::Kernel* k, llvm::Function* f);

  /// Puts a placeholder terminator at the end of a new block.
  llvm::Instruction* open(llvm::BasicBlock* block);
  llvm::BasicBlock* block(const char* name);

  llvm::Value* symbol(ir::SymbolId id);
  llvm::Value* scalar(ir::ScalarId id);
  /// Base pointer of a tensor's data (for scratch: within this thread's scratch).
  llvm::Value* data(ir::TensorId id);
  /// Stride in elements / extent of an axis.
  Count stride(ir::TensorId id, std::size_t axis);
  Count extent(ir::TensorId id, std::size_t axis);
  llvm::Value* status_pointer();
  /// A mask for stores of 8- and 16-bit elements that no later stage sees as a constant: LLVM 22 turns a truncated masked
  /// store with one lane known to be on into a store of four bytes.
  llvm::Value* opaque_mask(llvm::Value* mask);
  llvm::Value* helper(int field);
  llvm::Value* materialize(const Count& count);
  /// A value over symbols and scalars only, computed in the entry block.
  llvm::Value* entry_value(ir::Expr e);
  Count multiply(const Count& x, const Count& y);
  Count add(const Count& x, const Count& y);
  /// Bytes of scratch of this kernel, after `layout_scratch`.
  Count layout_scratch();

 private:
  std::map<std::pair<int, std::uint64_t>, llvm::Value*> cache_;
  std::map<std::pair<ir::TensorId, std::size_t>, Count> strides_;
  std::map<ir::TensorId, Count> scratch_offsets_;
  std::unordered_map<ir::Expr, llvm::Value*> entry_values_;
  llvm::Value* load_entry(llvm::Value* base, std::int64_t byte_offset, llvm::Type* type, const char* name);
  bool dense(ir::TensorId id) const;
};

}  // namespace quern::cpu
