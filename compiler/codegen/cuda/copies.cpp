// Operand tiles filled from global memory in 16-byte pieces while other work goes on, and the loops that walk them.
// Two ways to overlap: where a loop body waits for several tiles in turn, each wait starts the copy of the next one, whose
// readers are done by then; where it waits once, the tiles are a ring of stages and the copy runs ahead by all but one.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;

/// Starts the copy of one operand tile into `to`.
void KernelPrinter::issue_copy(const Nest& nest, const std::string& to) {
  const tile::Update& u = nest.updates[0];
  const OperandTile& tile = arranged_->operands.at(u.target);
  const Node source = pool_[copied_read(pool_, nest)];
  const auto from = static_cast<TensorId>(source.payload);
  open("");
  scopes_.emplace_back();
  const Dim* dims[2];
  for (int k = 0; k < 2; ++k)
    for (const Dim& d : nest.dims) if (d.index == tile.dims[static_cast<std::size_t>(k)]) dims[k] = &d;
  std::string limit[2];
  for (int k = 0; k < 2; ++k) {
    limit[k] = limit_text(*dims[k], k == 0 ? tile.rows : tile.columns);
    if (limit[k].empty()) limit[k] = std::to_string(k == 0 ? tile.rows : tile.columns);
  }
  const std::int64_t each = 16 / tile.bytes, pieces = tile.columns / each;
  // The pieces lie side by side only if the last axis has stride 1.
  const std::string step = stride(from, source.args.size() - 1);
  auto declare = [&](const std::string& row, const std::string& column) {
    line(fmt::format("const int d{} = {}, d{} = {};", dims[0]->index, row, dims[1]->index, column));
    for (const Dim* d : dims) {
      line(fmt::format("const long long x{} = {} + d{};", d->index, value(d->begin), d->index));
      indices_[d->index] = fmt::format("x{}", d->index);
      local_begin_[d->index] = d->begin;
    }
  };
  // Rows a fixed distance apart, and each thread always in the same column: one address and one distance.
  const bool even = launch.threads % pieces == 0 && (tile.rows * pieces) % launch.threads == 0 && step == "1";
  std::string distance = even ? row_distance(from, source.args, dims[0]->index) : "";
  // All of the tile has to be there; a fixed extent that falls short of it never is.
  std::int64_t fixed_columns = extent_of(pool_, *dims[1])->most;
  const bool quick = !distance.empty() && fixed_columns == tile.columns;
  if (quick) {
    open("");
    scopes_.emplace_back();
    declare(fmt::format("thread / {}", pieces), fmt::format("thread % {} * {}", pieces, each));
    line(fmt::format("const {}* const from = {} + ({});", stored_type(program_.tensors[from].type), tensor_pointer(from), offset_text(from, source.args)));
    line(fmt::format("const unsigned to = quern_shared_address({} + d{} * {} + d{});", to, dims[0]->index, tile.pitch, dims[1]->index));
    const std::int64_t turns = tile.rows * pieces / launch.threads, rows = launch.threads / pieces;
    line(fmt::format("const long long distance = ({}) * {};", distance, rows));
    std::string whole = limit[0] == std::to_string(tile.rows) ? "" : fmt::format("{} >= {} && ", limit[0], tile.rows);
    if (limit[1] != std::to_string(tile.columns)) whole += fmt::format("{} >= {} && ", limit[1], tile.columns);
    open(fmt::format("if ({}((((unsigned long long)from) | (unsigned long long)(distance * {})) & 15) == 0)", whole, tile.bytes));
    line("#pragma unroll");
    line(fmt::format("for (int i = 0; i < {}; ++i) quern_cp_async_16(to + i * {}, from + i * distance, 16);", turns, rows * tile.pitch * tile.bytes));
    scopes_.pop_back();
    close();
    open("else");
  }
  line("#pragma unroll 1");
  open(fmt::format("for (int piece = thread; piece < {}; piece += {})", tile.rows * pieces, launch.threads));
  scopes_.emplace_back();
  declare(fmt::format("piece / {}", pieces), fmt::format("piece % {} * {}", pieces, each));
  line(fmt::format("quern_copy_{}({} + d{} * {} + d{}, {} + ({}), {}, d{} < {} ? {} - d{} : 0);", each, to, dims[0]->index, tile.pitch, dims[1]->index,
                   tensor_pointer(from), offset_text(from, source.args), step, dims[0]->index, limit[0], limit[1], dims[1]->index));
  scopes_.pop_back();
  close();
  if (quick) {
    close();
    close();
  }
  for (const Dim* d : dims) forget(*d);
  scopes_.pop_back();
  close();
}

