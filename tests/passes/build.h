// A small builder for programs in index form, so that the tests of passes need no text.
#pragma once

#include <string>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::test {

struct Builder {
  ir::Program p;
  ir::ExprPool& pool = p.pool;

  explicit Builder(std::string name) { p.name = std::move(name); }

  ir::Expr size(std::string name, bool compile_time = false, std::optional<std::int64_t> value = {}) {
    p.symbols.push_back({std::move(name), DType::i64, compile_time, value});
    return pool.symbol(static_cast<ir::SymbolId>(p.symbols.size() - 1));
  }
  ir::TensorId tensor(std::string name, DType type, std::vector<ir::Expr> shape, ir::Role role) {
    ir::Tensor t;
    t.name = name;
    t.type = type;
    t.shape = std::move(shape);
    t.role = role;
    const ir::TensorId id = p.add_tensor(t);
    if (role == ir::Role::input) p.parameters.push_back(id), p.parameter_order.push_back(name);
    if (role == ir::Role::output) p.outputs.push_back(id);
    return id;
  }
  ir::TensorId input(std::string name, std::vector<ir::Expr> shape, DType type = DType::f32) {
    return tensor(std::move(name), type, std::move(shape), ir::Role::input);
  }
  ir::TensorId output(std::string name, std::vector<ir::Expr> shape, DType type = DType::f32) {
    return tensor(std::move(name), type, std::move(shape), ir::Role::output);
  }
  ir::TensorId temp(std::string name, std::vector<ir::Expr> shape, DType type = DType::f32) {
    return tensor(std::move(name), type, std::move(shape), ir::Role::temp);
  }
  ir::IndexId index(std::string name, ir::Expr end) { return p.add_index(std::move(name), pool.integer(0), end); }
  ir::Expr at(ir::IndexId i) { return pool.index(i); }
  /// t[i, j, ...] in the type it computes in.
  ir::Expr get(ir::TensorId t, std::vector<ir::Expr> subscripts) {
    const ir::Expr r = pool.read(t, p.tensors[t].type, std::move(subscripts));
    return is_small_float(p.tensors[t].type) ? pool.cast(r, DType::f32) : r;
  }
  ir::Expr get(ir::TensorId t, std::initializer_list<ir::IndexId> indices) {
    std::vector<ir::Expr> subscripts;
    for (ir::IndexId i : indices) subscripts.push_back(at(i));
    return get(t, subscripts);
  }
  ir::Expr reduce(ir::Reducer r, std::vector<ir::IndexId> axes, ir::Expr body, ir::Expr domain = {}) {
    DType type = pool.type(body);
    if (r == ir::Reducer::argmax || r == ir::Reducer::argmin) type = DType::i32;
    if (r == ir::Reducer::count) type = DType::i64;
    return pool.reduce(r, std::move(axes), body, domain, type);
  }
  ir::Expr sum(std::vector<ir::IndexId> axes, ir::Expr body, ir::Expr domain = {}) {
    return reduce(ir::Reducer::sum, std::move(axes), body, domain);
  }
  ir::Expr map(ir::AxisMap m, ir::IndexId axis, ir::Expr body, ir::Expr domain = {}) {
    return pool.map(m, axis, body, domain, m == ir::AxisMap::argsort ? DType::i32 : pool.type(body));
  }
  ir::Expr call(ir::Op op, std::initializer_list<ir::Expr> args) { return pool.apply(op, args); }
  ir::Expr num(double v) { return pool.real(v); }
  /// target[indices] = body
  void set(ir::TensorId target, std::vector<ir::IndexId> indices, ir::Expr body) {
    ir::Equation e;
    e.targets = {target};
    e.indices = indices;
    for (ir::IndexId i : indices) e.subscripts.push_back(at(i));
    e.body = body;
    p.equations.push_back(std::move(e));
  }
};

}  // namespace quern::test
