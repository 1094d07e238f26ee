// A kernel with roles as text (roles.h): the last warp group fills rings of operand tiles by tensor copies, the others
// follow the schedule's steps. Barriers of memory tell who may go on: `full` a stage has arrived, `empty` all have read it.
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

namespace {

/// Registers of a thread that loads and of one that computes, by the number of computing groups; 0: as they come.
struct Registers {
  int loading, computing;
};
Registers registers_for(int groups, bool widens) {
  if (widens) return groups == 3 ? Registers{56, 152} : groups == 2 ? Registers{56, 224} : Registers{0, 0};
  return groups == 3 ? Registers{32, 160} : groups == 2 ? Registers{24, 240} : Registers{0, 0};
}

/// The named barrier of the loading warps, where they copy by themselves.
constexpr int kLoadingBarrier = 15;

}  // namespace

const Ring& KernelPrinter::ring_of(TensorId tile) const {
  return *std::find_if(schedule_->rings.begin(), schedule_->rings.end(), [&](const Ring& r) { return r.tile == tile; });
}

/// Whether all columns come as one box: pieces of 128 bytes are an axis of their own where the tensor has whole ones, known now.
bool KernelPrinter::is_one_box(const Ring& r) const {
  if (r.widened() || r.pieces == 1) return false;
  const Node source = pool_[copied_read(pool_, *r.copy)];
  const Expr extent = program_.tensors[static_cast<TensorId>(source.payload)].shape[r.column_axis];
  const Dim& columns = dim_of(*r.copy, arranged_->operands.at(r.tile).dims[1]);
  std::int64_t n = 0, begin = 0;
  return source.args.size() < 5 && pool_.is_integer_constant(extent, &n) && n == r.pieces * r.piece_columns() && pool_.is_integer_constant(columns.begin, &begin) && begin == 0 &&
         pool_[source.args[r.column_axis]].op == Op::index;
}

void KernelPrinter::place_rings() {
  launch.shared_bytes = pool_.integer(schedule_->shared_bytes);
  launch.slab_bytes = pool_.integer(0);
  std::int64_t at = 0, barriers = 0;
  for (const Ring& r : schedule_->rings) barriers += r.bytes() * r.stages;
  std::int64_t raw = barriers;
  for (const Ring& r : schedule_->rings) barriers += r.raw_bytes() * r.raw_stages;
  line("const unsigned base = quern_shared_address(shared);");
  for (const Ring& r : schedule_->rings) {
    const OperandTile& tile = arranged_->operands.at(r.tile);
    line(fmt::format("const unsigned ring{0} = base + {1}, full{0} = base + {2}, empty{0} = base + {3};  // {4} x {5}, {6} stages", r.tile, at, barriers,
                     barriers + 8 * r.stages, tile.rows, tile.columns, r.stages));
    if (arranged_->elements.contains(r.tile)) tiles_[r.tile].base = fmt::format("((const unsigned short*)(shared + {} + stage{} * {}))", at, r.tile, r.bytes());
    at += r.bytes() * r.stages;
    barriers += 16 * r.stages;
    if (r.widened()) place_raw(r, raw, barriers);
    // Columns, rows, then the other axes from the last one on.
    const Node source = pool_[copied_read(pool_, *r.copy)];
    TensorMap map;
    map.tensor = static_cast<TensorId>(source.payload);
    map.axes = {static_cast<int>(r.column_axis), static_cast<int>(r.row_axis)};
    map.box = {static_cast<std::uint32_t>(r.widened() ? raw_columns(r) : r.piece_columns()), static_cast<std::uint32_t>(r.rows)};
    map.element_bytes = static_cast<int>(size_of(r.from));
    map.swizzled = !r.widened();
    if (is_one_box(r)) map.axes.push_back(static_cast<int>(r.column_axis)), map.box.push_back(static_cast<std::uint32_t>(r.pieces));
    for (std::size_t k = source.args.size(); k-- > 0;)
      if (k != r.column_axis && k != r.row_axis) map.axes.push_back(static_cast<int>(k)), map.box.push_back(1);
    launch.maps.push_back(std::move(map));
  }
  if (longer_dim()) {
    line(fmt::format("const unsigned full_slots = base + {}, empty_slots = base + {};", barriers, barriers + 16));
    line(fmt::format("volatile long long* const slots = (long long*)(shared + {});  // tasks to come", barriers + 32));
  }
}

