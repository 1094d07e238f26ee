// What a nest does at a point, and what becomes of its sums: stores, scatters, steps of scans, accumulation; teams combine
// their sums by shuffles, or through shared memory where they span warps; one thread then stores the result.
#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

namespace {

bool has_position(Reducer r) { return r == Reducer::argmax || r == Reducer::argmin; }

bool recurs(const ExprPool& pool, Expr e) {
  bool found = false;
  compiler::for_each_node(pool, e, [&](Expr at) { found |= pool[at].op == Op::previous; });
  return found;
}

}  // namespace

DType KernelPrinter::accumulator_type(const Update& u) const {
  auto plain = [](DType t) { return is_small_float(t) ? DType::f32 : t; };
  if (u.reducer == Reducer::any || u.reducer == Reducer::all) return DType::boolean;
  if (u.start) return plain(pool_.type(u.start));
  DType found = plain(pool_.type(u.body));
  if (u.result)
    compiler::for_each_node(pool_, u.result, [&](Expr at) {
      if (pool_[at].op == Op::accumulator && pool_[at].payload == 0) found = pool_[at].type;
    });
  return found;
}

std::string KernelPrinter::identity(Reducer reducer, DType type) {
  const Reducer plain = reducer == Reducer::argmax ? Reducer::max : reducer == Reducer::argmin ? Reducer::min : reducer;
  return value(compiler::identity_of(pool_, plain, type));
}

std::string KernelPrinter::combined(const Update& u, DType type, const std::string& a, const std::string& b) const {
  const std::vector<std::string> args{a, b};
  switch (u.reducer) {
    case Reducer::sum: return apply_text(Op::add, type, type, args);
    case Reducer::prod: return apply_text(Op::mul, type, type, args);
    case Reducer::max: return apply_text(Op::max, type, type, args);
    case Reducer::min: return apply_text(Op::min, type, type, args);
    case Reducer::any: return a + " || " + b;
    case Reducer::all: return a + " && " + b;
    default: throw std::logic_error("a composite reducer reached the code generator");
  }
}

void KernelPrinter::begin_sums(const Nest& nest, std::vector<Accumulation>& sums, int vector) {
  sums.clear();
  for (std::size_t i = 0; i < nest.updates.size(); ++i) {
    const Update& u = nest.updates[i];
    if (u.kind != UpdateKind::reduce && u.kind != UpdateKind::scan) continue;
    Accumulation sum;
    sum.update = i;
    sum.type = accumulator_type(u);
    sum.stem = fresh("sum");
    sum.value = vector > 1 ? sum.stem + "[e]" : sum.stem;
    const bool scan = u.kind == UpdateKind::scan;
    const std::string from = scan && u.start ? cast_text(pool_.type(u.start), sum.type, value(u.start)) : identity(u.reducer, sum.type);
    const std::string at = has_position(u.reducer) ? fresh("at") : "";
    if (vector > 1) {
      line(fmt::format("{} {}[{}];", value_type(sum.type), sum.stem, vector));
      if (!at.empty()) line(fmt::format("int {}[{}];", at, vector));
      line("#pragma unroll");
      line(fmt::format("for (int e = 0; e < {}; ++e) {} = {};", vector, sum.value, from));
      if (!at.empty()) line("#pragma unroll");
      if (!at.empty()) line(fmt::format("for (int e = 0; e < {}; ++e) {}[e] = -1;", vector, at));
    } else {
      line(fmt::format("{} {} = {};", value_type(sum.type), sum.value, from));
      if (!at.empty()) line(fmt::format("int {} = -1;", at));
    }
    if (!at.empty()) sum.position = vector > 1 ? at + "[e]" : at;
    sums.push_back(sum);
  }
}

/// From here on, best-of pairs along `along` are compared a vector at a time: the best vector is kept whole, and where in it the
/// best value stands is asked once, behind the walk (end_best_vectors).
void KernelPrinter::begin_best_vectors(const Nest& nest, IndexId along, int vector, std::vector<Accumulation>& sums) {
  for (Accumulation& s : sums) {
    const Update& u = nest.updates[s.update];
    if (s.position.empty() || u.domain || !steps_with(pool_, u.position, along)) continue;
    s.kept = fresh("kept");
    s.seen = fresh("seen");
    line(fmt::format("{} {}[{}];", value_type(s.type), s.kept, vector));
  }
}

