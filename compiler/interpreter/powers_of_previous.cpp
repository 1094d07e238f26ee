// Products of sums are multiplied out wherever `prev` is in them; what is free of it stays one coefficient.
#include "compiler/interpreter/powers_of_previous.h"

namespace quern::interpreter {

using namespace ir;

std::vector<Expr> powers_of_previous(ExprPool& pool, Expr term, const std::function<bool(Expr)>& recurrent) {
  if (!recurrent(term)) return {term};
  const Node n = pool[term];
  auto of = [&](std::size_t k) { return powers_of_previous(pool, n.args[k], recurrent); };
  auto each = [&](std::size_t k, const std::function<Expr(Expr)>& change) {
    std::vector<Expr> out = of(k);
    for (Expr& e : out) e = change(e);
    return out;
  };
  auto products = [&](const std::vector<Expr>& left, const std::vector<Expr>& right) {
    std::vector<Expr> out;
    for (Expr a : left)
      for (Expr b : right) out.push_back(pool.mul(a, b));
    return out;
  };
  switch (n.op) {
    case Op::neg: return of(0);  // sizes alone matter
    case Op::add:
    case Op::sub: {
      std::vector<Expr> out = of(0);
      for (Expr e : of(1)) out.push_back(e);
      return out;
    }
    case Op::mul: return products(of(0), of(1));
    case Op::div: return each(0, [&](Expr e) { return pool.div(e, n.args[1]); });
    case Op::pow: {
      double k = 1;
      pool.is_real_constant(n.args[1], &k);
      std::vector<Expr> out = of(0);
      for (int i = 1; i < static_cast<int>(k); ++i) out = products(out, of(0));
      return out;
    }
    case Op::cast: return each(0, [&](Expr e) { return pool.cast(e, n.type, n.flags); });
    case Op::where: {
      const Expr none = pool.real(0, n.type);
      std::vector<Expr> out = each(1, [&](Expr e) { return pool.where(n.args[0], e, none); });
      for (Expr e : each(2, [&](Expr x) { return pool.where(n.args[0], none, x); })) out.push_back(e);
      return out;
    }
    default: return {term};
  }
}

}  // namespace quern::interpreter
