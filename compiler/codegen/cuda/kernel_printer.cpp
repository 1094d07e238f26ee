// The frame of a kernel: parameter words, the loop over tasks, where tiles live, sequential loops, branches and barriers.
#include "compiler/codegen/cuda/kernel_printer.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;

namespace {
constexpr int kThreads = 256;
constexpr std::int64_t kTileAlignment = 128;
/// Static shared memory of the exchange between warps.
constexpr std::int64_t kExchangeBytes = kThreads * 16;
}  // namespace

KernelPrinter::KernelPrinter(ModuleText& shared, const tile::Kernel& kernel)
    : shared_(shared), program_(shared.program), pool_(shared.program.pool), kernel_(kernel) {
  launch.entry = "quern_" + kernel.name;
  arranged_ = arrange(program_, kernel);
  if (arranged_) part_sums_ = part_sums(program_, kernel, *arranged_);
  if (kernel.groups > 0) {
    std::string why = "it has no arrangement";
    if (arranged_) schedule_ = schedule_roles(program_, kernel, *arranged_, shared.options.target.shared_bytes, &why);
    if (!schedule_) throw std::logic_error("a kernel planned for roles cannot have them: " + why);
    launch.threads = 128 * (kernel.groups + 1);
    launch.blocks_per_multiprocessor = 1;
    find_sums();
    scopes_.emplace_back();
    return;
  }
  lay_out();
  // Matrix instructions take operands from shared memory alone.
  if (arranged_ && arranged_bytes() > room()) {
    arranged_.reset();
    part_sums_.clear();
    lay_out();
  }
  scopes_.emplace_back();
}

void KernelPrinter::line(const std::string& text) { text_ += std::string(static_cast<std::size_t>(depth_) * 2, ' ') + text + "\n"; }
void KernelPrinter::open(const std::string& text) {
  line(text.empty() ? "{" : text + " {");
  ++depth_;
}
void KernelPrinter::close(const std::string& tail) {
  --depth_;
  line("}" + tail);
}

/// What follows from the arrangement, or from having none.
void KernelPrinter::lay_out() {
  rings_.clear();
  scores_.clear();
  long_sums_.clear();
  scan_bytes_ = 0;
  launch.threads = arranged_ ? 32 * arranged_->warps : kThreads;
  if (arranged_) {
    find_rings(kernel_.body);
    find_sums();
  }
  find_scans(kernel_.body);
  padded_.clear();
  register_blocks_.clear();
  find_register_blocks(kernel_.body);
}

/// Sums of products and what is made of them.
void KernelPrinter::find_sums() {
  for (const auto& [nest, c] : arranged_->contractions) {
    const TensorId t = nest->updates[0].target;
    scores_.insert(t);
    bool is_long = true;  // in every block
    for (const tile::Dim& d : nest->dims)
      if (d.index == c.inner) {
        const auto extent = extent_of(pool_, d);
        is_long = extent && !extent->limit && extent->most >= 16 && !nest->updates[0].domain && !nest->updates[0].start;
      }
    if (is_long) long_sums_.insert(t);
  }
  find_scores(kernel_.body);
}

/// Register tiles of f32 whose every element is computed from a score: rounded as much as one.
void KernelPrinter::find_scores(const tile::Block& b) {
  for (const tile::Statement& s : b) {
    if (auto* f = std::get_if<tile::For>(&s.node)) find_scores(f->body);
    else if (auto* i = std::get_if<tile::If>(&s.node)) find_scores(i->then_block), find_scores(i->else_block);
    auto* n = std::get_if<tile::Nest>(&s.node);
    if (!n) continue;
    for (const tile::Update& u : n->updates) {
      if (u.kind != tile::UpdateKind::store || !in_registers(u.target) || program_.tensors[u.target].type != DType::f32) continue;
      Expr body = u.body;
      if (pool_[body].op == Op::where && pool_.is_real_constant(pool_[body].args[2])) body = pool_[body].args[1];  // behind its guard
      switch (pool_[body].op) {  // operators that round
        case Op::add: case Op::sub: case Op::mul: case Op::div: case Op::tanh: case Op::sigmoid: case Op::gelu: case Op::silu: case Op::softplus: break;
        default: continue;
      }
      bool from_score = false;
      compiler::for_each_node(pool_, body, [&](Expr at) {
        from_score |= pool_[at].op == Op::read && scores_.contains(static_cast<TensorId>(pool_[at].payload));
      });
      if (from_score) scores_.insert(u.target);
    }
  }
}

