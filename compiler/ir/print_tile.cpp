// Printer of the tile IR. The text is for reading and for comparing two compilations; nothing parses it.
#include "compiler/ir/print_tile.h"

#include <fmt/format.h>

#include "dsl/ir/print_program.h"

namespace quern::tile {

using namespace ir;

namespace {

struct Printer {
  const Module& module;
  Names names;
  std::string out;
  int depth = 1;

  explicit Printer(const Module& m) : module(m), names(unique_names(m.program)) {}

  std::string text(Expr e) const { return e ? print_expr(module.program, e, names) : ""; }
  std::string list(const std::vector<Expr>& items) const {
    std::string s;
    for (Expr e : items) s += (s.empty() ? "" : ", ") + text(e);
    return s;
  }
  const std::string& index(IndexId i) const { return names.indices[i]; }
  const std::string& tensor(TensorId t) const { return names.tensors[t]; }
  void line(const std::string& s) { out += std::string(static_cast<std::size_t>(depth) * 2, ' ') + s + "\n"; }

  void block(const Block& b) {
    ++depth;
    for (const Statement& s : b) std::visit([&](const auto& n) { print(n); }, s.node);
    --depth;
  }
  void print(const For& f) {
    line(fmt::format("for {} in {}:{} step {}", index(f.index), text(f.begin), text(f.end), f.step));
    if (f.own) line(fmt::format("  rows of {} need {}:{}", index(f.own->group), text(f.own->begin), text(f.own->end)));
    block(f.body);
    for (const Nest& n : f.masks) {
      line("  outside of blocks:");
      ++depth;
      print(n);
      --depth;
    }
  }
  void print(const If& f) {
    line(fmt::format("if {}", text(f.condition)));
    block(f.then_block);
    if (f.else_block.empty()) return;
    line("else");
    block(f.else_block);
  }
  void print(const Nest& n) {
    std::string dims;
    for (const Dim& d : n.dims)
      dims += fmt::format("{}{} in {}:{}{}{}", dims.empty() ? "" : ", ", index(d.index), text(d.begin), text(d.end),
                          d.lanes ? " lanes" : "", d.unroll > 1 ? fmt::format(" x{}", d.unroll) : "");
    line(fmt::format("nest [{}]{}", dims, n.note.empty() ? "" : "  # " + n.note));
    ++depth;
    for (const Update& u : n.updates) print(u);
    --depth;
  }
  void print(const Update& u) {
    std::string target = u.has_value_target ? fmt::format("{}[{}]", tensor(u.target), list(u.subscripts)) : "";
    if (u.has_position_target) target += fmt::format("{}{}[{}]", target.empty() ? "" : ", ", tensor(u.position_target), list(u.subscripts));
    std::string over;
    for (IndexId i : u.over) over += (over.empty() ? "" : ",") + index(i);
    if (u.domain) over += " where " + text(u.domain);
    const std::string start = u.start ? fmt::format(" from {}", text(u.start)) : "";
    const std::string result = u.result ? fmt::format(" then {}", text(u.result)) : "";
    switch (u.kind) {
      case UpdateKind::store: line(fmt::format("{} = {}{}", target, text(u.body), u.domain ? over : "")); break;
      case UpdateKind::reduce: line(fmt::format("{} = {}[{}]({}){}{}", target, u.is_search ? "search" : name(u.reducer), over, text(u.body), start, result)); break;
      case UpdateKind::scan: line(fmt::format("{} = scan[{}]({}){}", target, over, text(u.body), start)); break;
      case UpdateKind::scatter: line(fmt::format("{} {}= {}{}", target, name(u.reducer), text(u.body), u.checked ? "  # checked" : "")); break;
    }
  }
  void print(const Select& s) {
    std::string target;
    if (s.want_values) target = tensor(s.values);
    if (s.want_positions) target += (target.empty() ? "" : ", ") + tensor(s.positions);
    if (s.body) {
      line(fmt::format("{} = select({} for {} in {} + 0:{}{}, {})", target, text(s.body), index(s.index), text(s.begin), text(s.extent), s.domain ? " where " + text(s.domain) : "", text(s.k)));
      return;
    }
    const std::string live = s.has_live ? " where " + tensor(s.live) : "";
    line(fmt::format("{} = {}({}[0:{}]{}, {})", target, s.sort ? "sort" : "select", tensor(s.source), text(s.extent), live, text(s.k)));
  }

  void kernel(const Kernel& k) {
    std::string grid;
    for (const GridDim& g : k.grid)
      grid += fmt::format("{}{} in {}:{} step {}", grid.empty() ? "" : ", ", index(g.index), text(g.begin), text(g.end), g.step);
    out += fmt::format("kernel {} grid [{}]{}{} lanes {}{}\n", k.name, grid, k.chained ? " chained" : "", k.groups ? fmt::format(" groups {}{}", k.groups, k.column_groups > 1 ? " side by side" : "") : "", k.lanes, k.when ? " when " + text(k.when) : "");
    for (TensorId t : k.scratch) {
      const Tensor& s = module.program.tensors[t];
      line(fmt::format("tile {}: {}[{}]", tensor(t), quern::name(s.type), list(s.shape)));
    }
    --depth;
    block(k.body);
    ++depth;
  }
};

}  // namespace

std::string print_kernel(const Module& module, const Kernel& kernel) {
  Printer p(module);
  p.kernel(kernel);
  return p.out;
}

std::string print_module(const Module& module) {
  Printer p(module);
  for (const TensorId t : module.workspace)
    p.out += fmt::format("workspace {}: {}[{}]\n", p.tensor(t), quern::name(module.program.tensors[t].type), p.list(module.program.tensors[t].shape));
  for (const Kernel& k : module.kernels) p.kernel(k);
  return p.out;
}

}  // namespace quern::tile