void KernelPrinter::end_best_vectors(std::vector<Accumulation>& sums) {
  for (Accumulation& s : sums) {
    if (s.kept.empty()) continue;
    line(fmt::format("quern_first_best({}, {}, {});", s.value, s.position, s.kept));
    s.kept.clear();
  }
}

void KernelPrinter::scan_step(const Update& u, const Accumulation& sum) {
  previous_ = sum.value;
  const int guards = open_domain(u.domain);
  scopes_.emplace_back();
  const std::string x = cast_text(pool_.type(u.body), sum.type, value(u.body));
  line(fmt::format("{} = {};", sum.value, recurs(pool_, u.body) ? x : combined(u, sum.type, sum.value, x)));
  scopes_.pop_back();
  close_domain(guards);
  previous_.clear();
  accumulator_[0] = sum.value;
  scopes_.emplace_back();
  store(u.target, u.subscripts, u.result ? value(u.result) : sum.value, u.result ? pool_.type(u.result) : sum.type);
  scopes_.pop_back();
  accumulator_[0].clear();
}

void KernelPrinter::scatter(const Update& u) {
  const DType type = program_.tensors[u.target].type;
  std::string offset;
  if (u.checked) {
    const CheckedAccess access = checked_access(u.target, u.subscripts);
    offset = access.offset;
    open(fmt::format("if ({})", access.good));
  } else {
    offset = offset_text(u.target, u.subscripts);
  }
  scopes_.emplace_back();
  const std::string x = cast_text(pool_.type(u.body), type, value(u.body));
  line(atomic_text(u.reducer, type, fmt::format("{} + {}", tensor_pointer(u.target), offset), x) + ";");
  scopes_.pop_back();
  if (u.checked) close();
}

/// One point of the nest: every update in turn.
void KernelPrinter::at_point(const Nest& nest, std::vector<Accumulation>& sums) {
  for (std::size_t i = 0; i < nest.updates.size(); ++i) {
    const Update& u = nest.updates[i];
    open("");
    scopes_.emplace_back();
    if (u.kind == UpdateKind::scan) {
      for (const Accumulation& s : sums) if (s.update == i) scan_step(u, s);
    } else {
      // On fragments a point outside is the identity: no branch.
      const bool selected = in_fragment_ && (u.domain || !column_guard_.empty()) && u.kind == UpdateKind::reduce &&
                            !touches_memory(u.domain) && !touches_memory(u.body) && !has_position(u.reducer);
      const bool guarded = static_cast<bool>(u.domain) && !selected;
      const int guards = guarded ? open_domain(u.domain) : 0;
      if (u.kind == UpdateKind::store) {
        update_ = i;
        store_point(u);
      } else if (u.kind == UpdateKind::scatter) {
        scatter(u);
      } else {
        for (const Accumulation& s : sums) {
          if (s.update != i) continue;
          std::string x = cast_text(pool_.type(u.body), s.type, value(u.body));
          if (selected) {
            std::string in = u.domain ? value(u.domain) : "";
            if (!column_guard_.empty()) in += (in.empty() ? "" : " && ") + column_guard_;
            x = fmt::format("({} ? {} : {})", in, x, identity(u.reducer, s.type));
          }
          if (s.position.empty()) line(fmt::format("{} = {};", s.value, combined(u, s.type, s.value, x)));
          else if (!s.kept.empty()) line(fmt::format("{}[e] = {};", s.seen, x));
          else line(fmt::format("quern_{}({}, {}, {}, (int){});", name(u.reducer), s.value, s.position, x, value(u.position)));
        }
      }
      close_domain(guards);
    }
    scopes_.pop_back();
    close();
  }
}

/// Opens what stands behind a domain; what reads memory is asked only where the rest holds.
int KernelPrinter::open_domain(Expr domain) {
  if (!domain) return 0;
  std::string plain;
  std::vector<Expr> reading;
  for (Expr c : compiler::conjuncts(pool_, domain)) {
    if (touches_memory(c)) reading.push_back(c);
    else plain += (plain.empty() ? "" : " && ") + value(c);
  }
  int opened = 0;
  auto guard = [&](const std::string& condition) {
    open(fmt::format("if ({})", condition));
    scopes_.emplace_back();
    ++opened;
  };
  if (!plain.empty()) guard(plain);
  for (Expr c : reading) guard(value(c));
  return opened;
}

