// The operator table made usable: names, rows, and integer constant folding.
#include "dsl/ir/operators.h"

#include <array>
#include <limits>

namespace quern::ir {
namespace {

constexpr OperatorInfo kOperators[] = {
#define QUERN_OP(name, arity, rule, infix) {#name, arity, TypeRule::rule, infix},
#include "dsl/ir/operators.def"
};
constexpr std::size_t kOperatorCount = std::size(kOperators);

constexpr std::string_view kForms[] = {"constant", "index", "symbol", "scalar", "prev",  "accumulator", "read",
                                       "cast",     "reduce", "map",   "scan",   "topk_value", "topk_position"};
constexpr std::string_view kReducers[] = {"sum",    "prod",  "max",  "min", "any", "all",  "argmax",
                                          "argmin", "count", "mean", "var", "std", "norm", "logsumexp"};
constexpr std::string_view kAxisMaps[] = {"softmax", "log_softmax", "cumsum", "cumprod", "cummax", "cummin", "sort", "argsort"};

std::string_view spelled(std::string_view row) { return row.ends_with('_') ? row.substr(0, row.size() - 1) : row; }

}  // namespace

bool is_elementwise(Op op) { return op >= Op::neg; }

const OperatorInfo& info(Op op) { return kOperators[static_cast<std::size_t>(op) - static_cast<std::size_t>(Op::neg)]; }

std::string_view name(Op op) {
  return is_elementwise(op) ? spelled(info(op).name) : kForms[static_cast<std::size_t>(op)];
}
std::string_view name(Reducer reducer) { return kReducers[static_cast<std::size_t>(reducer)]; }
std::string_view name(AxisMap map) { return kAxisMaps[static_cast<std::size_t>(map)]; }

std::optional<Op> operator_from_name(std::string_view text) {
  for (std::size_t i = 0; i < kOperatorCount; ++i)
    if (spelled(kOperators[i].name) == text) return static_cast<Op>(i + static_cast<std::size_t>(Op::neg));
  return std::nullopt;
}
std::optional<Reducer> reducer_from_name(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kReducers); ++i)
    if (kReducers[i] == text) return static_cast<Reducer>(i);
  return std::nullopt;
}
std::optional<AxisMap> axis_map_from_name(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kAxisMaps); ++i)
    if (kAxisMaps[i] == text) return static_cast<AxisMap>(i);
  return std::nullopt;
}

std::optional<std::int64_t> fold_integer(Op op, std::span<const std::int64_t> args, DType type) {
  const std::int64_t a = args[0];
  const std::int64_t b = args.size() > 1 ? args[1] : 0;
  const auto ua = static_cast<std::uint64_t>(a);
  const auto ub = static_cast<std::uint64_t>(b);
  auto wrap = [&](std::uint64_t v) { return wrapped_to(type, static_cast<std::int64_t>(v)); };
  switch (op) {
    case Op::neg: return wrap(0 - ua);
    case Op::abs: return a < 0 ? wrap(0 - ua) : a;
    case Op::sign: return (a > 0) - (a < 0);
    case Op::relu: return a > 0 ? a : 0;
    case Op::floor: case Op::ceil: case Op::round: case Op::trunc: return a;
    case Op::add: return wrap(ua + ub);
    case Op::sub: return wrap(ua - ub);
    case Op::mul: return wrap(ua * ub);
    case Op::floordiv: {
      if (b == 0) return 0;
      if (b == -1) return wrap(0 - ua);
      const std::int64_t q = a / b;
      return (a % b != 0 && ((a < 0) != (b < 0))) ? q - 1 : q;
    }
    case Op::mod: {
      if (b == 0 || b == -1) return 0;
      const std::int64_t r = a % b;
      return (r != 0 && ((r < 0) != (b < 0))) ? r + b : r;
    }
    case Op::min: return a < b ? a : b;
    case Op::max: return a > b ? a : b;
    case Op::eq: return a == b;
    case Op::ne: return a != b;
    case Op::lt: return a < b;
    case Op::le: return a <= b;
    case Op::gt: return a > b;
    case Op::ge: return a >= b;
    case Op::not_: return a == 0;
    case Op::and_: return a != 0 && b != 0;
    case Op::or_: return a != 0 || b != 0;
    case Op::where: return a != 0 ? b : args[2];
    case Op::fma: return wrap(ua * ub + static_cast<std::uint64_t>(args[2]));
    default: return std::nullopt;
  }
}

}  // namespace quern::ir
