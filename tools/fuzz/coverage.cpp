// Walks the syntax tree of each program; the rows that must not be empty come from the operator table itself.
#include "tools/fuzz/coverage.h"

#include <set>
#include <sstream>

#include <fmt/format.h>

#include "dsl/ir/operators.h"
#include "dsl/syntax/parse.h"
#include "dsl/syntax/walk.h"

namespace quern::fuzz {

namespace ast = dsl::ast;
using dsl::for_each_child;

namespace {

constexpr std::string_view kPolicies[] = {"pad", "clamp", "wrap"};
constexpr ir::Reducer kReducers[] = {ir::Reducer::sum, ir::Reducer::prod, ir::Reducer::max, ir::Reducer::min, ir::Reducer::any, ir::Reducer::all,
                                     ir::Reducer::argmax, ir::Reducer::argmin, ir::Reducer::count, ir::Reducer::mean, ir::Reducer::var,
                                     ir::Reducer::std, ir::Reducer::norm, ir::Reducer::logsumexp};
constexpr ir::AxisMap kMaps[] = {ir::AxisMap::softmax, ir::AxisMap::log_softmax, ir::AxisMap::cumsum, ir::AxisMap::cumprod,
                                 ir::AxisMap::cummax, ir::AxisMap::cummin, ir::AxisMap::sort, ir::AxisMap::argsort};
constexpr ir::Op kOperators[] = {
#define QUERN_OP(name, arity, rule, spelling) ir::Op::name,
#include "dsl/ir/operators.def"
};
constexpr std::string_view kForms[] = {"scan", "topk", "einsum", "view", "let", "scatter +=", "scatter max=", "scatter min=", "inout",
                                       "domain", "pair", "slice", "None", "...", ".T", "@", "fact range", "fact nondecreasing",
                                       "compile-time name", "scalar parameter", "several axes", "prev under a reduction", "stack"};

using Found = std::set<std::string>;

bool uses_prev(const ast::Expr& e) {
  if (const auto* n = std::get_if<ast::NameUse>(&e.node)) return n->name == "prev";
  bool found = false;
  for_each_child(e, [&](const ast::Expr& child) { found |= uses_prev(child); });
  return found;
}

void look(const ast::Expr& e, Found& found, const std::set<std::string>& tensors) {
  if (const auto* u = std::get_if<ast::Unary>(&e.node)) found.insert("operator " + std::string(ir::info(u->op).name));
  if (const auto* b = std::get_if<ast::Binary>(&e.node)) found.insert("operator " + std::string(ir::info(b->op).name));
  if (std::holds_alternative<ast::MatMul>(e.node)) found.insert("form @");
  if (std::holds_alternative<ast::Transpose>(e.node)) found.insert("form .T");
  if (std::holds_alternative<ast::Einsum>(e.node)) found.insert("form einsum");
  if (const auto* c = std::get_if<ast::Call>(&e.node)) {
    std::string callee = c->callee.text;
    bool axis = false;
    for (const ast::Argument& a : c->arguments) axis |= a.keyword && a.keyword->text == "axis";
    if (callee == "clip") found.insert("operator min"), found.insert("operator max");
    if (callee == "maximum") callee = "max";
    if (callee == "minimum") callee = "min";
    bool known = false;
    for (const std::string_view p : kPolicies)
      if (callee == p) found.insert("policy " + callee), known = true;
    for (const ir::AxisMap m : kMaps)
      if (callee == name(m)) found.insert("map " + callee), known = true;
    for (const ir::Reducer r : kReducers)
      if (callee == name(r) && (axis || c->arguments.size() == 1)) found.insert("reducer " + callee), known = true;
    if (!known)
      for (const ir::Op op : kOperators)
        if (callee == ir::info(op).name) found.insert("operator " + callee), known = true;
    if (dtype_from_name(callee)) found.insert("cast to " + callee), known = true;
    if (callee == "topk") found.insert("form topk"), known = true;
    if (callee == "stack") found.insert("form stack"), known = true;
    if (!known && callee[0] != 'f') found.insert("whole " + callee);
  }
  if (const auto* s = std::get_if<ast::Subscript>(&e.node)) {
    for (const ast::SubscriptItem& item : s->items) {
      if (std::holds_alternative<ast::Slice>(item.value)) found.insert("form slice");
      if (std::holds_alternative<ast::NewAxis>(item.value)) found.insert("form None");
      if (std::holds_alternative<ast::Ellipsis>(item.value)) found.insert("form ...");
      if (std::holds_alternative<ast::Pair>(item.value)) found.insert("form pair");
    }
  }
  if (const auto* f = std::get_if<ast::AxisForm>(&e.node)) {
    if (f->kind == ast::FormKind::reduce) found.insert("reducer " + std::string(name(f->reducer)));
    if (f->kind == ast::FormKind::map) found.insert("map " + std::string(name(f->map)));
    if (f->kind == ast::FormKind::reduce && uses_prev(e)) found.insert("form prev under a reduction");
    if (f->kind == ast::FormKind::scan) found.insert("form scan");
    if (f->kind == ast::FormKind::topk) found.insert("form topk");
    if (f->domain) found.insert("form domain");
    if (f->axes.size() > 1) found.insert("form several axes");
  }
  for_each_child(e, [&](const ast::Expr& child) { look(child, found, tensors); });
}

Found features(const ast::File& file) {
  Found found;
  for (const ast::Item& item : file.items) {
    const auto* kernel = std::get_if<ast::Kernel>(&item.node);
    if (!kernel) continue;
    for (const ast::Name& a : kernel->annotations) found.insert("annotation " + a.text);
    if (!kernel->compile_time.empty()) found.insert("form compile-time name");
    for (const ast::Parameter& p : kernel->parameters) {
      found.insert("type " + p.type.element.text);
      if (p.inout) found.insert("form inout");
      if (!p.type.has_shape) found.insert("form scalar parameter");
      for (const ast::Fact& f : p.facts) found.insert(f.nondecreasing ? "form fact nondecreasing" : "form fact range");
    }
    for (const ast::Output& o : kernel->outputs) found.insert("type " + o.type.element.text);
    for (const ast::Statement& s : kernel->body) {
      if (const auto* a = std::get_if<ast::Assign>(&s.node)) {
        if (a->op == ir::AssignOp::add) found.insert("form scatter +=");
        if (a->op == ir::AssignOp::max) found.insert("form scatter max=");
        if (a->op == ir::AssignOp::min) found.insert("form scatter min=");
        look(*a->value, found, {});
        for (const ast::Target& t : a->targets)
          for (const ast::SubscriptItem& i : t.items) for_each_child(i, [&](const ast::Expr& e) { look(e, found, {}); });
      } else if (const auto* v = std::get_if<ast::View>(&s.node)) {
        found.insert("form view");
        look(*v->value, found, {});
      } else if (const auto* l = std::get_if<ast::Let>(&s.node)) {
        found.insert("form let");
        look(*l->value, found, {});
      } else if (const auto* r = std::get_if<ast::Require>(&s.node)) {
        found.insert("form require");
        look(*r->condition, found, {});
      }
    }
  }
  return found;
}

}  // namespace

void Coverage::add(std::string_view program) {
  const dsl::Source source("fuzz", std::string(program));
  dsl::Diagnostics diagnostics;
  ++programs_;
  for (const std::string& f : features(dsl::parse(source, diagnostics))) ++counts_[f];
}

void Coverage::merge(const Coverage& other) {
  programs_ += other.programs_;
  for (const auto& [name, n] : other.counts_) counts_[name] += n;
}

std::vector<std::string> Coverage::gaps(int least) const {
  std::vector<std::string> out;
  const auto need = [&](const std::string& feature) {
    const auto it = counts_.find(feature);
    const int n = it == counts_.end() ? 0 : it->second;
    if (n < least) out.push_back(fmt::format("{} ({})", feature, n));
  };
  for (const ir::Op op : kOperators) need("operator " + std::string(ir::info(op).name));
  for (const ir::Reducer r : kReducers) need("reducer " + std::string(name(r)));
  for (const ir::AxisMap m : kMaps) need("map " + std::string(name(m)));
  for (const std::string_view p : kPolicies) need("policy " + std::string(p));
  for (int t = 0; t < kDTypeCount; ++t) need("type " + std::string(name(static_cast<DType>(t))));
  for (const std::string_view f : kForms) need("form " + std::string(f));
  return out;
}

std::string Coverage::table() const {
  std::string out = fmt::format("{} programs\n", programs_), group, line;
  for (const auto& [feature, n] : counts_) {
    const auto space = feature.find(' ');
    const std::string now = feature.substr(0, space);
    if (now != group) {
      if (!line.empty()) out += line + '\n';
      line = fmt::format("{}:", now);
      group = now;
    }
    const std::string entry = fmt::format(" {} {}", feature.substr(space + 1), n);
    if (line.size() + entry.size() > 118) out += line + '\n', line = std::string(group.size() + 1, ' ');
    line += entry;
    line += ',';
  }
  return out + line + '\n';
}

std::string Coverage::serialise() const {
  std::string out = fmt::format("{} programs\n", programs_);
  for (const auto& [feature, n] : counts_) out += fmt::format("{} {}\n", n, feature);
  return out;
}

void Coverage::restore(std::string_view lines) {
  std::istringstream in{std::string(lines)};
  for (std::string line; std::getline(in, line);) {
    const auto space = line.find(' ');
    if (space == std::string::npos) continue;
    const std::string feature = line.substr(space + 1);
    (feature == "programs" ? programs_ : counts_[feature]) += std::stoi(line.substr(0, space));
  }
}

}  // namespace quern::fuzz
