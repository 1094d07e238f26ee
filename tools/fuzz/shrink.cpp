// The edits: drop a statement, an output, a parameter, an annotation; replace an expression by a part of it or a number;
// drop a domain; smaller sizes, plain data, dense layouts.
#include "tools/fuzz/shrink.h"

#include <vector>

#include "dsl/syntax/parse.h"
#include "dsl/syntax/print.h"
#include "dsl/syntax/walk.h"
#include "tools/fuzz/case.h"

namespace quern::fuzz {

namespace ast = dsl::ast;

namespace {

/// Applies edit number `which` in a fixed order of all edits; counts them down.
class Editor {
 public:
  explicit Editor(int which) : left_(which) {}
  bool done() const { return left_ < 0; }

  void kernel(ast::Kernel& k) {
    for (std::size_t i = 0; i < k.body.size(); ++i)
      if (take()) return void(k.body.erase(k.body.begin() + static_cast<std::ptrdiff_t>(i)));
    for (std::size_t i = 0; i < k.outputs.size() && k.outputs.size() > 1; ++i)
      if (take()) return void(k.outputs.erase(k.outputs.begin() + static_cast<std::ptrdiff_t>(i)));
    for (std::size_t i = 0; i < k.parameters.size(); ++i)
      if (take()) return void(k.parameters.erase(k.parameters.begin() + static_cast<std::ptrdiff_t>(i)));
    for (std::size_t i = 0; i < k.compile_time.size(); ++i)
      if (take()) {
        k.compile_time.erase(k.compile_time.begin() + static_cast<std::ptrdiff_t>(i));
        k.has_compile_time = !k.compile_time.empty();
        return;
      }
    for (std::size_t i = 0; i < k.annotations.size(); ++i)
      if (take()) return void(k.annotations.erase(k.annotations.begin() + static_cast<std::ptrdiff_t>(i)));
    for (ast::Parameter& p : k.parameters) {
      if (p.type.element.text != "f32" && take()) return void(p.type.element.text = "f32");
      if (!p.facts.empty() && take()) return p.facts.clear();
    }
    for (ast::Output& o : k.outputs)
      if (o.type.element.text != "f32" && take()) return void(o.type.element.text = "f32");
    for (ast::Statement& s : k.body) {
      if (auto* a = std::get_if<ast::Assign>(&s.node)) expression(a->value);
      if (done()) return;
    }
  }

 private:
  bool take() { return left_-- == 0; }

  void expression(ast::ExprPtr& e) {
    if (!e || done()) return;
    // The parts of this expression, then a number, then the same inside its parts.
    std::vector<ast::ExprPtr*> parts;
    if (auto* u = std::get_if<ast::Unary>(&e->node)) parts = {&u->operand};
    if (auto* b = std::get_if<ast::Binary>(&e->node)) parts = {&b->left, &b->right};
    if (auto* m = std::get_if<ast::MatMul>(&e->node)) parts = {&m->left, &m->right};
    if (auto* t = std::get_if<ast::Transpose>(&e->node)) parts = {&t->operand};
    if (auto* l = std::get_if<ast::List>(&e->node))
      for (ast::ExprPtr& x : l->elements) parts.push_back(&x);
    if (auto* c = std::get_if<ast::Call>(&e->node))
      for (ast::Argument& a : c->arguments) parts.push_back(&a.value);
    if (auto* n = std::get_if<ast::Einsum>(&e->node))
      for (ast::ExprPtr& x : n->operands) parts.push_back(&x);
    if (auto* f = std::get_if<ast::AxisForm>(&e->node)) {
      for (ast::Argument& a : f->arguments) parts.push_back(&a.value);
      if (f->domain) {
        if (take()) return void(f->domain.reset());
        parts.push_back(&f->domain);
      }
      for (std::size_t i = 0; i < f->axes.size() && f->axes.size() > 1; ++i)
        if (take()) return void(f->axes.erase(f->axes.begin() + static_cast<std::ptrdiff_t>(i)));
    }
    for (ast::ExprPtr* part : parts)
      if (*part && take()) {
        ast::ExprPtr kept = std::move(*part);
        e = std::move(kept);
        return;
      }
    if (!std::holds_alternative<ast::Number>(e->node) && take()) {
      e->node = ast::Number{"1.0", true};
      return;
    }
    if (std::holds_alternative<ast::Subscript>(e->node)) return;
    for (ast::ExprPtr* part : parts) {
      expression(*part);
      if (done()) return;
    }
  }

  int left_;
};

std::string joined(const Case& c, const std::string& kernel) { return "#: " + c.text() + "\n" + kernel; }

std::string kernel_text(const std::string& program) {
  std::string out;
  std::size_t at = 0;
  while (at < program.size()) {
    const std::size_t end = std::min(program.find('\n', at), program.size() - 1);
    if (program[at] != '#') out += program.substr(at, end + 1 - at);
    at = end + 1;
  }
  return out;
}

/// Edit number `which` of a case: nothing when there are no more.
bool edit(Case& c, int which) {
  for (auto& [name, value] : c.settings) {
    const bool number = !value.empty() && value.find_first_not_of("0123456789") == std::string::npos;
    if (number) {
      const long n = std::stol(value);
      for (const long smaller : {1L, 2L, n / 2, n - 1})
        if (smaller > 0 && smaller < n && which-- == 0) {
          value = std::to_string(smaller);
          return true;
        }
      continue;
    }
    if (const auto slash = value.find('/'); slash != std::string::npos && which-- == 0) {
      value.resize(slash);
      return true;
    }
    if (!value.starts_with("normal") && !value.starts_with("lengths") && value.find_first_not_of("0123456789.-e") != std::string::npos && which-- == 0) {
      value = "normal";
      return true;
    }
  }
  return false;
}

}  // namespace

std::string shrink(const std::string& program, const std::function<bool(const std::string&)>& fails, int budget) {
  std::string best = program;
  bool progress = true;
  while (progress && budget > 0) {
    progress = false;
    for (int which = 0; budget > 0; ++which) {
      const std::vector<Case> cases = cases_of(best);
      if (cases.empty()) return best;
      const dsl::Source source("shrink", best);
      dsl::Diagnostics diagnostics;
      ast::File file = dsl::parse(source, diagnostics);
      ast::Kernel* kernel = nullptr;
      for (ast::Item& item : file.items)
        if (auto* k = std::get_if<ast::Kernel>(&item.node)) kernel = k;
      if (!kernel || diagnostics.has_errors()) return best;
      Editor editor(which);
      editor.kernel(*kernel);
      if (!editor.done()) break;
      const std::string next = joined(cases.front(), dsl::print(file));
      if (next == best) continue;
      --budget;
      if (fails(next)) best = next, progress = true, --which;
    }
    for (int which = 0; budget > 0; ++which) {
      Case c = cases_of(best).front();
      if (!edit(c, which)) break;
      const std::string next = joined(c, kernel_text(best));
      --budget;
      if (fails(next)) best = next, progress = true, --which;
    }
  }
  return best;
}

}  // namespace quern::fuzz