/// Elements between rows of neighbouring `index`, where that is the same everywhere; empty otherwise.
std::string KernelPrinter::row_distance(TensorId tensor, const std::vector<Expr>& subscripts, IndexId index) {
  std::string distance;
  for (std::size_t k = 0; k < subscripts.size(); ++k) {
    if (!pool_.depends_on(subscripts[k], index)) continue;
    if (!steps_with(pool_, subscripts[k], index)) return "";
    distance += (distance.empty() ? "" : " + ") + stride(tensor, k);
  }
  return distance;
}

/// A copy on its own: the first reader waits for it.
void KernelPrinter::copy_nest(const Nest& nest) {
  issue_copy(nest, fmt::format("tile{}", nest.updates[0].target));
  line("quern_cp_async_commit();");
  pending_.insert(nest.updates[0].target);
}

namespace {

/// Ends of blocks that are minima, whose block starts at loop index `index`: {padded end, limit}.
void partial_ends(const ExprPool& pool, const tile::Block& block, IndexId index, std::vector<std::pair<Expr, Expr>>& out, std::set<Expr>& ends) {
  for (const tile::Statement& s : block) {
    if (auto* n = std::get_if<Nest>(&s.node)) {
      for (const Dim& d : n->dims) {
        const auto extent = extent_of(pool, d);
        if (!extent || !extent->limit || !pool.depends_on(d.begin, index) || !ends.insert(d.end).second) continue;
        const Node& m = pool[d.end];
        out.push_back({m.args[0] == extent->limit ? m.args[1] : m.args[0], extent->limit});
      }
    } else if (auto* i = std::get_if<tile::If>(&s.node)) {
      partial_ends(pool, i->then_block, index, out, ends);
      partial_ends(pool, i->else_block, index, out, ends);
    }
  }
}

/// Reads what may change while the loop runs.
bool reads_memory(const Program& program, Expr e, const Arrangement& arranged) {
  bool found = false;
  compiler::for_each_node(program.pool, e, [&](Expr at) {
    if (program.pool[at].op != Op::read) return;
    const auto t = static_cast<TensorId>(program.pool[at].payload);
    // Conditions of blocks are over what other kernels made: bounds that a search found.
    found |= program.tensors[t].role != Role::temp && !arranged.row_vectors.contains(t);
  });
  return found;
}

}  // namespace

/// Which tiles the statement reads, nested ones included.
void KernelPrinter::reads_of(const tile::Statement& s, std::set<TensorId>& out) const {
  if (auto* n = std::get_if<Nest>(&s.node)) {
    const Touched t = touched_by(*n);
    out.insert(t.read.begin(), t.read.end());
  } else if (auto* f = std::get_if<tile::For>(&s.node)) {
    for (const auto& x : f->body) reads_of(x, out);
  } else if (auto* i = std::get_if<tile::If>(&s.node)) {
    for (const auto& x : i->then_block) reads_of(x, out);
    for (const auto& x : i->else_block) reads_of(x, out);
  } else if (auto* c = std::get_if<tile::Select>(&s.node)) {
    if (!c->body) out.insert(c->source);
    for (Expr e : {c->body, c->domain})
      if (e) compiler::for_each_node(pool_, e, [&](Expr at) { if (pool_[at].op == Op::read) out.insert(static_cast<TensorId>(pool_[at].payload)); });
  }
}

