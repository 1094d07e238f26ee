// Counts arithmetic and bytes of a checked program. Equations are walked last to first, so that what reads a tensor has
// told which share of it is needed before that tensor's own equation is counted: behind a causal mask, half of the scores.
#include "tools/command/work.h"

#include <algorithm>
#include <map>
#include <set>

namespace quern::command {
namespace {

class Counter {
 public:
  Counter(const ir::Program& program, Bindings at) : program_(program), at_(std::move(at)), needed_(program.tensors.size(), 0) {
    for (ir::TensorId output : program.outputs) needed_[output] = 1;
    for (std::size_t t = 0; t < program.tensors.size(); ++t) {
      if (program.tensors[t].role == ir::Role::output) needed_[t] = 1;
    }
  }

  Work run() {
    for (auto equation = program_.equations.rbegin(); equation != program_.equations.rend(); ++equation) {
      double share = 0;
      for (ir::TensorId target : equation->targets) share = std::max(share, needed_[target]);
      seen_.clear();
      visit(equation->body, {}, share);
      if (equation->op != ir::AssignOp::set) work_.operations += share * points({equation->indices.begin(), equation->indices.end()});
    }
    for (const ir::Tensor& tensor : program_.tensors) {
      double bytes = static_cast<double>(size_of(tensor.type));
      for (ir::Expr extent : tensor.shape) bytes *= std::max(0.0, evaluate_real(program_, extent, at_).value_or(0));
      if (tensor.role == ir::Role::input) work_.bytes_read += bytes;
      if (tensor.role == ir::Role::output) work_.bytes_written += bytes;
    }
    return work_;
  }

 private:
  using Conditions = std::vector<ir::Expr>;

  double points(const std::set<ir::IndexId>& indices) {
    double result = 1;
    for (ir::IndexId i : indices) {
      const ir::Index& index = program_.indices[i];
      const double begin = evaluate_real(program_, index.begin, at_).value_or(0);
      result *= std::max(0.0, evaluate_real(program_, index.end, at_).value_or(0) - begin);
    }
    return result;
  }

  std::set<ir::IndexId> free_of(ir::Expr e, const std::vector<ir::IndexId>& axes = {}) {
    const auto& free = program_.pool.free_indices(e);
    std::set<ir::IndexId> result(free.begin(), free.end());
    result.insert(axes.begin(), axes.end());
    return result;
  }

  /// Share of the points of the conditions' own indices at which all of them hold.
  double alive(const Conditions& conditions) {
    if (conditions.empty()) return 1;
    const auto known = shares_.find(conditions);
    if (known != shares_.end()) return known->second;
    std::set<ir::IndexId> indices;
    for (ir::Expr c : conditions) indices.merge(free_of(c));
    const double total = points(indices);
    double result = 1;
    if (total > 0) {
      constexpr double kAll = 1 << 18;
      const auto samples = static_cast<std::int64_t>(std::min(total, kAll));
      std::int64_t held = 0;
      std::uint64_t state = 1;
      for (std::int64_t s = 0; s < samples; ++s) {
        std::int64_t rest = s;
        for (ir::IndexId i : indices) {
          const std::int64_t begin = evaluate_integer(program_, program_.indices[i].begin, at_).value_or(0);
          const std::int64_t extent = evaluate_integer(program_, program_.indices[i].end, at_).value_or(0) - begin;
          // Every point where there are few, otherwise points drawn at random.
          if (total <= kAll) {
            at_.indices[i] = begin + rest % extent;
            rest /= extent;
          } else {
            state = state * 6364136223846793005u + 1442695040888963407u;
            at_.indices[i] = begin + static_cast<std::int64_t>((static_cast<unsigned __int128>(state) * static_cast<std::uint64_t>(extent)) >> 64);
          }
        }
        bool all = true;
        for (ir::Expr c : conditions) all = all && evaluate_integer(program_, c, at_).value_or(1) != 0;
        held += all;
      }
      result = static_cast<double>(held) / static_cast<double>(samples);
    }
    return shares_[conditions] = result;
  }