void KernelPrinter::close_domain(int opened) {
  for (; opened > 0; --opened) {
    scopes_.pop_back();
    close();
  }
}

/// Every thread of a team, or its first one, gets the team's sum.
void KernelPrinter::combine_team(const Split& split, const Update& u, const Accumulation& s) {
  const std::string type = value_type(s.type);
  auto merge = [&](const std::string& x, const std::string& at) {
    if (s.position.empty()) line(fmt::format("{} = {};", s.value, combined(u, s.type, s.value, x)));
    else line(fmt::format("quern_{}({}, {}, {}, {});", name(u.reducer), s.value, s.position, x, at));
  };
  if (split.neighbours) {
    const int within = std::min(split.team, 32);
    for (int step = within / 2; step > 0; step /= 2) {
      open("");
      line(fmt::format("const {} other = quern_shuffle_xor({}, {}, {});", type, team_mask_, s.value, quad_step(step)));
      if (!s.position.empty()) line(fmt::format("const int other_at = quern_shuffle_xor({}, {}, {});", team_mask_, s.position, quad_step(step)));
      merge("other", "other_at");
      close();
    }
    if (split.team <= 32) return;
  }
  uses_exchange_ = true;
  line(fmt::format("{}* const passed_{} = ({}*)exchange;", type, s.stem, type));
  if (!s.position.empty()) line(fmt::format("int* const passed_{}_at = (int*)(exchange + {});", s.stem, split.threads * 8));
  auto pass = [&](const std::string& slot) {
    line(fmt::format("passed_{}[{}] = {};", s.stem, slot, s.value));
    if (!s.position.empty()) line(fmt::format("passed_{}_at[{}] = {};", s.stem, slot, s.position));
  };
  auto take = [&](const std::string& slot) { merge(fmt::format("passed_{}[{}]", s.stem, slot), fmt::format("passed_{}_at[{}]", s.stem, slot)); };
  if (split.neighbours) {
    // One value a warp; the first thread of the team takes them in order.
    open("if (thread % 32 == 0)");
    pass("thread / 32");
    close();
    line(meet_);
    open("if (member == 0)");
    open(fmt::format("for (int w = 1; w < {}; ++w)", split.team / 32));
    take("thread / 32 + w");
    close();
    close();
    line(meet_);
    return;
  }
  for (int step = split.team / 2; step > 0; step /= 2) {
    open(fmt::format("if (member >= {} && member < {})", step, 2 * step));
    pass("thread");
    close();
    line(meet_);
    open(fmt::format("if (member < {})", step));
    take(fmt::format("thread + {}", step * split.teams()));
    close();
    line(meet_);
  }
}

/// By one thread of the team: start ⊕ sum, then the result.
void KernelPrinter::finish(const Update& u, const Accumulation& s, Store to) {
  scopes_.emplace_back();
  if (u.start) {
    const std::string from = cast_text(pool_.type(u.start), s.type, value(u.start));
    if (s.position.empty()) {
      line(fmt::format("{} = {};", s.value, combined(u, s.type, from, s.value)));
    } else {
      const std::string at = u.start_position ? "(int)" + value(u.start_position) : "-1";
      line(fmt::format("quern_{}({}, {}, {}, {});", name(u.reducer), s.value, s.position, from, at));
    }
  }
  accumulator_[0] = s.value;
  accumulator_[1] = s.position;
  if (!has_position(u.reducer) || u.has_value_target) {
    const std::string x = u.result ? value(u.result) : s.value;
    (this->*to)(u.target, u.subscripts, x, u.result ? pool_.type(u.result) : s.type);
  }
  if (u.has_position_target) (this->*to)(u.position_target, u.subscripts, s.position, DType::i32);
  accumulator_[0].clear();
  accumulator_[1].clear();
  scopes_.pop_back();
}

}  // namespace quern::cuda