KernelPrinter::Pipeline KernelPrinter::pipeline_of(const tile::For& loop) const {
  Pipeline p;
  if (!arranged_) return p;
  const auto masks = place_of_masks(loop);
  for (const tile::Statement& s : loop.body) {
    auto* c = std::get_if<tile::If>(&s.node);
    if (!masks || !c) p.body.push_back(&s);
    else for (const tile::Statement& x : c->then_block) p.body.push_back(&x);
  }
  std::vector<std::set<TensorId>> reads(p.body.size());
  for (std::size_t i = 0; i < p.body.size(); ++i) reads_of(*p.body[i], reads[i]);
  struct Copy {
    const Nest* nest;
    std::size_t first, last;
  };
  std::vector<Copy> copies;
  for (const tile::Statement* s : p.body) {
    auto* n = std::get_if<Nest>(&s->node);
    if (!n || arranged_->kinds.at(n) != NestKind::copy) continue;
    Copy c{n, p.body.size(), 0};
    for (std::size_t i = 0; i < reads.size(); ++i)
      if (reads[i].contains(n->updates[0].target)) c.first = std::min(c.first, i), c.last = std::max(c.last, i);
    if (c.first == p.body.size()) continue;
    copies.push_back(c);
  }
  std::stable_sort(copies.begin(), copies.end(), [](const Copy& a, const Copy& b) { return a.first < b.first; });
  // Elements that are done with before the last wait come with the first tile: one wait less.
  for (Copy& c : copies)
    if (arranged_->elements.contains(c.nest->updates[0].target) && c.last < copies.back().first) c.first = copies.front().first;
  std::stable_sort(copies.begin(), copies.end(), [](const Copy& a, const Copy& b) { return a.first < b.first; });
  std::size_t last_of_first = 0;
  for (const Copy& c : copies) {
    if (p.waits.empty() || p.waits.back() != c.first) p.waits.push_back(c.first), p.groups.emplace_back();
    p.groups.back().push_back(c.nest);
    if (p.groups.size() == 1) last_of_first = std::max(last_of_first, c.last);
  }
  if (p.groups.size() == 1) p.stages = kStages;
  p.at_end = p.groups.size() > 1 && last_of_first >= p.waits.back();
  return p;
}

/// What `body` prints, with the loop index at another place.
void KernelPrinter::with_index(IndexId index, const std::string& name, const std::function<void()>& body) {
  // Values of another pass of the loop must not be taken for those of this one.
  std::vector<Scope> kept = scopes_;
  for (Scope& s : scopes_)
    std::erase_if(s.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, index); });
  const auto known = indices_.find(index) == indices_.end() ? std::string() : indices_.at(index);
  indices_[index] = name;
  const auto whole = std::exchange(whole_ends_, {});
  scopes_.emplace_back();
  body();
  whole_ends_ = whole;
  scopes_ = std::move(kept);
  if (known.empty()) indices_.erase(index);
  else indices_[index] = known;
}

/// The condition, as text, under which no dim of the loop's block ends early and no branch tests; `ends`: those ends. Empty: always.
std::string KernelPrinter::whole_block(const tile::For& loop, bool with_memory, std::set<Expr>& ends) {
  std::vector<std::pair<Expr, Expr>> partial;
  partial_ends(pool_, loop.body, loop.index, partial, ends);
  std::string whole;
  std::set<std::string> seen;
  auto also = [&](const std::string& c) { if (seen.insert(c).second) whole += (whole.empty() ? "" : " && ") + c; };
  for (const auto& [padded, limit] : partial) also(fmt::format("{} <= {}", value(padded), value(limit)));
  for (const tile::Statement& s : loop.body)
    if (auto* c = std::get_if<tile::If>(&s.node); c && (with_memory || !reads_memory(program_, c->condition, *arranged_))) also(value(c->condition));
  return whole;
}

/// The last statement that writes what the loop's masks mask; none: there are no masks, or something before tests more than ends.
std::optional<std::size_t> KernelPrinter::place_of_masks(const tile::For& loop) const {
  if (loop.masks.empty()) return std::nullopt;
  std::optional<std::size_t> last;
  for (std::size_t i = 0; i < loop.body.size(); ++i)
    if (auto* n = std::get_if<Nest>(&loop.body[i].node))
      for (const tile::Update& u : n->updates)
        for (const Nest& m : loop.masks) if (u.target == m.updates[0].target) last = i;
  if (!last) return std::nullopt;
  for (std::size_t i = 0; i <= *last; ++i)
    if (!std::holds_alternative<Nest>(loop.body[i].node)) return std::nullopt;
  return last;
}