  static Conditions with(Conditions conditions, ir::Expr condition) {
    if (std::find(conditions.begin(), conditions.end(), condition) == conditions.end()) conditions.push_back(condition);
    return conditions;
  }

  void visit(ir::Expr e, const Conditions& conditions, double share) {
    // One value, one cost; under other conditions it is counted again only if it was not needed everywhere before.
    if (!seen_.insert(e).second) return;
    const ir::Node& node = program_.pool[e];
    const double count = share * alive(conditions);
    switch (node.op) {
      case ir::Op::read: {
        const auto tensor = static_cast<std::size_t>(node.payload);
        needed_[tensor] = std::max(needed_[tensor], count);
        for (ir::Expr arg : node.args) visit(arg, conditions, share);
        return;
      }
      case ir::Op::reduce: reduction(node, conditions, share); return;
      case ir::Op::map: {
        const Conditions inner = program_.pool.is_true(node.args[1]) ? conditions : with(conditions, node.args[1]);
        // Elementwise part of each map: softmax is a maximum, a subtraction, an exp, a sum and a division.
        const auto map = static_cast<ir::AxisMap>(node.payload);
        const int each = map == ir::AxisMap::softmax || map == ir::AxisMap::log_softmax ? 5 : 1;
        work_.operations += each * share * alive(inner) * points(free_of(e, node.axes));
        visit(node.args[0], inner, share);
        return;
      }
      case ir::Op::scan:
      case ir::Op::topk_value:
      case ir::Op::topk_position:
        work_.operations += count * points(free_of(e, node.axes));
        for (ir::Expr arg : node.args) visit(arg, conditions, share);
        return;
      case ir::Op::where:
        visit(node.args[0], conditions, share);
        visit(node.args[1], with(conditions, node.args[0]), share);
        visit(node.args[2], conditions, share);
        return;
      default: break;
    }
    if (ir::is_elementwise(node.op) && is_float(program_.pool.type(node.args[0]))) {
      if (node.type == DType::f64) work_.double_precision = true;
      work_.operations += (node.op == ir::Op::fma ? 2 : node.op == ir::Op::neg ? 0 : 1) * count * points(free_of(e));
    }
    for (ir::Expr arg : node.args) visit(arg, conditions, share);
  }

  void reduction(const ir::Node& node, const Conditions& conditions, double share) {
    ir::Expr body = node.args[0];
    Conditions inner = program_.pool.is_true(node.args[1]) ? conditions : with(conditions, node.args[1]);
    // Where a guard leaves the neutral element there is nothing to combine: where(n <= m, w * v, 0) in a sum.
    for (;;) {
      const ir::Node& outer = program_.pool[body];
      if (outer.op == ir::Op::where && program_.pool.is_constant(outer.args[2])) {
        inner = with(inner, outer.args[0]);
        body = outer.args[1];
      } else if (outer.op == ir::Op::cast) {
        body = outer.args[0];
      } else {
        break;
      }
    }
    const double terms = share * alive(inner) * points(free_of(body, node.axes));
    const ir::Node& inside = program_.pool[body];
    const auto reducer = static_cast<ir::Reducer>(node.payload);
    if (is_float(node.type)) {
      work_.operations += terms;
      if (node.type == DType::f64) work_.double_precision = true;
    }
    if (reducer == ir::Reducer::sum && (inside.op == ir::Op::mul || inside.op == ir::Op::pow)) work_.multiply_adds += terms;
    visit(body, inner, share);
  }

  const ir::Program& program_;
  Bindings at_;
  std::vector<double> needed_;  // by tensor: share of its elements that something reads
  std::set<ir::Expr> seen_;
  std::map<Conditions, double> shares_;
  Work work_;
};

}  // namespace

Work count_work(const ir::Program& program, const Bindings& at) { return Counter(program, at).run(); }

}  // namespace quern::command