/// Shared memory that products need.
std::int64_t KernelPrinter::arranged_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [t, o] : arranged_->operands) bytes += operand_bytes(t);
  std::set<TensorId> passed;
  for (const auto& [nest, c] : arranged_->contractions)
    if (passed.insert(nest->updates[0].target).second) bytes += passed_bytes(c);
  return bytes;
}

/// Bytes of an operand tile, all its stages.
std::int64_t KernelPrinter::operand_bytes(TensorId t) const {
  const OperandTile& o = arranged_->operands.at(t);
  return o.rows * o.pitch * o.bytes * (rings_.contains(t) ? kStages : 1);
}

/// One line that ends where it should: nothing of a program's text gets out of a comment.
std::string KernelPrinter::comment(const std::string& text) {
  std::string out = "// ";
  for (char c : text) out += c == '\\' || c == '\n' || static_cast<unsigned char>(c) >= 0x80 ? '?' : c;
  return out;
}

std::string KernelPrinter::word(Word w) {
  auto [it, fresh_word] = words_.try_emplace({w.kind, w.id, w.axis}, launch.words.size());
  const std::size_t at = it->second;
  std::string name;
  switch (w.kind) {
    case Word::data: name = fmt::format("t{}", w.id); break;
    case Word::stride: name = fmt::format("t{}_s{}", w.id, w.axis); break;
    case Word::symbol: name = fmt::format("n{}", w.id); break;
    case Word::scalar: name = fmt::format("c{}", w.id); break;
    case Word::status: name = "status"; break;
    case Word::slab: name = "slab_words"; break;
    case Word::tasks: name = "tasks"; break;
    case Word::zeroed: name = "zeroed"; break;
    case Word::counter: name = "counter"; break;
    case Word::mapped: name = "mapped"; break;
  }
  if (!fresh_word) return name;
  launch.words.push_back(w);
  if (launch.words.size() > 500) throw std::logic_error("a kernel has more than 500 parameter words");
  if (w.kind == Word::data) {
    const Tensor& t = program_.tensors[w.id];
    bool shared_storage = t.role != Role::input;
    for (const auto& [in, out] : shared_.may_share) shared_storage |= in == w.id;
    const std::string type = stored_type(t.type);
    if (shared_storage) head_ += fmt::format("  {}* const {} = ({}*)words.at[{}];\n", type, name, type, at);
    else head_ += fmt::format("  const {}* const __restrict__ {} = (const {}*)words.at[{}];\n", type, name, type, at);
  } else if (w.kind == Word::status) {
    head_ += fmt::format("  quern_status* const {} = (quern_status*)words.at[{}];\n", name, at);
  } else {
    head_ += fmt::format("  const long long {} = words.at[{}];\n", name, at);
  }
  return name;
}

std::string KernelPrinter::tensor_pointer(TensorId tensor) {
  if (auto it = tiles_.find(tensor); it != tiles_.end()) return it->second.base;
  return word({Word::data, tensor, 0});
}

std::string KernelPrinter::stride(TensorId tensor, std::size_t axis) {
  const Tensor& t = program_.tensors[tensor];
  const auto& layouts = shared_.options.layouts;
  const bool dense = t.role == Role::temp || (tensor < layouts.size() && layouts[tensor].dense);
  if (dense) {
    Expr product = pool_.integer(1);
    for (std::size_t k = axis + 1; k < t.shape.size(); ++k) product = pool_.mul(product, t.shape[k]);
    std::int64_t k = 0;
    if (pool_.is_integer_constant(product, &k)) return fmt::format("{}", k);
    const std::string name = fmt::format("t{}_d{}", tensor, axis);
    if (declared_.insert(name).second) {
      std::string text;
      for (std::size_t a = axis + 1; a < t.shape.size(); ++a) {
        // Shapes are expressions over symbols: written in the head, before anything else.
        std::string body;
        std::swap(body, text_);
        std::vector<Scope> scopes(1);
        std::swap(scopes, scopes_);
        const int depth = std::exchange(depth_, 1);
        const std::string v = value(t.shape[a]);
        head_ += text_;
        depth_ = depth;
        std::swap(scopes, scopes_);
        text_ = body;
        text += (text.empty() ? "" : " * ") + v;
      }
      head_ += fmt::format("  const long long {} = {};\n", name, text);
    }
    return name;
  }
  if (tensor < layouts.size() && axis < layouts[tensor].strides.size()) {
    if (layouts[tensor].strides[axis] == cpu::StrideClass::one) return "1";
    if (layouts[tensor].strides[axis] == cpu::StrideClass::zero) return "0";
  }
  return word({Word::stride, tensor, static_cast<int>(axis)});
}