/// Statement `i` of a loop with masks: up to them, what ends early tests; behind them every block is taken as whole.
void KernelPrinter::masked_statement(const tile::Statement& s, std::size_t i) {
  auto* nest = std::get_if<Nest>(&s.node);
  const auto ends_early = [&] { return nest && std::any_of(nest->dims.begin(), nest->dims.end(), [&](const Dim& d) { return masked_.ends.contains(d.end); }); };
  auto either = [&](const std::string& condition, const std::function<void()>& print) {
    const Touched entry = touched_;
    scopes_.emplace_back();
    open(condition);
    print();
    close();
    scopes_.pop_back();
    touched_.read.insert(entry.read.begin(), entry.read.end());
    touched_.written.insert(entry.written.begin(), entry.written.end());
  };
  if (nest && arranged_->kinds.at(nest) == NestKind::copy) {
    const auto whole = std::exchange(whole_ends_, {});  // what lies behind the end is not there
    statement(*nest);
    whole_ends_ = whole;
    return;
  }
  // Products take zeros behind the end.
  if (i <= masked_.last && ends_early() && arranged_->kinds.at(nest) != NestKind::contraction) {
    whole_ends_ = masked_.ends;
    either(fmt::format("if ({})", masked_.whole), [&] { statement(*nest); });
    whole_ends_.clear();
    either("else", [&] { statement(*nest); });
  } else {
    std::visit([&](const auto& n) { statement(n); }, s.node);
  }
  if (i != masked_.last) return;
  whole_ends_ = masked_.ends;
  either(fmt::format("if (!{})", masked_.whole), [&] { for (const Nest& m : masked_.loop->masks) statement(m); });
}

