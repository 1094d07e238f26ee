// Builds tile modules by hand, compiles and runs them on arrays.
#pragma once

#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "compiler/codegen/cpu/compile_cpu.h"
#include "compiler/codegen/cpu/load_object.h"

namespace quern::cpu::test {

using ir::Expr;
using ir::IndexId;
using ir::Op;
using ir::Reducer;
using ir::Role;
using ir::TensorId;
using tile::Dim;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

struct Bench {
  tile::Module module;
  CpuOptions options;
  std::vector<std::vector<std::int64_t>> strides;
  std::vector<void*> data;
  std::vector<std::int64_t> symbols;
  std::vector<std::int64_t> scalars;
  Status status{};
  CompiledCpu compiled;
  std::unique_ptr<LoadedCpu> code;
  std::vector<char> scratch;
  std::vector<std::vector<char>> workspace;

  Bench() {
    module.kernels.emplace_back();
    kernel().name = "k0";
  }
  ir::Program& program() { return module.program; }
  ir::ExprPool& pool() { return module.program.pool; }
  tile::Kernel& kernel() { return module.kernels[0]; }

  Expr n(std::int64_t v) { return pool().integer(v); }
  Expr r(double v, DType t = DType::f32) { return pool().real(v, t); }
  Expr symbol(const char* name, std::int64_t value) {
    program().symbols.push_back({name, DType::i64, false, {}});
    symbols.push_back(value);
    return pool().symbol(static_cast<ir::SymbolId>(program().symbols.size() - 1));
  }
  IndexId index(Expr begin, Expr end) { return program().add_index("i", begin, end); }
  Expr ix(IndexId i) { return pool().index(i); }

  /// Dense unless strides are given.
  TensorId tensor(DType type, std::vector<Expr> shape, Role role, void* at = nullptr, std::vector<std::int64_t> stride = {},
                  TensorLayout layout = {}) {
    ir::Tensor t;
    t.name = "t";
    t.type = type;
    t.shape = shape;
    t.role = role;
    const TensorId id = program().add_tensor(std::move(t));
    data.resize(id + 1);
    strides.resize(id + 1);
    options.layouts.resize(id + 1);
    data[id] = at;
    strides[id] = stride;
    if (stride.empty()) layout.dense = true;
    options.layouts[id] = layout;
    if (role == Role::scratch) kernel().scratch.push_back(id);
    if (role == Role::temp) module.workspace.push_back(id);
    return id;
  }
  Expr read(TensorId t, std::vector<Expr> subscripts, bool checked = false) {
    return pool().read(t, program().tensors[t].type, std::move(subscripts), checked);
  }
  void add(Nest nest) { kernel().body.push_back({std::move(nest)}); }

  void compile() {
    if (kernel().lanes == 16 && options.target.vector_bytes != 64) kernel().lanes = options.target.lanes(4);
    compiled = compile_cpu(module, options);
    if (!compiled.error.empty()) throw std::runtime_error(compiled.error + "\n" + compiled.ir);
    std::string error;
    code = load_object(compiled.object, compiled.plan_symbol, compiled.run_symbols, &error);
    if (!code) throw std::runtime_error(error);
  }
  Args args_;
  std::vector<TensorArg> tensors_;
  std::vector<std::int64_t> tasks;
  void prepare() {
    if (!code) compile();
    tensors_.clear();
    for (std::size_t i = 0; i < data.size(); ++i) tensors_.push_back({data[i], strides[i].data()});
    args_ = {tensors_.data(), symbols.data(), scalars.data(), &status, &default_helpers()};
    const std::size_t kernels = module.kernels.size();
    tasks.assign(kernels, 0);
    std::vector<std::int64_t> bytes(kernels), elements(module.workspace.size());
    Plan plan{tasks.data(), bytes.data(), elements.data()};
    code->plan()(&args_, &plan);
    std::int64_t most = 64;
    for (std::int64_t b : bytes) most = std::max(most, b);
    scratch.assign(static_cast<std::size_t>(most) + 64, static_cast<char>(0xFF));
    workspace.clear();
    for (std::size_t w = 0; w < module.workspace.size(); ++w) {
      const TensorId id = module.workspace[w];
      workspace.emplace_back(static_cast<std::size_t>(elements[w]) * size_of(program().tensors[id].type) + 64, static_cast<char>(0xFF));
      tensors_[id].data = workspace.back().data();
    }
  }
  void run_prepared() {
    void* at = scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64) % 64;
    for (std::size_t k = 0; k < module.kernels.size(); ++k) code->run(k)(&args_, 0, tasks[k], at);
  }
  void run() {
    prepare();
    run_prepared();
  }
};

inline Update store(TensorId t, std::vector<Expr> subscripts, Expr body) {
  Update u;
  u.kind = UpdateKind::store;
  u.target = t;
  u.subscripts = std::move(subscripts);
  u.body = body;
  return u;
}
inline Update reduce(Reducer reducer, TensorId t, std::vector<Expr> subscripts, std::vector<IndexId> over, Expr body) {
  Update u;
  u.kind = UpdateKind::reduce;
  u.reducer = reducer;
  u.target = t;
  u.subscripts = std::move(subscripts);
  u.over = std::move(over);
  u.body = body;
  return u;
}

}  // namespace quern::cpu::test