/// Bytes of shared memory that tiles may take.
std::int64_t KernelPrinter::room() const { return shared_.options.target.shared_bytes - kExchangeBytes - scan_bytes_ - 1024; }

/// Tiles of known size go to shared memory, operands first and then the smallest, the rest to the slab. Tiles whose size is known at the launch
/// only go together to whichever has room.
void KernelPrinter::place_tiles() {
  struct Item {
    TensorId tensor;
    std::int64_t bytes;
  };
  std::vector<Item> fixed;
  std::vector<TensorId> open_size;
  auto element_strides = [&](TensorId id) {
    const Tensor& t = program_.tensors[id];
    std::vector<Expr> strides(t.shape.size());
    Expr product = pool_.integer(1);
    for (std::size_t k = t.shape.size(); k-- > 0;) {
      strides[k] = product;
      Expr size = t.shape[k];
      if (k + 1 == t.shape.size()) {
        const Expr lanes = pool_.integer(kernel_.lanes);
        size = pool_.mul(pool_.apply(Op::floordiv, {pool_.add(size, pool_.integer(kernel_.lanes - 1)), lanes}), lanes);
        if (padded_.contains(id)) size = pool_.add(size, pool_.integer(static_cast<std::int64_t>(16 / size_of(t.type))));
      }
      product = pool_.mul(product, pool_.max(size, pool_.integer(0)));
    }
    strides.push_back(product);
    return strides;
  };
  auto bytes_of = [&](TensorId t) {
    const Expr bytes = pool_.mul(element_strides(t).back(), pool_.integer(static_cast<std::int64_t>(size_of(program_.tensors[t].type))));
    const Expr unit = pool_.integer(kTileAlignment);
    return pool_.mul(pool_.apply(Op::floordiv, {pool_.add(bytes, pool_.integer(kTileAlignment - 1)), unit}), unit);
  };
  for (TensorId t : kernel_.scratch) {
    std::int64_t bytes = 0;
    if (in_registers(t)) continue;
    if (arranged_ && arranged_->operands.contains(t)) {
      fixed.push_back({t, operand_bytes(t)});
      continue;
    }
    if (pool_.is_integer_constant(bytes_of(t), &bytes)) fixed.push_back({t, bytes});
    else open_size.push_back(t);
  }
  // Operands first: they have to be there.
  std::stable_sort(fixed.begin(), fixed.end(), [&](const Item& a, const Item& b) {
    auto is_operand = [&](TensorId t) { return arranged_ && arranged_->operands.contains(t); };
    return std::pair(!is_operand(a.tensor), a.bytes) < std::pair(!is_operand(b.tensor), b.bytes);
  });
  const std::int64_t room = this->room();
  std::int64_t in_shared = 0, in_slab = 0;
  std::set<TensorId> passed;  // two branches share it
  if (arranged_)
    for (const auto& [nest, c] : arranged_->contractions) {
      if (passed_bytes(c) == 0 || !passed.insert(nest->updates[0].target).second) continue;
      line(fmt::format("float* const passed{} = (float*)(shared + {});", nest->updates[0].target, in_shared));
      in_shared += passed_bytes(c);
    }
  std::map<TensorId, std::string> base;
  for (const Item& i : fixed) {
    if (in_shared + i.bytes <= room) {
      base[i.tensor] = fmt::format("shared + {}", in_shared);
      in_shared += i.bytes;
    } else {
      base[i.tensor] = fmt::format("slab + {}", in_slab);
      in_slab += i.bytes;
    }
  }
  Expr open_bytes = pool_.integer(0);
  std::map<TensorId, Expr> open_at;
  for (TensorId t : open_size) {
    open_at[t] = open_bytes;
    open_bytes = pool_.add(open_bytes, bytes_of(t));
  }
  const Expr fits = pool_.apply(Op::le, {open_bytes, pool_.integer(room - in_shared)});
  const Expr zero = pool_.integer(0);
  launch.shared_bytes = pool_.add(pool_.integer(in_shared), open_size.empty() ? zero : pool_.where(fits, open_bytes, zero));
  launch.slab_bytes = pool_.add(pool_.integer(in_slab), open_size.empty() ? zero : pool_.where(fits, zero, open_bytes));
  std::int64_t slab = 0;
  const bool may_need_slab = !pool_.is_integer_constant(launch.slab_bytes, &slab) || slab > 0;
  if (may_need_slab) {
    launch.blocks_per_multiprocessor = 8;
    const std::string each = value(launch.slab_bytes);
    line(fmt::format("unsigned char* const slab = (unsigned char*){} + {} * blockIdx.x;", word({Word::slab, 0, 0}), each));
  }
  if (!open_size.empty()) line(fmt::format("unsigned char* const open_tiles = {} ? shared + {} : slab + {};", value(fits), in_shared, in_slab));
  for (TensorId t : kernel_.scratch) {
    if (in_registers(t)) continue;
    const Tensor& tensor = program_.tensors[t];
    TilePlace place;
    place.base = fmt::format("tile{}", t);
    const std::string at = base.contains(t) ? base.at(t) : "open_tiles + " + value(open_at.at(t));
    const std::string type = stored_type(tensor.type);
    std::string shape;
    for (Expr s : tensor.shape) {
      std::int64_t k = 0;
      shape += fmt::format("[{}]", pool_.is_integer_constant(s, &k) ? std::to_string(k) : "...");
    }
    line(fmt::format("{}* const {}{} = ({}*)({});  // {}", type, rings_.contains(t) ? "ring" : "tile", t, type, at, shape));
    if (arranged_ && arranged_->operands.contains(t)) {
      place.strides = {std::to_string(arranged_->operands.at(t).pitch), "1"};
      tiles_[t] = std::move(place);
      continue;
    }
    const auto strides = element_strides(t);
    for (std::size_t k = 0; k + 1 < strides.size(); ++k) {
      std::int64_t c = 0;
      if (pool_.is_integer_constant(strides[k], &c)) place.strides.push_back(std::to_string(c));
      else place.strides.push_back(value(strides[k]));
    }
    tiles_[t] = std::move(place);
  }
}