/// A loop whose body waits for copies. Whole blocks and partial ones have bodies of their own, or a mask takes what is outside.
void KernelPrinter::pipelined_loop(const tile::For& loop, const Pipeline& p) {
  const std::string x = fmt::format("x{}", loop.index);
  // What was copied before the loop arrives with the first wait inside, if nobody in the body needs it earlier.
  std::set<TensorId> early;
  for (std::size_t i = 0; i < p.waits.front(); ++i) reads_of(*p.body[i], early);
  if (std::any_of(early.begin(), early.end(), [&](TensorId t) { return pending_.contains(t); })) {
    line("quern_cp_async_wait<0>();");
    barrier();
    pending_.clear();
  }
  Touched bounds;
  note_reads(loop.begin, bounds);
  note_reads(loop.end, bounds);
  for (const tile::Statement& s : loop.body)
    if (auto* c = std::get_if<tile::If>(&s.node)) note_reads(c->condition, bounds);
  settle(bounds);
  const std::set<TensorId> before = std::exchange(pending_, {});
  const std::string begin = value(loop.begin), end = value(loop.end);
  forget_reads();
  auto with_index = [&](const std::string& name, const std::function<void()>& body) { this->with_index(loop.index, name, body); };
  auto issue = [&](std::size_t group, const std::string& stage) {
    for (const Nest* n : p.groups[group]) {
      const TensorId t = n->updates[0].target;
      const OperandTile& tile = arranged_->operands.at(t);
      issue_copy(*n, stage.empty() ? fmt::format("tile{}", t) : fmt::format("(ring{} + {} * {})", t, stage, tile.rows * tile.pitch));
    }
  };
  auto issue_at = [&](std::size_t group, const std::string& at, const std::string& stage) {
    open(fmt::format("if ({} < {})", at, end));
    with_index(at, [&] { issue(group, stage); });
    close();
    line("quern_cp_async_commit();");
  };
  barrier();  // whoever read the tiles before is done
  open("");
  if (p.stages > 1) {
    line("int stage = 0;");
    for (int s = 0; s + 1 < p.stages; ++s) {
      const std::string at = fresh("ahead");
      line(fmt::format("const long long {} = {} + {};", at, begin, s * loop.step));
      issue_at(0, at, std::to_string(s));
    }
  } else {
    issue_at(0, begin, "");
  }
  open(fmt::format("for (long long {} = {}; {} < {}; {} += {})", x, begin, x, end, x, loop.step));
  scopes_.emplace_back();
  indices_[loop.index] = x;
  line(fmt::format("const long long {}_next = {} + {};", x, x, loop.step * (p.stages > 1 ? p.stages - 1 : 1)));
  if (p.stages > 1) {
    line(fmt::format("quern_cp_async_wait<{}>();", p.stages - 2));
    barrier();
    line(fmt::format("const int ahead = stage == 0 ? {} : stage - 1;", p.stages - 1));
    issue_at(0, x + "_next", "ahead");
    for (const Nest* n : p.groups[0]) {
      const TensorId t = n->updates[0].target;
      const OperandTile& tile = arranged_->operands.at(t);
      line(fmt::format("{}* const tile{} = ring{} + stage * {};", stored_type(program_.tensors[t].type), t, t, tile.rows * tile.pitch));
    }
    line(fmt::format("stage = stage == {} ? 0 : stage + 1;", p.stages - 1));
  }
  auto body = [&](bool whole) {
    scopes_.emplace_back();
    const Touched touched = touched_;
    for (std::size_t i = 0; i < p.body.size(); ++i) {
      if (p.stages == 1)
        for (std::size_t g = 0; g < p.waits.size(); ++g) {
          if (p.waits[g] != i) continue;
          line("quern_cp_async_wait<0>();");
          barrier();
          if (g + 1 < p.groups.size()) {
            with_index(x, [&] { issue(g + 1, ""); });
            line("quern_cp_async_commit();");
          } else if (!p.at_end) {
            issue_at(0, x + "_next", "");
          }
        }
      const tile::Statement& s = *p.body[i];
      if (auto* n = std::get_if<Nest>(&s.node); n && arranged_->kinds.at(n) == NestKind::copy && in_pipeline(p, n)) continue;
      if (masked_.loop == &loop) {
        masked_statement(s, i);
        continue;
      }
      if (auto* c = std::get_if<tile::If>(&s.node); c && !reads_memory(program_, c->condition, *arranged_)) {
        block(whole ? c->then_block : c->else_block);
        continue;
      }
      std::visit([&](const auto& n) { statement(n); }, s.node);
    }
    if (p.at_end) {
      barrier();
      issue_at(0, x + "_next", "");
    }
    scopes_.pop_back();
    const Touched after = touched_;
    touched_ = touched;
    touched_.read.insert(after.read.begin(), after.read.end());
    touched_.written.insert(after.written.begin(), after.written.end());
  };
  std::set<Expr> ends;
  const auto masks_stand = place_of_masks(loop);
  const std::string whole = whole_block(loop, masks_stand.has_value(), ends);
  if (whole.empty()) {
    body(true);
  } else if (masks_stand) {
    masked_ = {&loop, *masks_stand, fresh("whole"), ends};
    line(fmt::format("const bool {} = {};", masked_.whole, whole));
    body(true);
    masked_ = {};
    whole_ends_.clear();
  } else {
    const Touched entry = touched_;
    const auto pending = pending_;
    open(fmt::format("if ({})", whole));
    whole_ends_ = ends;
    body(true);
    whole_ends_.clear();
    close();
    const Touched after = std::exchange(touched_, entry);
    pending_ = pending;
    open("else");
    partial_ends_ = ends;
    body(false);
    partial_ends_.clear();
    close();
    touched_.read.insert(after.read.begin(), after.read.end());
    touched_.written.insert(after.written.begin(), after.written.end());
  }
  indices_.erase(loop.index);
  scopes_.pop_back();
  close();
  if (p.stages > 1) line("quern_cp_async_wait<0>();");
  close();
  pending_ = before;  // a loop that does nothing waits for nothing
}

bool KernelPrinter::in_pipeline(const Pipeline& p, const Nest* nest) const {
  return std::any_of(p.groups.begin(), p.groups.end(), [&](const auto& g) { return std::find(g.begin(), g.end(), nest) != g.end(); });
}

}  // namespace quern::cuda
