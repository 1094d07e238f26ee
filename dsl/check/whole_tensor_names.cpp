// Readable names for the indices that the translation made: einsum's letters, the letters of sizes (n for N), the names
// of an earlier definition, else i, j, k, ... The one idea: names are given last, when all indices of an equation are known.
#include "dsl/check/whole_tensor.h"

namespace quern::dsl {

using ir::Expr;
using ir::IndexId;

void WholeTensors::name_indices(const std::vector<WholeAxis>& axes, std::initializer_list<Typed> values) {
  std::vector<IndexId> order;
  std::set<IndexId> known;
  const auto add = [&](IndexId index) {
    if (index != kNoIndex && known.insert(index).second) order.push_back(index);
  };
  for (const WholeAxis& axis : axes) add(axis.index);
  std::set<Expr> seen;
  for (const Typed& value : values) {
    std::vector<Expr> open{value.expr};
    while (!open.empty()) {
      const Expr e = open.back();
      open.pop_back();
      if (!e || !seen.insert(e).second) continue;
      const ir::Node& n = pool_[e];
      for (IndexId index : n.axes) add(index);
      if (n.op == ir::Op::index) add(static_cast<IndexId>(n.payload));
      open.insert(open.end(), n.args.rbegin(), n.args.rend());
    }
  }
  std::set<std::string> taken;
  for (IndexId index : order) {
    if (!own_.contains(index)) taken.insert(el_.program.indices[index].name);
  }
  const auto is_free = [&](const std::string& name) { return !taken.contains(name) && el_.find(name) == nullptr; };
  // Wishes first, in order, so that i, j, k never take a letter that somebody asked for.
  std::vector<IndexId> unnamed;
  for (IndexId index : order) {
    if (!own_.contains(index)) continue;
    std::string& name = el_.program.indices[index].name;
    if (!name.empty() && is_free(name)) {
      taken.insert(name);
    } else {
      unnamed.push_back(index);
    }
  }
  constexpr std::string_view kLetters = "ijklmnopqrstuvwxyzabcdefgh";
  std::size_t next = 0;
  for (IndexId index : unnamed) {
    std::string name;
    do {
      name = std::string(1, kLetters[next % kLetters.size()]);
      if (next >= kLetters.size()) name += std::to_string(next / kLetters.size());
      ++next;
    } while (!is_free(name));
    taken.insert(name);
    el_.program.indices[index].name = std::move(name);
  }
  for (IndexId index : order) own_.erase(index);
}

}  // namespace quern::dsl