/// All warps of a block do the same work on one task after the other.
void KernelPrinter::all_warps() {
  std::string first_task = "blockIdx.x";
  if (kernel_.chained) {
    // A counter, then a record for each task.
    uses_exchange_ = true;
    const auto* nest = std::get_if<tile::Nest>(&kernel_.body.at(0).node);
    const auto scan = nest ? scan_of(*nest) : std::nullopt;
    if (!scan) throw std::logic_error("the steps of a chained scan do not combine");
    launch.zeroed_bytes = pool_.add(pool_.integer(128), pool_.mul(launch.tasks, pool_.integer(8 * record_words(*scan))));
    first_task = fmt::format("quern_ticket((unsigned long long*){}, exchange)", word({Word::zeroed, 0, 0}));
    links_ = task_counts_.back();
  }
  open(fmt::format("for (long long task = {}; task < {}; task += gridDim.x)", first_task, word({Word::tasks, 0, 0})));
  scopes_.emplace_back();
  decode_task();
  if (arranged_) declare_registers();
  block(kernel_.body);
  if (!kernel_.scratch.empty() || uses_exchange_) line("__syncthreads();");
  scopes_.pop_back();
  close();
}

/// The block of the grid that a task is.
void KernelPrinter::decode_task() {
  if (kernel_.grid.size() > 1) line("long long rest = task;");
  for (std::size_t k = kernel_.grid.size(); k-- > 0;) {
    const tile::GridDim& g = kernel_.grid[k];
    std::string at = "task";
    if (kernel_.grid.size() > 1) {
      at = fmt::format("g{}", k);
      if (k > 0) line(fmt::format("const long long {} = quern_split(rest, {});", at, task_counts_[k]));
      else line(fmt::format("const long long {} = rest;", at));
    }
    const std::string name = fmt::format("x{}", g.index);
    const std::string begin = value(g.begin);
    // The blocks with the longest walks come first, so that short ones fill the end.
    if (lengthens_loops(kernel_.body, g.index)) at = fmt::format("({} - 1 - {})", task_counts_[k], at);
    line(fmt::format("const long long {} = {} + {} * {};  // {}", name, begin, at, g.step, "block of the grid"));
    indices_[g.index] = name;
  }
}

