// Names of one kernel: tensors, sizes, scalars, functions, and the indices in scope.
// The one idea: kernel names live in one table, indices on a stack; a function call starts a frame that hides the
// caller's indices and sees its own arguments first.
#include "dsl/check/elaborate.h"

namespace quern::dsl {
namespace {
constexpr std::size_t kMaxSteps = 200'000;
}

const Entry* Elaborator::find(const std::string& name) const {
  if (!frames_.empty()) {
    auto it = frames_.back().arguments.find(name);
    if (it != frames_.back().arguments.end()) return &it->second;
  }
  auto it = names.find(name);
  return it == names.end() ? nullptr : &it->second;
}

const Binder* Elaborator::find_index(const std::string& name) const {
  const std::size_t first = frames_.empty() ? 0 : frames_.back().first_binder;
  for (std::size_t i = binders_.size(); i > first; --i)
    if (binders_[i - 1].name == name) return &binders_[i - 1];
  return nullptr;
}

bool Elaborator::declare(const ast::Name& name, Meaning meaning) {
  if (dtype_from_name(name.text)) {
    diagnostics.report<Code::reserved_name>(name.span, name.text, "anything else")
        .label("an element type")
        .fix("use another name");
    return false;
  }
  auto it = names.find(name.text);
  if (it != names.end() && !it->second.outside) {
    auto& d = diagnostics.report<Code::redefined>(name.span, name.text);
    if (std::holds_alternative<TensorName>(it->second.meaning)) d.label("a tensor is defined once");
    d.note("the first definition", it->second.span).fix("use another name");
    return false;
  }
  names[name.text] = {std::move(meaning), name.span, false};
  name_order.push_back(name.text);
  return true;
}

void Elaborator::redefine(const std::string& name, Meaning meaning) {
  auto it = names.find(name);
  if (it != names.end()) it->second.meaning = std::move(meaning);
}

void Elaborator::report_unknown(const std::string& name, Span at) {
  std::vector<std::string_view> candidates;
  for (const auto& n : name_order) candidates.push_back(n);
  for (const auto& b : binders_) candidates.push_back(b.name);
  const std::string_view near = nearest(name, candidates);
  auto& d = diagnostics.report<Code::unknown_name>(at, name);
  if (!near.empty())
    d.fix(fmt::format("did you mean '{}'?", near));
  else
    d.label("nothing here has this name");
  if (near.empty() && size_mode_)
    d.fix(fmt::format("a size stands in the shape of an input, or is compile-time: <{}>", name));
}

std::string Elaborator::fresh_name(std::string_view stem) const {
  std::string name(stem);
  // A later statement of the text may define the name too.
  const auto taken = [&] { return names.contains(name) || source.text().find(name) != std::string::npos; };
  for (int i = 2; taken(); ++i) name = fmt::format("{}_{}", stem, i);
  return name;
}

ir::IndexId Elaborator::push_index(std::string name, ir::Expr begin, ir::Expr end, Binder::Kind kind, Span at) {
  const ir::IndexId id = program.add_index(name, begin, end);
  push_binder({std::move(name), id, kind, at});
  return id;
}

bool Elaborator::spend(Span at) {
  if (too_large_) return false;
  if (++steps_ <= kMaxSteps) return true;
  too_large_ = true;
  diagnostics.report<Code::too_much_work>(at, kMaxSteps).fix("name intermediate results instead of nesting functions");
  return false;
}

Elaborator::Guard::Guard(Elaborator& elaborator, ir::Expr condition, bool truth)
    : elaborator_(elaborator), mark_(elaborator.proofs.mark()), guards_(elaborator.guards_.size()) {
  if (!condition) return;
  elaborator.proofs.assume(condition, truth);
  if (truth) elaborator.guards_.push_back(condition);
}

Elaborator::Guard::~Guard() {
  elaborator_.proofs.restore(mark_);
  elaborator_.guards_.resize(guards_);
}

}  // namespace quern::dsl
