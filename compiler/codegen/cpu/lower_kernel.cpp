// Statements of a kernel: in, a tile::Kernel; out, `run` with its loop over tasks, and `plan`, which evaluates task
// counts and memory sizes from the symbols. Nests are in nest.cpp; this file holds the control flow around them.
#include "compiler/codegen/cpu/lower_kernel.h"

#include <cstddef>
#include <functional>

#include "compiler/codegen/cpu/frame.h"
#include "compiler/codegen/cpu/nest.h"

namespace quern::cpu {

using llvm::BasicBlock;
using llvm::Value;

namespace {

llvm::Function* new_function(llvm::Module& out, const std::string& symbol, std::vector<llvm::Type*> parameters, const Target& target) {
  llvm::LLVMContext& c = out.getContext();
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(c), parameters, false);
  auto* function = llvm::Function::Create(type, llvm::Function::ExternalLinkage, symbol, out);
  function->setDoesNotThrow();
  function->setDSOLocal(true);
  const std::string bits = std::to_string(8 * target.vector_bytes);
  function->addFnAttr("prefer-vector-width", bits);
  function->addFnAttr("min-legal-vector-width", bits);
  return function;
}

/// (end - begin) / step rounded up, at least 0.
Value* block_count(Frame& f, Value* begin, Value* end, std::int64_t step) {
  Builder& b = f.b;
  Value* span = b.CreateSub(end, begin);
  Value* count = step == 1 ? span : b.CreateSDiv(b.CreateAdd(span, b.getInt64(static_cast<std::uint64_t>(step - 1))), b.getInt64(static_cast<std::uint64_t>(step)));
  return b.CreateSelect(b.CreateICmpSGT(span, b.getInt64(0)), count, b.getInt64(0));
}

struct Counted {
  Value* value;
  BasicBlock* after;
  llvm::PHINode* index;
};

/// for (i = begin; i < end; i += step) inside(i), at f.here.
void counted_loop(Frame& f, Value* begin, Value* end, std::int64_t step, const std::function<void(Value*)>& inside) {
  Builder& b = f.b;
  BasicBlock* loop = f.block("for");
  BasicBlock* after = f.block("done");
  b.SetInsertPoint(f.here);
  Value* some = b.CreateICmpSLT(begin, end);
  auto* enter = b.CreateCondBr(some, loop, after);
  f.here->eraseFromParent();
  b.SetInsertPoint(loop);
  auto* index = b.CreatePHI(b.getInt64Ty(), 2, "b");
  index->addIncoming(begin, enter->getParent());
  f.here = f.open(loop);
  inside(index);
  b.SetInsertPoint(f.here);
  Value* next = b.CreateAdd(index, b.getInt64(static_cast<std::uint64_t>(step)));
  auto* back = b.CreateCondBr(b.CreateICmpSLT(next, end), loop, after);
  f.here->eraseFromParent();
  index->addIncoming(next, back->getParent());
  f.here = f.open(after);
}

void emit_block(Frame& f, const tile::Block& block);

void emit_if(Frame& f, const tile::If& s) {
  Builder& b = f.b;
  Value* condition = emit_uniform(f, s.condition);
  BasicBlock* yes = f.block("then");
  BasicBlock* no = s.else_block.empty() ? nullptr : f.block("else");
  BasicBlock* join = f.block("endif");
  b.SetInsertPoint(f.here);
  b.CreateCondBr(condition, yes, no ? no : join);
  f.here->eraseFromParent();
  auto branch = [&](BasicBlock* at, const tile::Block& body) {
    f.here = f.open(at);
    emit_block(f, body);
    b.SetInsertPoint(f.here);
    b.CreateBr(join);
    f.here->eraseFromParent();
  };
  branch(yes, s.then_block);
  if (no) branch(no, s.else_block);
  f.here = f.open(join);
}

void emit_select(Frame& f, const tile::Select& s) {
  Builder& b = f.b;
  Value* extent = emit_uniform(f, s.extent);
  Value* k = emit_uniform(f, s.k);
  Value* row = f.data(s.source);
  Value* none = llvm::ConstantPointerNull::get(b.getPtrTy());
  Value* values = s.want_values ? f.data(s.values) : none;
  Value* positions = s.want_positions ? f.data(s.positions) : none;
  Value* live = s.has_live ? f.data(s.live) : none;
  Value* call = f.helper(0);
  b.SetInsertPoint(f.here);
  llvm::Type* i32 = b.getInt32Ty();
  llvm::Type* i64 = b.getInt64Ty();
  llvm::Type* ptr = b.getPtrTy();
  auto* type = llvm::FunctionType::get(b.getVoidTy(), {i32, ptr, ptr, i64, i64, i32, ptr, ptr}, false);
  b.CreateCall(type, call, {b.getInt32(static_cast<std::uint32_t>(f.program.tensors[s.source].type)), row, live, extent, k,
                            b.getInt32(s.sort ? 1 : 0), values, positions});
}

void emit_block(Frame& f, const tile::Block& block) {
  for (const tile::Statement& statement : block) {
    if (const auto* nest = std::get_if<tile::Nest>(&statement.node)) {
      emit_nest(f, *nest);
    } else if (const auto* loop = std::get_if<tile::For>(&statement.node)) {
      Value* begin = emit_uniform(f, loop->begin);
      Value* end = emit_uniform(f, loop->end);
      counted_loop(f, begin, end, loop->step, [&](Value* index) {
        f.indices[loop->index] = index;
        emit_block(f, loop->body);
        f.indices.erase(loop->index);
      });
    } else if (const auto* choice = std::get_if<tile::If>(&statement.node)) {
      emit_if(f, *choice);
    } else {
      emit_select(f, std::get<tile::Select>(statement.node));
    }
  }
}

void close(Frame& f) {
  f.b.SetInsertPoint(f.here);
  f.b.CreateRetVoid();
  f.here->eraseFromParent();
}

}  // namespace