std::string KernelPrinter::run(Expr unless) {
  if (arranged_ && arranged_->f32) declare_lanes();
  else if (arranged_) line("const int lane = thread % 32, warp = thread / 32;");
  if (schedule_) place_rings();
  else place_tiles();
  // Tasks: the product of the grid's dimensions, the last one fastest.
  Expr tasks = pool_.integer(1);
  for (const tile::GridDim& g : kernel_.grid) {
    const Expr step = pool_.integer(g.step);
    const Expr count = pool_.max(pool_.integer(0), pool_.apply(Op::floordiv, {pool_.add(pool_.sub(g.end, g.begin), pool_.integer(g.step - 1)), step}));
    tasks = pool_.mul(tasks, count);
    task_counts_.push_back(value(count));
  }
  launch.tasks = kernel_.when ? pool_.where(kernel_.when, tasks, pool_.integer(0)) : tasks;
  if (unless) launch.tasks = pool_.where(unless, pool_.integer(0), launch.tasks);
  launch.zeroed_bytes = pool_.integer(0);
  if (schedule_) role_kernel();
  else all_warps();

  // Two blocks of a multiprocessor where results of 32 registers allow it: one loads while the other computes.
  const bool blocked = !register_blocks_.empty() && std::all_of(register_blocks_.begin(), register_blocks_.end(), [](const auto& b) { return b.second.vector == 4 && b.second.rows * b.second.columns <= 32; });
  return function(fmt::format("{}{}", launch.threads, schedule_ ? ", 1" : blocked ? ", 2" : selects_ ? ", 5" : scans_in_shared_ ? copies_chain_ ? ", 6" : ", 4" : ""));
}

/// Everything printed so far as one function.
std::string KernelPrinter::function(const std::string& bounds) const {
  std::string out;
  for (const std::string& why : kernel_.why) out += comment(why) + "\n";
  const std::string maps = launch.maps.empty() ? "" : fmt::format("quern_map maps[{}]; ", launch.maps.size());
  out += fmt::format("struct {}_words {{ {}long long at[{}]; }};\n", launch.entry, maps, std::max<std::size_t>(launch.words.size(), 1));
  out += fmt::format("extern \"C\" __global__ void __launch_bounds__({}) {}(const __grid_constant__ {}_words words) {{\n", bounds, launch.entry, launch.entry);
  if (by_warp_) {
    out += "  extern __shared__ __align__(128) unsigned char every[];\n";
    out += fmt::format("  unsigned char* const shared = every + threadIdx.x / 32 * {};\n", warp_bytes_);
    const int warp_room = by_eighths_ ? kEighthsBytes : kWarpTopBytes;
    if (uses_exchange_) out += fmt::format("  __shared__ __align__(16) unsigned char exchanges[{}];\n  unsigned char* const exchange = exchanges + threadIdx.x / 32 * {};\n", launch.threads / 32 * warp_room, warp_room);
    out += "  const int thread = (int)threadIdx.x % 32;\n";
    return out + head_ + text_ + "}\n";
  }
  out += fmt::format("  extern __shared__ __align__({}) unsigned char shared[];\n", schedule_ ? 1024 : kTileAlignment);
  if (uses_exchange_) out += fmt::format("  __shared__ __align__(16) unsigned char exchange[{}];\n", rows_ ? kRowExchangeBytes : selects_ ? kTopBytes : kExchangeBytes);
  if (scan_bytes_ > 0) out += fmt::format("  __shared__ __align__(16) unsigned char scanned[{}];\n", scan_bytes_);
  out += "  const int thread = (int)threadIdx.x;\n";
  out += head_ + text_ + "}\n";
  return out;
}

void KernelPrinter::block(const tile::Block& b) {
  for (const tile::Statement& s : b) std::visit([&](const auto& n) { statement(n); }, s.node);
}

/// Whether a later block of the index walks a longer loop.
bool KernelPrinter::lengthens_loops(const tile::Block& b, IndexId index) const {
  for (const tile::Statement& s : b)
    if (auto* f = std::get_if<tile::For>(&s.node); f && pool_.depends_on(f->end, index) && !pool_.depends_on(f->begin, index)) return true;
  return false;
}