void KernelPrinter::role_kernel() {
  open("if (thread == 0)");
  for (const Ring& r : schedule_->rings)
    line(fmt::format("for (int i = 0; i < {0}; ++i) quern_mbarrier_init(full{1} + 8 * i, 1), quern_mbarrier_init(empty{1} + 8 * i, {2});", r.stages, r.tile, arranged_->warps));
  for (const Ring& r : schedule_->rings)
    if (r.widened())
      line(fmt::format("for (int i = 0; i < {0}; ++i) quern_mbarrier_init(raw_full{1} + 8 * i, 1), quern_mbarrier_init(raw_empty{1} + 8 * i, {2});", r.raw_stages, r.tile, kWideningWarps));
  const int slot_readers = arranged_->warps + (widens() ? kWideningWarps : 0);
  if (longer_dim()) line(fmt::format("for (int i = 0; i < 2; ++i) quern_mbarrier_init(full_slots + 8 * i, 1), quern_mbarrier_init(empty_slots + 8 * i, {});", slot_readers));
  line("quern_mbarrier_init_fence();");
  close();
  line("__syncthreads();");
  const Registers registers = registers_for(kernel_.groups, widens());
  auto role = [&](const std::string& condition, const char* change, int count, auto body) {
    open(condition);
    scopes_.emplace_back();
    if (count > 0) line(fmt::format("quern_{}_registers<{}>();", change, count));
    for (const Ring& r : schedule_->rings) line(fmt::format("unsigned stage{0} = 0, phase{0} = 0;", r.tile));
    body();
    scopes_.pop_back();
    close();
  };
  role(fmt::format("if (thread < {})", 128 * kernel_.groups), "more", registers.computing, [&] { computing_role(); });
  role("else", "fewer", registers.loading, [&] {
    if (!widens()) return loading_role();
    for (const Ring& r : schedule_->rings) if (r.widened()) line(fmt::format("unsigned raw{0} = 0, raw_phase{0} = 0;", r.tile));
    open("if (thread % 128 < 32)");
    loading_role();
    close();
    open("else");
    widening_role();
    close();
  });
}

/// The dim of the grid whose blocks are walked in sections of the others, so that what they share stays in the L2 cache.
std::optional<std::size_t> KernelPrinter::outer_dim() const {
  std::optional<std::size_t> outer;
  int blocked = 0;
  for (std::size_t k = 0; k < kernel_.grid.size(); ++k)
    if (kernel_.grid[k].step > 1) outer = k, ++blocked;
  if (const auto longer = longer_dim()) return longer;
  return blocked > 1 ? outer : std::nullopt;
}

/// The dim of the grid along which tasks take longer and longer: they are handed out one by one, the longest first.
std::optional<std::size_t> KernelPrinter::longer_dim() const {
  for (std::size_t k = 0; k < kernel_.grid.size(); ++k)
    if (lengthens_loops(kernel_.body, kernel_.grid[k].index)) return k;
  return std::nullopt;
}

void KernelPrinter::each_task(bool loading, const std::function<void()>& body) {
  const std::string tasks = word({Word::tasks, 0, 0});
  const auto outer = outer_dim();
  const bool handed_out = longer_dim().has_value();
  if (handed_out) line("unsigned slot = 0, slot_phase = 0;");
  line("#pragma unroll 1");
  open(fmt::format("for (long long task = blockIdx.x; task < {};{})", tasks, handed_out ? "" : " task += gridDim.x"));
  scopes_.emplace_back();
  auto request = [&] {
    line(fmt::format("next = (long long)atomicAdd((unsigned long long*){}, 1ull);", word({Word::counter, 0, 0})));
  };
  auto publish = [&] {
    // As many requests as tasks: the last one leaves the counter as it was.
    line(fmt::format("if (next == {} - 1) *(unsigned long long*){} = 0;", tasks, word({Word::counter, 0, 0})));
    line("next += gridDim.x;");
    line("quern_mbarrier_wait(empty_slots + 8 * slot, slot_phase ^ 1);");
    line("slots[slot] = next;");
    line("quern_mbarrier_arrive(full_slots + 8 * slot);");
  };
  if (handed_out && loading && only_boxes_) {
    // Asked for now, needed behind this task's loads.
    line("long long next;");
    request();
  } else if (handed_out && loading) {
    line("long long next = 0;");
    open("if (thread % 128 == 0)");
    request();
    publish();
    close();
    if (!loads_alone().empty()) open(fmt::format("if (!({}))", loads_alone()));
    line(fmt::format("quern_barrier_sync({}, {});", kLoadingBarrier, loading_threads()));
    line("next = slots[slot];");
    if (!loads_alone().empty()) close();
  }
  if (outer && kernel_.grid.size() > 1) decode_sections(*outer, handed_out);
  else decode_task();
  body();
  if (handed_out) {
    if (loading) {
      if (only_boxes_) publish();
      line("task = next;");
    } else {
      line("quern_mbarrier_wait(full_slots + 8 * slot, slot_phase);");
      line("task = slots[slot];");
      line("__syncwarp();");
      line("if (lane == 0) quern_mbarrier_arrive(empty_slots + 8 * slot);");
    }
    line("if (++slot == 2) slot = 0, slot_phase ^= 1;");
  }
  scopes_.pop_back();
  close();
}

