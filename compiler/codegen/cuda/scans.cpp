// Scans by many threads. In: a nest with one scan whose steps combine in any order: an associative operator, or
// h = a h + x, where (a, x) then (b, y) is (a b, b x + y). A team takes a chunk at a time: each thread a few consecutive
// steps, twice: first for what they do together, then, knowing what came before, step by step for the values.
//
// rows:    the scanned index lies side by side in memory. Items go through shared memory, so that loads and stores are
//          those of neighbouring threads; a team is a warp, or the block where a task has few rows.
// columns: another index does. Lanes are columns, the warps of the block share the steps, items stay in registers.
//
// chained: the chunks of a row are tasks of their own. Each announces what it does as a whole; its state is that at the
//          start of its group of 128 chunks, then every chunk of the group before it, in order: the same bits every run.
//          Tasks are handed out in order as blocks arrive, so whoever is waited for is running.
//
// A product of many a can leave the range of floats where the steps one by one would not. Then, and only then, the
// threads of a team take turns.
#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;

namespace {

constexpr std::int64_t kScanBytes = 32 * 1024;  // of items in shared memory, at most
constexpr int kGroup = 128;                     // chunks of a chain that wait for one state

}  // namespace

/// The nest's one scan, where its steps combine in any order.
std::optional<KernelPrinter::Recurrence> KernelPrinter::scan_of(const Nest& nest) {
  if (nest.updates.size() != 1 || arranged_) return std::nullopt;
  const Update& u = nest.updates[0];
  if (u.kind != tile::UpdateKind::scan || u.over.size() != 1 || !u.start) return std::nullopt;
  auto r = compiler::recurrence_of(pool_, u.body);
  if (!r || accumulator_type(u) != r->type || scan_items(*r) == 0) return std::nullopt;
  return r;
}

/// 8-byte words in which a chunk of a chain tells its whole step and its state, 4 bytes each beside a mark.
int KernelPrinter::record_words(const Recurrence& r) const { return static_cast<int>((compiler::step_bytes(r) + size_of(r.type)) / 4); }

/// Shared memory of the items in flight, for every scan of the kernel in turn.
void KernelPrinter::find_scans(const tile::Block& block) {
  for (const tile::Statement& s : block) {
    if (auto* f = std::get_if<tile::For>(&s.node)) find_scans(f->body);
    if (auto* i = std::get_if<tile::If>(&s.node)) find_scans(i->then_block), find_scans(i->else_block);
    if (auto* n = std::get_if<Nest>(&s.node))
      if (const auto r = scan_of(*n)) scan_bytes_ = std::max(scan_bytes_, std::int64_t{launch.threads} * scan_items(*r) * static_cast<std::int64_t>(compiler::step_bytes(*r)));
  }
}

/// Steps of one thread at a time: odd, so that threads meet different banks of shared memory.
int KernelPrinter::scan_items(const Recurrence& r) const {
  if (kernel_.chained) return static_cast<int>(kernel_.grid.back().step / launch.threads);
  const std::int64_t room = std::min(kScanBytes, std::int64_t{shared_.options.target.shared_bytes} - launch.threads * 16 - 1024);
  const auto each = static_cast<std::int64_t>(compiler::step_bytes(r));
  for (int items : {31, 15, 7, 3})
    if (std::int64_t{launch.threads} * items * each <= room) return items;
  return 0;
}