void lower_kernel(llvm::Module& out, const tile::Module& module, const CpuOptions& options, const tile::Kernel& kernel,
                  const std::string& symbol) {
  llvm::LLVMContext& c = out.getContext();
  llvm::Type* ptr = llvm::PointerType::getUnqual(c);
  llvm::Type* i64 = llvm::Type::getInt64Ty(c);
  llvm::Function* function = new_function(out, symbol, {ptr, i64, i64, ptr}, options.target);
  Frame f(module, options, &kernel, function);
  f.scratch = function->getArg(3);
  function->addParamAttr(3, llvm::Attribute::NoAlias);
  f.layout_scratch();
  std::vector<Value*> begins, counts;
  for (const tile::GridDim& g : kernel.grid) {
    Value* begin = f.entry_value(g.begin);
    Value* end = f.entry_value(g.end);
    f.b.SetInsertPoint(f.entry_end);
    begins.push_back(begin);
    counts.push_back(block_count(f, begin, end, g.step));
  }
  counted_loop(f, function->getArg(1), function->getArg(2), 1, [&](Value* task) {
    Builder& b = f.b;
    Value* rest = task;
    b.SetInsertPoint(f.here);
    for (std::size_t i = kernel.grid.size(); i-- > 0;) {
      Value* at = rest;
      if (i > 0) {
        at = b.CreateURem(rest, counts[i]);
        rest = b.CreateUDiv(rest, counts[i]);
      }
      const std::int64_t step = kernel.grid[i].step;
      if (step != 1) at = b.CreateMul(at, b.getInt64(static_cast<std::uint64_t>(step)));
      f.indices[kernel.grid[i].index] = b.CreateAdd(begins[i], at);
    }
    emit_block(f, kernel.body);
  });
  close(f);
}

void lower_plan(llvm::Module& out, const tile::Module& module, const CpuOptions& options, const std::string& symbol) {
  llvm::Type* ptr = llvm::PointerType::getUnqual(out.getContext());
  llvm::Function* function = new_function(out, symbol, {ptr, ptr}, options.target);
  Frame f(module, options, nullptr, function);
  Builder& b = f.b;
  auto list = [&](std::size_t offset) {
    b.SetInsertPoint(f.entry_end);
    return b.CreateLoad(b.getPtrTy(), b.CreateConstInBoundsGEP1_64(b.getInt8Ty(), function->getArg(1), offset));
  };
  auto put = [&](Value* to, std::size_t i, Value* value) {
    b.SetInsertPoint(f.entry_end);
    b.CreateStore(value, b.CreateConstInBoundsGEP1_64(b.getInt64Ty(), to, i));
  };
  Value* tasks = list(offsetof(Plan, tasks));
  Value* bytes = list(offsetof(Plan, scratch_bytes));
  Value* elements = list(offsetof(Plan, workspace_elements));
  for (std::size_t k = 0; k < module.kernels.size(); ++k) {
    const tile::Kernel& kernel = module.kernels[k];
    f.kernel = &kernel;
    f.lanes = kernel.lanes;
    Value* count = b.getInt64(1);
    for (const tile::GridDim& g : kernel.grid) {
      Value* begin = f.entry_value(g.begin);
      Value* end = f.entry_value(g.end);
      b.SetInsertPoint(f.entry_end);
      count = b.CreateMul(count, block_count(f, begin, end, g.step));
    }
    put(tasks, k, count);
    const Count size = f.layout_scratch();
    put(bytes, k, f.materialize(size));
  }
  for (std::size_t w = 0; w < module.workspace.size(); ++w) {
    Count n{1, nullptr};
    for (std::size_t axis = 0; axis < module.program.tensors[module.workspace[w]].shape.size(); ++axis) {
      n = f.multiply(n, f.extent(module.workspace[w], axis));
    }
    put(elements, w, f.materialize(n));
  }
  close(f);
}

}  // namespace quern::cpu