/// The condition under which one thread loads everything; empty: never.
std::string KernelPrinter::loads_alone() {
  if (std::any_of(schedule_->rings.begin(), schedule_->rings.end(), [](const Ring& r) { return r.only_whole && !r.widened(); })) return "";
  const std::uint64_t all = (std::uint64_t{1} << schedule_->rings.size()) - 1;
  if (!widens()) return fmt::format("{} == {}ll", word({Word::mapped, 0, 0}), all);
  // What is widened and no box is brought by the widening warps.
  std::uint64_t plain = 0;
  for (std::size_t k = 0; k < schedule_->rings.size(); ++k) plain |= std::uint64_t{!schedule_->rings[k].widened()} << k;
  return fmt::format("({} & {}ll) == {}ll", word({Word::mapped, 0, 0}), plain, plain);
}

void KernelPrinter::decode_sections(std::size_t outer, bool longest_first) {
  std::string others = "1";
  for (std::size_t k = 0; k < kernel_.grid.size(); ++k) if (k != outer) others = k == 0 || others == "1" ? task_counts_[k] : others + " * " + task_counts_[k];
  std::string section = "16";
  if (longest_first) {
    // What one task walks, of 32 MB.
    std::int64_t row = 0;
    for (const Ring& r : schedule_->rings) if (r.walked) row += r.pieces * 128;
    const Index& walked = program_.indices[schedule_->loop->index];
    section = fmt::format("max(1ll, {}ll / max(1ll, ({} - {}) * {}ll))", std::int64_t{32} << 20, value(walked.end), value(walked.begin), row);
  }
  line(fmt::format("const long long others = {}, section = {};", others, section));
  line("long long inside = task;");
  line(fmt::format("const long long first = quern_quotient(inside, section * {}) * section, width = min(section, others - first);", task_counts_[outer]));
  line("const long long walk = quern_quotient(inside, width);");
  line("long long rest = first + inside;");
  for (std::size_t k = kernel_.grid.size(); k-- > 0;) {
    const tile::GridDim& g = kernel_.grid[k];
    std::string at = fmt::format("g{}", k);
    if (k == outer) line(fmt::format("const long long {} = {};", at, longest_first ? task_counts_[k] + " - 1 - walk" : "walk"));
    else line(fmt::format("const long long {} = quern_split(rest, {});", at, task_counts_[k]));
    line(fmt::format("const long long x{} = {} + {} * {};  // block of the grid", g.index, value(g.begin), at, g.step));
    indices_[g.index] = fmt::format("x{}", g.index);
  }
}

// Loading.

void KernelPrinter::loading_role() {
  const std::string alone = loads_alone();
  if (!alone.empty() && !widens()) {
    // The usual case by itself: one thread with nothing but boxes to think of keeps ahead of three groups.
    open(fmt::format("if ({})", alone));
    open(fmt::format("if (thread == {})", 128 * kernel_.groups));
    scopes_.emplace_back();
    only_boxes_ = true;
    each_fill(true, [&](const Ring& r) { fill_boxes(r); });
    only_boxes_ = false;
    scopes_.pop_back();
    close();
    close();
    open("else");
    scopes_.emplace_back();
    each_fill(true, [&](const Ring& r) { fill(r); });
    scopes_.pop_back();
    close();
    return;
  }
  // One thread starts boxes; all of them copy what is no box.
  if (!alone.empty()) open(fmt::format("if (thread % 128 == 0 || !({}))", alone));
  each_fill(true, [&](const Ring& r) { fill(r); });
  if (!alone.empty()) close();
}