/// Tiles that the loops below fill ahead of their use.
void KernelPrinter::find_rings(const tile::Block& b) {
  for (const tile::Statement& s : b) {
    auto* f = std::get_if<tile::For>(&s.node);
    if (!f) continue;
    const Pipeline p = pipeline_of(*f);
    if (p.stages > 1) for (const tile::Nest* n : p.groups[0]) rings_.insert(n->updates[0].target);
    find_rings(f->body);
  }
}

void KernelPrinter::statement(const tile::For& loop) {
  if (const Pipeline p = pipeline_of(loop); !p.groups.empty()) {
    pipelined_loop(loop, p);
    combine_parts(loop);
    return;
  }
  Touched bounds;
  note_reads(loop.begin, bounds);
  note_reads(loop.end, bounds);
  settle(bounds);
  const std::string begin = value(loop.begin), end = value(loop.end);
  forget_reads();
  const std::string name = fmt::format("x{}", loop.index);
  open(fmt::format("for (long long {} = {}; {} < {}; {} += {})", name, begin, name, end, name, loop.step));
  scopes_.emplace_back();
  indices_[loop.index] = name;
  barrier();  // also between the end of one pass and the start of the next
  block(loop.body);
  indices_.erase(loop.index);
  scopes_.pop_back();
  close();
  combine_parts(loop);
}

void KernelPrinter::statement(const tile::If& branch) {
  Touched condition;
  note_reads(branch.condition, condition);
  settle(condition);
  scopes_.emplace_back();
  const std::string taken = value(branch.condition);
  forget_reads();
  open(fmt::format("if ({})", taken));
  const Touched before = touched_;
  scopes_.emplace_back();
  block(branch.then_block);
  scopes_.pop_back();
  close();
  Touched after = touched_;
  touched_ = before;
  if (!branch.else_block.empty()) {
    open("else");
    scopes_.emplace_back();
    block(branch.else_block);
    scopes_.pop_back();
    close();
  }
  scopes_.pop_back();
  touched_.read.insert(after.read.begin(), after.read.end());
  touched_.written.insert(after.written.begin(), after.written.end());
}

void KernelPrinter::note_reads(Expr e, Touched& out) const {
  if (!e) return;
  compiler::for_each_node(pool_, e, [&](Expr at) {
    if (pool_[at].op == Op::read && !in_registers(static_cast<TensorId>(pool_[at].payload))) out.read.insert(static_cast<TensorId>(pool_[at].payload));
  });
}

KernelPrinter::Touched KernelPrinter::touched_by(const tile::Nest& nest) const {
  Touched t;
  for (const tile::Dim& d : nest.dims) note_reads(d.begin, t), note_reads(d.end, t);
  for (const tile::Update& u : nest.updates) {
    for (Expr e : {u.body, u.domain, u.start, u.result, u.position, u.start_position}) note_reads(e, t);
    for (Expr e : u.subscripts) note_reads(e, t);
    if (u.has_value_target && !in_registers(u.target)) t.written.insert(u.target);
    if (u.has_position_target && !in_registers(u.position_target)) t.written.insert(u.position_target);
  }
  return t;
}

/// What was read may change before it is needed again.
void KernelPrinter::forget_reads() {
  std::erase_if(scopes_.back().names, [&](const auto& entry) { return touches_memory(Expr{entry.first}); });
}

/// A barrier, if what comes next touches what was touched.
void KernelPrinter::settle(const Touched& next) {
  if (schedule_) return;  // nothing is shared but what the steps of the roles wait for
  auto meets = [](const std::set<TensorId>& a, const std::set<TensorId>& b) {
    return std::any_of(a.begin(), a.end(), [&](TensorId t) { return b.contains(t); });
  };
  bool wanted = meets(next.read, touched_.written) || meets(next.written, touched_.written) || meets(next.written, touched_.read);
  for (const auto& [in, out] : shared_.may_share) {
    wanted |= next.written.contains(out) && touched_.read.contains(in);
    wanted |= next.read.contains(in) && touched_.written.contains(out);
  }
  if (meets(next.read, pending_)) {
    line("quern_cp_async_wait<0>();");
    pending_.clear();
    wanted = true;
  }
  if (wanted) barrier();
  touched_.read.insert(next.read.begin(), next.read.end());
  touched_.written.insert(next.written.begin(), next.written.end());
}

void KernelPrinter::barrier() {
  line(meet_);
  touched_ = {};
}

}  // namespace quern::cuda
