// Loads of arguments, strides and extents, all in the entry block; layout of the scratch tiles.
#include "compiler/codegen/cpu/frame.h"

#include <cstddef>

#include "compiler/codegen/cpu/elementwise.h"

namespace quern::cpu {

using ir::Op;
using llvm::Value;

Frame::Frame(const tile::Module& m, const CpuOptions& o, const tile::Kernel* k, llvm::Function* f)
    : module(m), program(m.program), pool(m.program.pool), options(o), target(o.target), kernel(k),
      lanes(k ? k->lanes : 1), b(f->getContext()), function(f), args(f->getArg(0)) {
  llvm::BasicBlock* entry = block("entry");
  llvm::BasicBlock* body = block("body");
  b.SetInsertPoint(entry);
  entry_end = b.CreateBr(body);
  here = open(body);
}

llvm::BasicBlock* Frame::block(const char* name) { return llvm::BasicBlock::Create(function->getContext(), name, function); }

llvm::Instruction* Frame::open(llvm::BasicBlock* in) {
  b.SetInsertPoint(in);
  return b.CreateUnreachable();
}

Value* Frame::load_entry(Value* base, std::int64_t byte_offset, llvm::Type* type, const char* name) {
  b.SetInsertPoint(entry_end);
  Value* at = byte_offset ? b.CreateConstInBoundsGEP1_64(b.getInt8Ty(), base, static_cast<std::uint64_t>(byte_offset)) : base;
  return b.CreateLoad(type, at, name);
}

Value* Frame::symbol(ir::SymbolId id) {
  const ir::Symbol& s = program.symbols[id];
  const bool truth = s.type == DType::boolean;
  if (s.value) return truth ? static_cast<Value*>(b.getInt1(*s.value != 0)) : b.getInt64(static_cast<std::uint64_t>(*s.value));
  Value*& v = cache_[{0, id}];
  if (!v) {
    Value*& table = cache_[{1, 0}];
    if (!table) table = load_entry(args, offsetof(Args, symbols), b.getPtrTy(), "symbols");
    v = load_entry(table, 8 * static_cast<std::int64_t>(id), b.getInt64Ty(), "n");
    if (truth) {
      b.SetInsertPoint(entry_end);
      v = b.CreateICmpNE(v, b.getInt64(0));
    }
  }
  return v;
}

Value* Frame::scalar(ir::ScalarId id) {
  Value*& v = cache_[{2, id}];
  if (!v) {
    Value*& table = cache_[{3, 0}];
    if (!table) table = load_entry(args, offsetof(Args, scalars), b.getPtrTy(), "scalars");
    const DType type = program.scalars[id].type;
    // Small floats travel as f32, integers and bool as i64.
    if (is_float(type)) {
      v = load_entry(table, 8 * static_cast<std::int64_t>(id), register_type(b.getContext(), type), "s");
    } else {
      Value* wide = load_entry(table, 8 * static_cast<std::int64_t>(id), b.getInt64Ty(), "s");
      b.SetInsertPoint(entry_end);
      v = type == DType::boolean ? b.CreateICmpNE(wide, b.getInt64(0)) : b.CreateTrunc(wide, register_type(b.getContext(), type));
    }
  }
  return v;
}

Value* Frame::data(ir::TensorId id) {
  Value*& v = cache_[{4, id}];
  if (v) return v;
  if (program.tensors[id].role == ir::Role::scratch) {
    const Count offset = scratch_offsets_.at(id);
    b.SetInsertPoint(entry_end);
    return v = offset.is(0) ? scratch : b.CreateInBoundsGEP(b.getInt8Ty(), scratch, materialize(offset), "tile");
  }
  Value*& table = cache_[{5, 0}];
  if (!table) table = load_entry(args, offsetof(Args, tensors), b.getPtrTy(), "tensors");
  return v = load_entry(table, static_cast<std::int64_t>(sizeof(TensorArg) * id), b.getPtrTy(), "t");
}

bool Frame::dense(ir::TensorId id) const {
  const ir::Role role = program.tensors[id].role;
  if (role == ir::Role::temp || role == ir::Role::scratch) return true;
  return id < options.layouts.size() && options.layouts[id].dense;
}

Count Frame::extent(ir::TensorId id, std::size_t axis) {
  const ir::Expr e = program.tensors[id].shape[axis];
  std::int64_t n = 0;
  if (pool.is_integer_constant(e, &n)) return {n, nullptr};
  Value* v = entry_value(e);
  if (auto* c = llvm::dyn_cast<llvm::ConstantInt>(v)) return {c->getSExtValue(), nullptr};
  return {0, v};
}

Count Frame::stride(ir::TensorId id, std::size_t axis) {
  auto [at, fresh] = strides_.try_emplace({id, axis});
  if (!fresh) return at->second;
  const ir::Tensor& tensor = program.tensors[id];
  Count result;
  if (dense(id)) {
    if (axis + 1 == tensor.shape.size()) {
      result = {1, nullptr};
    } else {
      Count inner = extent(id, axis + 1);
      if (axis + 2 == tensor.shape.size() && tensor.role == ir::Role::scratch) {
        // Rows of a tile are padded to whole vectors.
        if (!inner.value) {
          inner.constant = (inner.constant + lanes - 1) / lanes * lanes;
        } else {
          b.SetInsertPoint(entry_end);
          inner.value = b.CreateAnd(b.CreateAdd(inner.value, b.getInt64(static_cast<std::uint64_t>(lanes - 1))),
                                    b.getInt64(~static_cast<std::uint64_t>(lanes - 1)));
        }
      }
      result = multiply(stride(id, axis + 1), inner);
    }
  } else {
    const auto& known = id < options.layouts.size() ? options.layouts[id].strides : std::vector<StrideClass>{};
    const StrideClass c = axis < known.size() ? known[axis] : StrideClass::any;
    if (c == StrideClass::one) {
      result = {1, nullptr};
    } else if (c == StrideClass::zero) {
      result = {0, nullptr};
    } else {
      Value*& table = cache_[{5, 0}];
      if (!table) table = load_entry(args, offsetof(Args, tensors), b.getPtrTy(), "tensors");
      Value*& list = cache_[{6, id}];
      if (!list) list = load_entry(table, static_cast<std::int64_t>(sizeof(TensorArg) * id + offsetof(TensorArg, strides)), b.getPtrTy(), "strides");
      result = {0, load_entry(list, 8 * static_cast<std::int64_t>(axis), b.getInt64Ty(), "stride")};
    }
  }
  return strides_[{id, axis}] = result;
}

Value* Frame::opaque_mask(Value* mask) {
  const unsigned count = llvm::cast<llvm::FixedVectorType>(mask->getType())->getNumElements();
  if (!all_lanes) {
    Builder first(entry_end);
    first.SetInsertPoint(&function->getEntryBlock(), function->getEntryBlock().begin());
    Value* word = first.CreateAlloca(first.getInt64Ty());
    first.CreateStore(first.getInt64(~std::uint64_t{0}), word, true);
    all_lanes = first.CreateLoad(first.getInt64Ty(), word, true);
  }
  Value* bits = b.CreateTrunc(all_lanes, b.getIntNTy(count));
  return b.CreateAnd(mask, b.CreateBitCast(bits, mask->getType()));
}

Value* Frame::materialize(const Count& count) {
  return count.value ? count.value : b.getInt64(static_cast<std::uint64_t>(count.constant));
}

Count Frame::multiply(const Count& x, const Count& y) {
  if (!x.value && !y.value) return {x.constant * y.constant, nullptr};
  if (x.is(0) || y.is(0)) return {0, nullptr};
  if (x.is(1)) return y;
  if (y.is(1)) return x;
  b.SetInsertPoint(entry_end);
  return {0, b.CreateMul(materialize(x), materialize(y))};
}

Count Frame::add(const Count& x, const Count& y) {
  if (!x.value && !y.value) return {x.constant + y.constant, nullptr};
  if (x.is(0)) return y;
  if (y.is(0)) return x;
  b.SetInsertPoint(entry_end);
  return {0, b.CreateAdd(materialize(x), materialize(y))};
}

Count Frame::layout_scratch() {
  Count total;
  for (ir::TensorId id : kernel->scratch) {
    const ir::Tensor& tensor = program.tensors[id];
    scratch_offsets_[id] = total;
    Count elements = {1, nullptr};
    const std::size_t rank = tensor.shape.size();
    for (std::size_t axis = 0; axis < rank; ++axis) {
      Count n = extent(id, axis);
      if (axis + 1 == rank) n = add(n, {lanes - 1, nullptr});
      elements = multiply(elements, n);
    }
    // A little more than the padded rows need, rounded up to cache lines.
    Count bytes = add(multiply(elements, {static_cast<std::int64_t>(size_of(tensor.type)), nullptr}), {63, nullptr});
    if (!bytes.value) {
      bytes.constant &= ~std::int64_t{63};
    } else {
      b.SetInsertPoint(entry_end);
      bytes.value = b.CreateAnd(bytes.value, b.getInt64(~std::uint64_t{63}));
    }
    total = add(total, bytes);
  }
  return total;
}

Value* Frame::status_pointer() {
  Value*& v = cache_[{7, 0}];
  if (!v) v = load_entry(args, offsetof(Args, status), b.getPtrTy(), "status");
  return v;
}

Value* Frame::helper(int field) {
  Value*& v = cache_[{8, static_cast<std::uint64_t>(field)}];
  if (!v) {
    Value* table = load_entry(args, offsetof(Args, helpers), b.getPtrTy(), "helpers");
    v = load_entry(table, 8 * field, b.getPtrTy(), "helper");
  }
  return v;
}

Value* Frame::entry_value(ir::Expr e) {
  if (auto at = entry_values_.find(e); at != entry_values_.end()) return at->second;
  const ir::Node& node = pool[e];
  Value* v = nullptr;
  switch (node.op) {
    case Op::constant:
      if (is_float(node.type)) {
        double d = 0;
        pool.is_real_constant(e, &d);
        v = llvm::ConstantFP::get(register_type(b.getContext(), node.type), d);
      } else {
        std::int64_t n = 0;
        pool.is_integer_constant(e, &n);
        v = llvm::ConstantInt::getSigned(b.getInt64Ty(), n);
        if (node.type != DType::i64) v = b.CreateTrunc(v, register_type(b.getContext(), node.type));
      }
      break;
    case Op::symbol: v = symbol(static_cast<ir::SymbolId>(node.payload)); break;
    case Op::scalar: v = scalar(static_cast<ir::ScalarId>(node.payload)); break;
    case Op::cast: {
      Value* x = entry_value(node.args[0]);
      b.SetInsertPoint(entry_end);
      v = (node.flags & ir::kAllowed) ? convert(b, target, x, pool.type(node.args[0]), DType::f32)
                                      : convert(b, target, x, pool.type(node.args[0]), node.type);
      break;
    }
    default: {
      std::vector<Value*> values;
      for (ir::Expr a : node.args) values.push_back(entry_value(a));
      const DType type = pool.type(node.args.back());
      b.SetInsertPoint(entry_end);
      v = elementwise(b, target, node.op, is_small_float(type) ? DType::f32 : type, values);
    }
  }
  return entry_values_[e] = v;
}

}  // namespace quern::cpu