/// All fills of all tasks, in their order.
void KernelPrinter::each_fill(bool loading, const std::function<void(const Ring&)>& take) {
  const tile::For& loop = *schedule_->loop;
  each_task(loading, [&] {
    auto fill_all = [&](bool walked, bool ahead, bool both) {
      for (const Ring& r : schedule_->rings)
        if (r.walked == walked && (both || r.ahead == ahead)) take(r);
    };
    const std::string begin = value(loop.begin), end = value(loop.end);
    const std::string x = fmt::format("x{}", loop.index);
    auto at = [&](const std::string& name, const std::function<void()>& body) { with_index(loop.index, name, body); };
    const bool overlapped = std::any_of(schedule_->rings.begin(), schedule_->rings.end(), [](const Ring& r) { return r.ahead; });
    fill_all(false, false, true);
    if (overlapped && !only_boxes_) {
      // Fills are long where threads copy: each is printed once, in a loop that is one step longer.
      auto fill_if = [&](const std::string& condition, const std::string& name, bool ahead) {
        open(fmt::format("if ({})", condition));
        scopes_.emplace_back();
        at(name, [&] { fill_all(true, ahead, false); });
        scopes_.pop_back();
        close();
      };
      line("#pragma unroll 1");
      open(fmt::format("for (long long {0} = {1}; {0} < {2} + {3}; {0} += {3})", x, begin, end, loop.step));
      fill_if(fmt::format("{} < {}", x, end), x, true);
      line(fmt::format("const long long {0}_before = {0} - {1};", x, loop.step));
      fill_if(fmt::format("{} > {}", x, begin), x + "_before", false);
      close();
      return;
    }
    if (overlapped) open(fmt::format("if ({} < {})", begin, end));
    if (overlapped) at(begin, [&] { fill_all(true, true, false); });
    line(fmt::format("long long {} = {}{};", x, begin, overlapped ? fmt::format(" + {}", loop.step) : ""));
    line("#pragma unroll 1");
    open(fmt::format("for (; {} < {}; {} += {})", x, end, x, loop.step));
    at(x, [&] { fill_all(true, true, !overlapped); });
    if (overlapped) {
      line(fmt::format("const long long {}_before = {} - {};", x, x, loop.step));
      at(x + "_before", [&] { fill_all(true, false, false); });
    }
    close();
    if (overlapped) {
      line(fmt::format("const long long {}_last = {} - {};", x, x, loop.step));
      at(x + "_last", [&] { fill_all(true, false, false); });
      close();
    }
  });
}

/// The condition under which the tile at hand comes as boxes.
std::string KernelPrinter::comes_in_boxes(const Ring& r) {
  const OperandTile& tile = arranged_->operands.at(r.tile);
  const std::int64_t most[2] = {tile.rows, tile.columns};
  std::string boxes = fmt::format("{} >> {} & 1", word({Word::mapped, 0, 0}), &r - schedule_->rings.data());
  if (r.only_whole)
    for (std::size_t k = 0; k < 2; ++k)
      if (const std::string limit = limit_text(dim_of(*r.copy, tile.dims[k]), most[k]); !limit.empty()) boxes += fmt::format(" && {} >= {}", limit, most[k]);
  return boxes;
}

/// Where the box of the tile at hand starts, with `piece` added along its columns.
std::string KernelPrinter::box_coordinates(const Ring& r, const std::string& piece) {
  const OperandTile& tile = arranged_->operands.at(r.tile);
  const Node source = pool_[copied_read(pool_, *r.copy)];
  const Dim *rows = &dim_of(*r.copy, tile.dims[0]), *columns = &dim_of(*r.copy, tile.dims[1]);
  std::string coordinates;
  const std::vector<int>& axes = launch.maps[static_cast<std::size_t>(&r - schedule_->rings.data())].axes;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto k = static_cast<std::size_t>(axes[i]);
    if (i > 0 && k == r.column_axis) {
      coordinates += ", 0";  // the first piece of the columns
      continue;
    }
    const Expr start = pool_.substitute(source.args[k], {{rows->index, rows->begin}, {columns->index, columns->begin}});
    coordinates += fmt::format(", (int){}{}", value(start), k == r.column_axis ? piece : "");
  }
  return coordinates;
}

/// Starts the copy of the tile at hand, which comes in boxes; one thread.
void KernelPrinter::start_boxes(const Ring& r) {
  const std::size_t number = static_cast<std::size_t>(&r - schedule_->rings.data());
  const std::int64_t boxes = is_one_box(r) ? 1 : r.pieces;
  const std::string coordinates = box_coordinates(r, boxes > 1 ? fmt::format(" + {} * i", r.piece_columns()) : "");
  line(fmt::format("quern_mbarrier_expect(full{0} + 8 * stage{0}, {1});", r.tile, r.bytes()));
  if (boxes > 1) line("#pragma unroll");
  line(fmt::format("{0}quern_tensor_load(ring{1} + stage{1} * {2}{3}, words.maps[{4}], full{1} + 8 * stage{1}{5});", boxes > 1 ? fmt::format("for (int i = 0; i < {}; ++i) ", boxes) : "",
                   r.tile, r.bytes(), boxes > 1 ? fmt::format(" + i * {}", r.rows * 128) : "", number, coordinates));
}