void KernelPrinter::scan_nest(const Nest& nest, const Recurrence& r) {
  const Update& u = nest.updates[0];
  const std::string type = value_type(r.type);
  const bool has_a = static_cast<bool>(r.factor), has_x = static_cast<bool>(r.term), unsafe = has_a && is_float(r.type);
  std::size_t along = 0;
  std::vector<std::size_t> kept;
  std::int64_t rows = 1;  // at most; 0: nobody knows
  for (std::size_t d = 0; d < nest.dims.size(); ++d) {
    if (nest.dims[d].index == u.over[0]) {
      along = d;
      continue;
    }
    kept.push_back(d);
    const auto b = extent_bound(nest.dims[d]);
    rows *= b ? std::max<std::int64_t>(*b, 1) : 0;
  }
  std::stable_sort(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) { return access_score(nest, nest.dims[a].index) < access_score(nest, nest.dims[b].index); });
  const auto length = extent_bound(nest.dims[along]);
  const bool columns = !kept.empty() && access_score(nest, nest.dims[kept.back()].index) > access_score(nest, nest.dims[along].index);
  const int items = columns ? std::min(scan_items(r), 15) : scan_items(r);  // of columns in registers
  const bool by_block = columns || kernel_.chained || (rows > 0 && rows <= 4 && !(length && *length <= 32 * items));
  const int team = columns ? launch.threads / 32 : by_block ? launch.threads : 32, teams = columns ? 32 : launch.threads / team;
  const int chunk = team * items;
  const Dim& dim = nest.dims[along];
  const auto text_of = [&](Op op, const std::string& a, const std::string& b) { return apply_text(op, r.type, r.type, std::vector<std::string>{a, b}); };
  const std::string one = has_a ? value(is_float(r.type) ? pool_.real(1, r.type) : pool_.integer(1, r.type)) : "";
  const Reducer neutral = r.op == Op::max ? Reducer::max : r.op == Op::min ? Reducer::min : Reducer::sum;
  const std::string nothing = has_x ? identity(neutral, r.type) : "";
  // (a, x) is done to h.
  const auto applied = [&](const std::string& h, const std::string& a, const std::string& x) {
    if (!has_a) return text_of(r.op, h, x);
    const std::string moved = text_of(Op::mul, a, h);
    return has_x ? text_of(Op::add, moved, x) : moved;
  };
  // (a, x) := first (a1, x1), then (a2, x2).
  const auto follow = [&](const std::string& a, const std::string& x, const std::string& a1, const std::string& x1, const std::string& a2, const std::string& x2) {
    if (has_x) line(fmt::format("{} = {};", x, has_a ? text_of(Op::add, text_of(Op::mul, a2, x1), x2) : text_of(r.op, x1, x2)));
    if (has_a) line(fmt::format("{} = {};", a, text_of(Op::mul, a1, a2)));
  };
  const auto pair = [&](const std::string& stem, const std::string& a, const std::string& x, bool fixed = false) {
    if (has_a) line(fmt::format("{}{} {}_a = {};", fixed ? "const " : "", type, stem, a));
    if (has_x) line(fmt::format("{}{} {}_x = {};", fixed ? "const " : "", type, stem, x));
  };
  const std::string meet = by_block ? "__syncthreads();" : "__syncwarp();";
  const auto item = [&](const char* which, const std::string& j) {
    return columns ? fmt::format("item_{}[{}]", which, j) : fmt::format("held_{}[{}]", which, j);
  };
  const std::string mine = columns ? "j" : fmt::format("member * {} + j", items);

  uses_exchange_ = true;
  scans_in_shared_ |= !columns && r.type != DType::f64 && r.type != DType::i64;
  line("__syncthreads();");  // the space may still be in use
  line(columns ? "const int member = thread / 32, team = thread % 32;" : fmt::format("const int member = quern_opaque(thread % {}), team = thread / {};", team, team));
  if (!columns) {
    if (has_x) line(fmt::format("{}* const held_x = ({}*)scanned + team * {};", type, type, chunk));
    if (has_a) line(fmt::format("{}* const held_a = ({}*)scanned + {} + team * {};", type, type, has_x ? launch.threads * items : 0, chunk));
  }
  line(fmt::format("{}* const passed_x = ({}*)exchange;", type, type));
  line(fmt::format("{}* const passed_a = ({}*)(exchange + {});", type, type, launch.threads * 8));
  const std::string begin = value(dim.begin);
  line(fmt::format("const long long extent = max({} - {}, 0ll);", value(dim.end), begin));
  local_begin_[dim.index] = dim.begin;
  std::string total = "1ll";
  std::vector<std::string> extents(nest.dims.size());
  for (std::size_t d : kept) {
    extents[d] = fresh("extent");
    line(fmt::format("const long long {} = max({} - {}, 0ll);", extents[d], value(nest.dims[d].end), value(nest.dims[d].begin)));
    total += " * " + extents[d];
    local_begin_[nest.dims[d].index] = nest.dims[d].begin;
  }
  line(fmt::format("const long long points = {};", total));
  if (columns) {
    open(fmt::format("for (long long first = 0; first < points; first += {})", teams));
    line("const bool there = first + team < points;");
    line("const long long point = min(first + team, points - 1);");
  } else {
    open(fmt::format("for (long long point = team; point < points; point += {})", teams));
  }
  scopes_.emplace_back();
  if (!kept.empty()) line("long long rest = point;");
  for (std::size_t k = kept.size(); k-- > 0;) {
    const Dim& d = nest.dims[kept[k]];
    const auto b = extent_bound(d);
    const std::string local = k == 0 ? "rest" : fmt::format("quern_split(rest, {})", extents[kept[k]]);
    line(b && *b < (1 << 30) ? fmt::format("const int d{} = (int){};", d.index, local) : fmt::format("const long long d{} = {};", d.index, local));
    line(fmt::format("const long long x{} = {} + d{};", d.index, value(d.begin), d.index));
    indices_[d.index] = fmt::format("x{}", d.index);
  }
  line(fmt::format("{} carry = {};", type, cast_text(pool_.type(u.start), r.type, value(u.start))));
  if (kernel_.chained) line("const long long base = 0;");
  else open(fmt::format("for (long long base = 0; base < extent; base += {})", chunk));
  scopes_.emplace_back();
  const bool short_index = length && *length < (1 << 30);
  const auto at_step = [&](const std::string& step) {
    line(fmt::format("const {} d{} = {}(base + {});", short_index ? "int" : "long long", dim.index, short_index ? "(int)" : "", step));
    line(fmt::format("const long long x{} = {} + d{};", dim.index, begin, dim.index));
    indices_[dim.index] = fmt::format("x{}", dim.index);
  };

  // What each step does.
  if (columns) {
    if (has_x) line(fmt::format("{} item_x[{}];", type, items));
    if (has_a) line(fmt::format("{} item_a[{}];", type, items));
  }
  line(fmt::format("const int left = (int)min(extent - base, {}ll);", chunk));
  // Whole chunks that are what memory holds are copied 16 bytes at a time, and so are their results.
  const auto as_stored = [&](TensorId tensor, const std::vector<Expr>& subscripts) {
    return !columns && !u.domain && !tiles_.contains(tensor) && program_.tensors[tensor].type == r.type && lies_along(tensor, subscripts, dim.index);
  };
  const auto is_copied = [&](Expr e) {
    return !e || (pool_[e].op == Op::read && !(pool_[e].flags & kChecked) && as_stored(static_cast<TensorId>(pool_[e].payload), pool_[e].args));
  };
  const int piece = 16 / static_cast<int>(size_of(r.type));
  const auto first_of = [&](const char* name, TensorId tensor, const std::vector<Expr>& subscripts) {
    line(fmt::format("{}* const {} = ({}*)({} + ({}));", type, name, type, tensor_pointer(tensor), offset_text(tensor, subscripts)));
    return fmt::format(" && ((unsigned long long){} & 15) == 0", name);
  };
  const bool copied = is_copied(r.term) && is_copied(r.factor);
  const bool plain = !u.checked && as_stored(u.target, u.subscripts) && (!u.result || pool_[u.result].op == Op::accumulator);
  copies_chain_ |= copied && kernel_.chained;
  if (copied || plain) at_step("0");
  if (copied) {
    scopes_.emplace_back();
    std::string whole = fmt::format("left == {}", chunk);
    if (has_x) whole += first_of("from_x", static_cast<TensorId>(pool_[r.term].payload), pool_[r.term].args);
    if (has_a) whole += first_of("from_a", static_cast<TensorId>(pool_[r.factor].payload), pool_[r.factor].args);
    scopes_.pop_back();
    open(fmt::format("if ({})", whole));
    line("#pragma unroll 4");
    open(fmt::format("for (int i = member * {}; i < {}; i += {})", piece, chunk, team * piece));
    if (has_x) line("quern_cp_async_16(quern_shared_address(held_x + i), from_x + i, 16);");
    if (has_a) line("quern_cp_async_16(quern_shared_address(held_a + i), from_a + i, 16);");
    close();
    line("quern_cp_async_commit();");
    line("quern_cp_async_wait<0>();");
    close();
    open("else");
  }
  // Of rows, loads of many steps are under way before the first goes to shared memory.
  const int at_once = columns ? items : has_a && has_x ? 8 : 11;
  for (int from = 0; from < items; from += at_once) {
    const int n = std::min(at_once, items - from);
    open("");
    if (!columns) {
      if (has_x) line(fmt::format("{} got_x[{}];", type, n));
      if (has_a) line(fmt::format("{} got_a[{}];", type, n));
    }
    line("#pragma unroll");
    open(fmt::format("for (int j = 0; j < {}; ++j)", n));
    line(columns ? fmt::format("const int at = member * {} + j;", items) : fmt::format("const int at = (j + {}) * {} + member;", from, team));
    pair("step", one, nothing);
    open(columns ? "if (there && at < left)" : "if (at < left)");
    scopes_.emplace_back();
    at_step("at");
    const int guards = open_domain(u.domain);
    if (has_x) line(fmt::format("step_x = {};", value(r.term)));
    if (has_a) line(fmt::format("step_a = {};", value(r.factor)));
    close_domain(guards);
    scopes_.pop_back();
    close();
    if (has_x) line(fmt::format("{} = step_x;", columns ? item("x", "j") : "got_x[j]"));
    if (has_a) line(fmt::format("{} = step_a;", columns ? item("a", "j") : "got_a[j]"));
    close();
    if (!columns) {
      line("#pragma unroll");
      open(fmt::format("for (int j = 0; j < {}; ++j)", n));
      if (has_x) line(fmt::format("held_x[(j + {}) * {} + member] = got_x[j];", from, team));
      if (has_a) line(fmt::format("held_a[(j + {}) * {} + member] = got_a[j];", from, team));
      close();
    }
    close();
  }
  if (copied) close();
  if (!columns) line(meet);

  // What each thread's steps do together, and those of the threads before it.
  pair("own", has_a ? item("a", columns ? "0" : fmt::format("member * {}", items)) : "", has_x ? item("x", columns ? "0" : fmt::format("member * {}", items)) : "");
  line(columns ? "#pragma unroll" : "#pragma unroll 6");
  open(fmt::format("for (int j = 1; j < {}; ++j)", items));
  pair("step", has_a ? item("a", mine) : "", has_x ? item("x", mine) : "", true);
  follow("own_a", "own_x", "own_a", "own_x", "step_a", "step_x");
  close();
  pair("before", one, nothing);
  if (columns) {
    if (has_x) line("passed_x[member * 32 + team] = own_x;");
    if (has_a) line("passed_a[member * 32 + team] = own_a;");
    line(meet);
    open("for (int m = 0; m < member; ++m)");
    pair("step", "passed_a[m * 32 + team]", "passed_x[m * 32 + team]", true);
    follow("before_a", "before_x", "before_a", "before_x", "step_a", "step_x");
    close();
  } else {
    pair("upto", "own_a", "own_x");
    line("#pragma unroll");
    open("for (int distance = 1; distance < 32; distance *= 2)");
    pair("step", "shuffle_up(upto_a, distance)", "shuffle_up(upto_x, distance)", true);
    open("if (thread % 32 >= distance)");
    follow("upto_a", "upto_x", "step_a", "step_x", "upto_a", "upto_x");
    close();
    close();
    pair("step", "shuffle_up(upto_a, 1)", "shuffle_up(upto_x, 1)", true);
    open("if (thread % 32 > 0)");
    if (has_x) line("before_x = step_x;");
    if (has_a) line("before_a = step_a;");
    close();
    if (by_block) {
      open("if (thread % 32 == 31)");
      if (has_x) line("passed_x[thread / 32] = upto_x;");
      if (has_a) line("passed_a[thread / 32] = upto_a;");
      close();
      line(meet);
      pair("warps", one, nothing);
      open("for (int w = 0; w < thread / 32; ++w)");
      pair("step", "passed_a[w]", "passed_x[w]", true);
      follow("warps_a", "warps_x", "warps_a", "warps_x", "step_a", "step_x");
      close();
      follow("before_a", "before_x", "warps_a", "warps_x", "before_a", "before_x");
    }
  }
  if (kernel_.chained) {
    // The chunk's whole step goes to the later ones, the state before it comes from the earlier ones.
    pair("whole", "passed_a[0]", "passed_x[0]");
    open(fmt::format("for (int w = 1; w < {}; ++w)", launch.threads / 32));
    pair("step", "passed_a[w]", "passed_x[w]", true);
    follow("whole_a", "whole_x", "whole_a", "whole_x", "step_a", "step_x");
    close();
    const int pieces = static_cast<int>(size_of(r.type) / 4), at_a = has_x ? pieces : 0, at_state = at_a + (has_a ? pieces : 0);
    line(fmt::format("volatile unsigned long long* const record = (volatile unsigned long long*){} + 16 + task * {};", word({Word::zeroed, 0, 0}), record_words(r)));
    line(fmt::format("const long long link = task % {};", links_));
    open("if (thread == 0)");
    if (has_x) line("quern_publish(record, whole_x);");
    if (has_a) line(fmt::format("quern_publish(record + {}, whole_a);", at_a));
    close();
    // All threads ask for all records at once, and for the state at the group's start.
    const int each = std::max(1, kGroup / launch.threads);
    open("if (link > 0)");
    line(fmt::format("const long long group = link / {} * {};", kGroup, kGroup));
    line(fmt::format("const int there = (int)min(max(link - group - thread * {}, 0ll), {}ll);", each, each));
    line(fmt::format("volatile unsigned long long* const records = record - (link - group - thread * {}) * {};", each, record_words(r)));
    line(fmt::format("volatile unsigned long long* const start = record - (link - group + 1) * {} + {};", record_words(r), at_state));
    if (has_x) line(fmt::format("quern_words<{}> words_x[{}];", type, each));
    if (has_a) line(fmt::format("quern_words<{}> words_a[{}];", type, each));
    line(fmt::format("quern_words<{}> words;", type));
    line("#pragma unroll");
    open(fmt::format("for (int k = 0; k < {}; ++k)", each));
    open("if (k < there)");
    if (has_x) line(fmt::format("words_x[k].look(records + k * {});", record_words(r)));
    if (has_a) line(fmt::format("words_a[k].look(records + k * {} + {});", record_words(r), at_a));
    close();
    close();
    line("if (group > 0) words.look(start);");
    pair("some", one, nothing);
    line("#pragma unroll");
    open(fmt::format("for (int k = 0; k < {}; ++k)", each));
    open("if (k < there)");
    pair("step", fmt::format("words_a[k].wait(records + k * {} + {})", record_words(r), at_a), fmt::format("words_x[k].wait(records + k * {})", record_words(r)), true);
    follow("some_a", "some_x", "some_a", "some_x", "step_a", "step_x");
    close();
    close();
    line("__syncwarp();");
    line("#pragma unroll");
    open("for (int distance = 1; distance < 32; distance *= 2)");
    pair("step", "shuffle_down(some_a, distance)", "shuffle_down(some_x, distance)", true);
    open("if (thread % (2 * distance) == 0)");
    follow("some_a", "some_x", "some_a", "some_x", "step_a", "step_x");
    close();
    close();
    open("if (thread % 32 == 0)");
    if (has_x) line("passed_x[16 + thread / 32] = some_x;");
    if (has_a) line("passed_a[16 + thread / 32] = some_a;");
    close();
    line("if (group > 0) carry = words.wait(start);");
    line(meet);
    pair("since", "passed_a[16]", "passed_x[16]");
    open(fmt::format("for (int w = 17; w < {}; ++w)", 16 + launch.threads / 32));
    pair("step", "passed_a[w]", "passed_x[w]", true);
    follow("since_a", "since_x", "since_a", "since_x", "step_a", "step_x");
    close();
    line(fmt::format("{} state = {};", type, applied("carry", "since_a", "since_x")));
    if (unsafe) {
      open(fmt::format("if (carry == carry && !(quern_finite(since_a) && quern_finite(state){}))", has_x ? " && quern_finite(since_x)" : ""));
      line(fmt::format("state = quern_receive<{}>(record - {} + {});", type, record_words(r), at_state));
      close();
    }
    line("carry = state;");
    close();
    // The next group need not wait for the values of this chunk.
    if (!unsafe) line(fmt::format("if (thread == 0 && link % {} == {}) quern_publish(record + {}, {});", kGroup, kGroup - 1, at_state, applied("carry", "whole_a", "whole_x")));
  }
  line(fmt::format("{} h = {};", type, applied("carry", "before_a", "before_x")));
  if (unsafe) {
    const std::string finite = "carry == carry && !(quern_finite(before_a) && quern_finite(h)" + std::string(has_x ? " && quern_finite(before_x))" : ")");
    line(fmt::format("const bool in_turns = {};", by_block ? fmt::format("__syncthreads_or({}) != 0", finite) : fmt::format("__any_sync(0xffffffffu, {}) != 0", finite)));
    line(fmt::format("const int turns = in_turns ? {} : 1;", team));
    open("for (int turn = 0; turn < turns; ++turn)");
    const std::string slot = columns ? fmt::format("passed_h[team]") : by_block ? "passed_h[0]" : "passed_h[team]";
    line(fmt::format("{}* const passed_h = ({}*)(exchange + {});", type, type, launch.threads * 16 - 32 * 8));
    open("if (!in_turns || member == turn)");
    line(fmt::format("if (in_turns) h = turn == 0 ? carry : {};", slot));
  }
  line(columns ? "#pragma unroll" : "#pragma unroll 8");
  open(fmt::format("for (int j = 0; j < {}; ++j)", items));
  line(fmt::format("h = {};", applied("h", has_a ? item("a", mine) : "", has_x ? item("x", mine) : "")));
  line(fmt::format("{} = h;", item(has_x ? "x" : "a", mine)));
  close();
  if (unsafe) {
    line(fmt::format("if (in_turns) {} = h;", columns ? "passed_h[team]" : by_block ? "passed_h[0]" : "passed_h[team]"));
    close();
    line(meet);
    close();
  }
  // The last thread knows what the next chunk starts from.
  if (by_block) {
    if (columns) line(meet);
    line(fmt::format("if (member == {}) {} = h;", team - 1, columns ? "passed_x[team]" : fmt::format("passed_x[{}]", launch.threads / 32)));
    line(meet);
    if (!kernel_.chained) line(columns ? "carry = passed_x[team];" : fmt::format("carry = passed_x[{}];", launch.threads / 32));
    if (columns) line(meet);
  } else {
    line("carry = shuffle(h, 31);");
    line(meet);
  }
  if (kernel_.chained && unsafe) {
    line(fmt::format("if (thread == 0) quern_publish(record + {}, passed_x[{}]);", record_words(r) - static_cast<int>(size_of(r.type) / 4), launch.threads / 32));
  }
  if (plain) {
    scopes_.emplace_back();
    const std::string aligned = first_of("to", u.target, u.subscripts);
    scopes_.pop_back();
    open(fmt::format("if (left == {}{})", chunk, aligned));
    line("#pragma unroll 4");
    line(fmt::format("for (int i = member * {0}; i < {1}; i += {2}) *(uint4*)(to + i) = *(const uint4*)({3} + i);", piece, chunk, team * piece, has_x ? "held_x" : "held_a"));
    close();
    open("else");
  }
  line(columns ? "#pragma unroll" : "#pragma unroll 8");
  open(fmt::format("for (int j = 0; j < {}; ++j)", items));
  line(columns ? fmt::format("const int at = member * {} + j;", items) : fmt::format("const int at = j * {} + member;", team));
  open(columns ? "if (there && at < left)" : "if (at < left)");
  scopes_.emplace_back();
  at_step("at");
  line(fmt::format("const {} scan_value = {};", type, item(has_x ? "x" : "a", columns ? "j" : "at")));
  accumulator_[0] = "scan_value";
  store(u.target, u.subscripts, u.result ? value(u.result) : "scan_value", u.result ? pool_.type(u.result) : r.type);
  accumulator_[0].clear();
  scopes_.pop_back();
  close();
  close();
  if (plain) close();
  if ((copied || plain) && !kernel_.chained) line(meet);  // others may store what the next chunk's loads would overwrite
  scopes_.pop_back();
  if (!kernel_.chained) close();
  scopes_.pop_back();
  close();
  for (const Dim& d : nest.dims) {
    local_begin_.erase(d.index);
    indices_.erase(d.index);
  }
}

}  // namespace quern::cuda