void KernelPrinter::fill_boxes(const Ring& r) {
  if (!r.copy->note.empty()) line(comment(r.copy->note));
  open("");
  scopes_.emplace_back();
  line(fmt::format("quern_mbarrier_wait(empty{0} + 8 * stage{0}, phase{0} ^ 1);", r.tile));
  start_boxes(r);
  line(fmt::format("if (++stage{0} == {1}) stage{0} = 0, phase{0} ^= 1;", r.tile, r.stages));
  scopes_.pop_back();
  close();
}

void KernelPrinter::fill(const Ring& r) {
  if (r.widened()) return fill_raw(r);
  const OperandTile& tile = arranged_->operands.at(r.tile);
  const Node source = pool_[copied_read(pool_, *r.copy)];
  const auto from = static_cast<TensorId>(source.payload);
  if (!r.copy->note.empty()) line(comment(r.copy->note));
  open("");
  scopes_.emplace_back();
  const Dim* dims[2] = {&dim_of(*r.copy, tile.dims[0]), &dim_of(*r.copy, tile.dims[1])};
  line(fmt::format("quern_mbarrier_wait(empty{0} + 8 * stage{0}, phase{0} ^ 1);", r.tile));
  open(fmt::format("if ({})", comes_in_boxes(r)));
  open("if (thread % 128 == 0)");
  scopes_.emplace_back();
  start_boxes(r);
  scopes_.pop_back();
  close();
  close();
  open("else");
  scopes_.emplace_back();
  std::string limit[2];
  for (int k = 0; k < 2; ++k) {
    limit[k] = limit_text(*dims[k], k == 0 ? tile.rows : tile.columns);
    if (limit[k].empty()) limit[k] = std::to_string(k == 0 ? tile.rows : tile.columns);
  }
  const std::int64_t units = r.pieces * 8;
  line("__syncwarp();");
  line("#pragma unroll 1");
  open(fmt::format("for (int unit = thread % 128; unit < {}; unit += {})", r.rows * units, loading_threads()));
  scopes_.emplace_back();
  line(fmt::format("const int d{} = unit / {}, d{} = unit % {} * {};", dims[0]->index, units, dims[1]->index, units, 16 / r.element_bytes));
  for (const Dim* d : dims) {
    line(fmt::format("const long long x{} = {} + d{};", d->index, value(d->begin), d->index));
    indices_[d->index] = fmt::format("x{}", d->index);
    local_begin_[d->index] = d->begin;
  }
  line(fmt::format("quern_copy_{10}((unsigned short*)(shared + (ring{0} - base) + stage{0} * {1}) + quern_swizzled({2}, d{3}, d{4}{11}), {5} + ({6}), {7}, d{3} < {8} ? {9} - d{4} : 0);", r.tile,
                   r.bytes(), r.rows, dims[0]->index, dims[1]->index, tensor_pointer(from), offset_text(from, source.args), stride(from, source.args.size() - 1), limit[0], limit[1],
                   r.element_bytes == 1 ? "16_bytes" : "8", r.element_bytes == 1 ? " / 2" : ""));
  for (const Dim* d : dims) forget(*d);
  scopes_.pop_back();
  close();
  line("quern_cp_async_commit();");
  line("quern_cp_async_wait<0>();");
  line("quern_async_fence();");
  line(fmt::format("quern_barrier_sync({}, {});", kLoadingBarrier, loading_threads()));
  line(fmt::format("if (thread % 128 == 0) quern_mbarrier_arrive(full{0} + 8 * stage{0});", r.tile));
  scopes_.pop_back();
  close();
  line(fmt::format("if (++stage{0} == {1}) stage{0} = 0, phase{0} ^= 1;", r.tile, r.stages));
  scopes_.pop_back();
  close();
}

// Computing.

std::string KernelPrinter::operand_name(const Contraction& c, std::size_t side) const {
  return fmt::format("{}{}", side > 0 ? "left_of_group" : arranged_->parted.contains(c.column) ? "right_of_group" : "right", c.tiles[side]);
}

void KernelPrinter::computing_role() {
  const Schedule& s = *schedule_;
  line("const int group = __shfl_sync(0xffffffffu, thread / 128, 0);");
  // What products read, by role in them: the tile of a left factor starts at the group's rows.
  std::set<std::string> named;
  for (const Nest* nest : arranged_->products) {
    const Contraction& c = arranged_->contractions.at(nest);
    for (std::size_t side = 0; side < c.tiles.size(); ++side) {
      const bool right = side == 0;
      const Ring& r = ring_of(c.tiles[side]);
      const OperandTile& tile = arranged_->operands.at(r.tile);
      const bool transposed = tile.dims[1] != c.inner;
      const std::string name = operand_name(c, side);
      if (!named.insert(name).second) continue;
      // Bytes from one group's part of the tile to the next one's.
      const int columns = arranged_->column_tiles.at(c.column) * 8;
      std::int64_t part = 0;
      if (right && arranged_->parted.contains(c.column)) part = transposed ? columns * r.rows * 2 : columns * 128;
      if (!right && arranged_->column_groups == 1) part = transposed ? r.rows * 128 : 64 * 128;
      const std::string rows = part ? fmt::format(" + group * {}", part) : "";
      line(fmt::format("const unsigned long long {} = quern_operand(ring{}{}, {});", name, r.tile, rows, transposed ? r.rows * 128 : 16));
    }
  }
  for (const Ring& r : s.rings) if (r.held) line(fmt::format("unsigned held{} = 0;", r.tile));
  // The first group's turn comes first.
  const bool turns = std::any_of(s.steady.begin(), s.steady.end(), [](const Step& step) { return step.kind == Step::pass; });
  if (turns) line(fmt::format("if (group == {}) quern_barrier_arrive(1, 256);", kernel_.groups - 1));
  each_task(false, [&] {
    declare_registers();
    std::set<TensorId> declared;
    for (const Nest* nest : arranged_->products)
      if (const Contraction& c = arranged_->contractions.at(nest); c.left_in_registers && declared.insert(nest->updates[0].target).second)
        line(fmt::format("unsigned left{}[{}][4];", nest->updates[0].target, arranged_->column_tiles.at(c.inner) / 2));
    walk(s.before, true);
    const tile::For& loop = *s.loop;
    const std::string begin = value(loop.begin), end = value(loop.end), x = fmt::format("x{}", loop.index);
    line(fmt::format("long long {} = {};", x, begin));
    indices_[loop.index] = x;
    std::string stop = end;
    if (loop.own) {
      indices_[loop.own->group] = "group";
      stop = fmt::format("{}_stop", x);
      line(fmt::format("const long long {0}_start = {1}, {0}_stop = min({2}, {3});  // what this group's rows need", x, value(loop.own->begin), value(loop.own->end), end));
      skip_blocks(fmt::format("{0} < {1} && ({0} < {0}_start || {0} >= {0}_stop)", x, end));
    }
    walk_blocks(x, stop);
    if (s.peeled) {
      walk(s.last, true);
      close();
    }
    if (loop.own) skip_blocks(fmt::format("{} < {}", x, end));
    indices_.erase(loop.index);
    combine_parts(loop);
    walk(s.after, true);
  });
  if (turns) line("if (group == 0) quern_barrier_sync(1, 256);  // the last turn is nobody's");
}

void KernelPrinter::skip_blocks(const std::string& condition) {
  const tile::For& loop = *schedule_->loop;
  line("#pragma unroll 1");
  open(fmt::format("for (; {}; x{} += {})", condition, loop.index, loop.step));
  scopes_.emplace_back();
  walk(schedule_->skipped, true);
  scopes_.pop_back();
  close();
}

/// The loop of the computing warps: the steps of the first block where blocks overlap, then those of the others.
void KernelPrinter::walk_blocks(const std::string& x, const std::string& end) {
  const Schedule& s = *schedule_;
  const tile::For& loop = *s.loop;
  // What the conditions read of memory does not change from block to block.
  for (const tile::Statement& st : loop.body)
    if (const auto* c = std::get_if<tile::If>(&st.node))
      compiler::for_each_node(pool_, c->condition, [&](Expr e) { if (pool_[e].op == Op::read && !pool_.depends_on(e, loop.index)) value(e); });
  auto name_whole = [&] {
    loop_ends_.clear();
    const std::string is_whole = whole_block(loop, true, loop_ends_);
    if (is_whole.empty()) return std::string();
    line(fmt::format("const bool whole = {};", is_whole));
    return std::string("whole");
  };
  if (s.peeled) {
    open(fmt::format("if ({} < {})", x, end));
    scopes_.emplace_back();
    is_whole_ = name_whole();
    walk(s.first, s.same_steps && is_whole_.empty());
    scopes_.pop_back();
    line(fmt::format("{} += {};", x, loop.step));
  }
  // With masks one loop does for all blocks; else runs of whole blocks and runs of others have a loop each.
  line("#pragma unroll 1");
  if (s.same_steps) {
    open(fmt::format("for (; {} < {}; {} += {})", x, end, x, loop.step));
    scopes_.emplace_back();
    is_whole_ = name_whole();
    walk(s.steady, is_whole_.empty());
    scopes_.pop_back();
    close();
    return;
  }
  open(fmt::format("while ({} < {})", x, end));
  scopes_.emplace_back();
  bool tested = false;
  for (const bool whole : {true, false}) {
    if (!whole && !tested) continue;
    line("#pragma unroll 1");
    open("do");
    scopes_.emplace_back();
    tested = !name_whole().empty();
    if (tested) line(whole ? "if (!whole) break;" : "if (whole) break;");
    is_whole_.clear();
    scopes_.emplace_back();
    walk(s.steady, whole);
    scopes_.pop_back();
    line(fmt::format("{} += {};", x, loop.step));
    scopes_.pop_back();
    close(fmt::format(" while ({} < {});", x, end));
    if (whole && tested) line(fmt::format("if ({} >= {}) break;", x, end));
  }
  scopes_.pop_back();
  close();
}

void KernelPrinter::walk(const std::vector<Step>& steps, bool whole) {
  for (const Step& step : steps) do_step(step, whole);
}

namespace {

/// Whether the nest ends early in some blocks and reads memory at its points, not the same everywhere.
bool tests_reads(const Program& program, const Nest& nest, const std::set<Expr>& ends) {
  if (std::none_of(nest.dims.begin(), nest.dims.end(), [&](const Dim& d) { return ends.contains(d.end); })) return false;
  bool reads = false;
  for (const tile::Update& u : nest.updates)
    compiler::for_each_node(program.pool, u.body, [&](Expr e) {
      const bool varies = std::any_of(nest.dims.begin(), nest.dims.end(), [&](const Dim& d) { return program.pool.depends_on(e, d.index); });
      reads |= varies && program.pool[e].op == Op::read && program.tensors[static_cast<TensorId>(program.pool[e].payload)].role != Role::scratch;
    });
  return reads;
}

}  // namespace

void KernelPrinter::do_step(const Step& step, bool whole) {
  const Nest* nest = whole ? step.work.whole : step.work.partial;
  if (step.kind == Step::run && !nest) return;
  if (whole || step.work.masked) whole_ends_ = loop_ends_;
  switch (step.kind) {
    case Step::await: line(fmt::format("quern_mbarrier_wait(full{0} + 8 * stage{0}, phase{0});", step.tile)); break;
    case Step::release: {
      const Ring& r = ring_of(step.tile);
      line(fmt::format("if (lane == 0) quern_mbarrier_arrive(empty{0} + 8 * {1}{0});", step.tile, r.held ? "held" : "stage"));
      if (r.held) line(fmt::format("if (++held{0} == {1}) held{0} = 0;", step.tile, r.stages));
      break;
    }
    case Step::advance: line(fmt::format("if (++stage{0} == {1}) stage{0} = 0, phase{0} ^= 1;", step.tile, ring_of(step.tile).stages)); break;
    case Step::turn: line("quern_barrier_sync(1 + group, 256);"); break;
    case Step::pass: line(fmt::format("quern_barrier_arrive(1 + (group + 1) % {}, 256);", kernel_.groups)); break;
    case Step::issue:
      issue_products(*nest);
      flying_.push_back(nest);
      break;
    case Step::finish:
      line(fmt::format("quern_wgmma_wait<{}>();", step.pending));
      for (; static_cast<int>(flying_.size()) > step.pending; flying_.erase(flying_.begin()))
        line(fmt::format("quern_wgmma_pin(tile{}[0]);", flying_.front()->updates[0].target));
      break;
    case Step::pack: pack_factor(*nest); break;
    case Step::run:
      through_ = step.work.through;
      if (is_whole_.empty() || whole || (step.work.whole && (step.work.masked || !tests_reads(program_, *nest, loop_ends_)))) {
        statement(*nest);
        break;
      }
      // Reads behind a test each would wait for each other.
      if (step.work.whole) {
        whole_ends_ = loop_ends_;
        open(fmt::format("if ({})", is_whole_)), scopes_.emplace_back();
        statement(*step.work.whole);
        scopes_.pop_back(), close();
        whole_ends_.clear();
      }
      open(fmt::format("if (!{})", is_whole_)), scopes_.emplace_back();
      statement(*nest);
      scopes_.pop_back(), close();
      break;
  }
  through_.reset();
  whole_ends_.clear();
}

/// What the machine does for a contraction.
GroupProduct KernelPrinter::group_product(const Contraction& c, const Dim& inner) const {
  GroupProduct p;
  GroupOperand* const operands[] = {&p.right, &p.left};
  for (std::size_t side = 0; side < c.tiles.size(); ++side) {
    const Ring& r = ring_of(c.tiles[side]);
    operands[side]->transposed = arranged_->operands.at(r.tile).dims[1] != c.inner;
    if (!operands[side]->transposed) operands[side]->rows = r.rows;
  }
  p.left.in_registers = c.left_in_registers;
  p.left_type = c.bytes ? name(ring_of(c.tiles[1]).from) : c.bf16 ? "bf16" : "f16";
  p.right_type = c.bytes ? name(ring_of(c.tiles[0]).from) : p.left_type;
  p.columns = arranged_->column_tiles.at(c.column) * 8;
  const int depth = c.bytes ? 32 : 16;
  p.steps = static_cast<int>((extent_of(pool_, inner)->most + depth - 1) / depth);
  return p;
}

/// Starts the products of a contraction, as a group.
void KernelPrinter::issue_products(const Nest& nest) {
  const Contraction& c = arranged_->contractions.at(&nest);
  const tile::Update& u = nest.updates[0];
  if (!nest.note.empty()) line(comment(nest.note));
  open("");
  scopes_.emplace_back();
  in_fragment_ = true;
  const Dim &row = dim_of(nest, arranged_->row), &inner = dim_of(nest, c.inner);
  const Expr self = pool_.read(u.target, program_.tensors[u.target].type, u.subscripts);
  bool fresh_sums = !u.start;
  if (u.start && u.start != self) {
    // Sums that go on are multiplied by what is 1 for most rows most of the time.
    const Node& start = pool_[u.start];
    Expr factor;
    if (start.op == Op::mul && (start.args[0] == self || start.args[1] == self)) factor = start.args[start.args[0] == self ? 1 : 0];
    if (factor && !pool_.depends_on(factor, c.column) && !touches_memory(factor)) {
      line("bool moves = false;");
      open_rows(row);
      line(fmt::format("moves |= {} != 1.0f;", value(factor)));
      close_loops();
      forget(row);
      open("if (__any_sync(0xffffffffu, moves))");
      scopes_.emplace_back();
      start_sums(nest);
      scopes_.pop_back();
      close();
    } else {
      start_sums(nest);
    }
  }
  for (std::size_t side = 0; side < c.tiles.size(); ++side) {
    const Ring& r = ring_of(c.tiles[side]);
    line(fmt::format("const unsigned long long {} = {} + stage{} * {};", side == 0 ? "b" : "a", operand_name(c, side), r.tile, r.bytes() / 16));
  }
  const GroupProduct product = group_product(c, inner);
  group_products.insert(product);
  line("quern_wgmma_fence();");
  line(fmt::format("{}(tile{}[0], {}, b, {});", product.name(), u.target, c.left_in_registers ? fmt::format("left{}", u.target) : "a", fresh_sums ? 0 : 1));
  line("quern_wgmma_commit();");
  in_fragment_ = false;
  scopes_.pop_back();
  close();
}

/// The left factor of a contraction from what its threads hold.
void KernelPrinter::pack_factor(const Nest& nest) {
  const Contraction& c = arranged_->contractions.at(&nest);
  const tile::Update& u = nest.updates[0];
  open("");
  scopes_.emplace_back();
  in_fragment_ = true;
  const Dim &row = dim_of(nest, arranged_->row), &inner = dim_of(nest, c.inner);
  const int steps = arranged_->column_tiles.at(c.inner) / 2;
  const std::string inner_limit = limit_text(inner, std::int64_t{steps} * 16);
  const std::string row_limit = touches_memory(u.domain) || touches_memory(c.left) ? limit_text(row, arranged_->rows()) : "";
  line("#pragma unroll");
  open(fmt::format("for (int kt = 0; kt < {}; ++kt)", steps));
  scopes_.emplace_back();
  left_fragments(nest, c, row, inner, inner_limit, row_limit, fmt::format("left{}[kt]", u.target));
  scopes_.pop_back();
  close();
  in_fragment_ = false;
  scopes_.pop_back();
  close();
}

}  // namespace quern::cuda
