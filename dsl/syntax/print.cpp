// Files to canonical text: statements on lines of their own, comments and single empty lines kept in place.
#include "dsl/syntax/print.h"

#include "dsl/syntax/layout.h"
#include "dsl/syntax/printer.h"

namespace quern::dsl {

using namespace ast;

namespace {

std::string statement_text(const Statement& statement) {
  ExprPrinter p;
  std::visit(
      [&](const auto& node) {
        using T = std::decay_t<decltype(node)>;
        if constexpr (std::is_same_v<T, Assign>) {
          for (std::size_t i = 0; i < node.targets.size(); ++i) {
            if (i > 0) p.word(", ");
            p.target(node.targets[i]);
          }
          constexpr std::string_view kOps[] = {" = ", " += ", " max= ", " min= "};
          p.word(kOps[static_cast<int>(node.op)]);
          p.expr(*node.value);
        } else if constexpr (std::is_same_v<T, View>) {
          p.word("view ");
          p.target(node.target);
          p.word(" = ");
          p.expr(*node.value);
        } else if constexpr (std::is_same_v<T, Require>) {
          p.word("require ");
          p.expr(*node.condition);
        } else {
          p.let(node);
        }
      },
      statement.node);
  return p.take();
}

std::string parameter_text(const Parameter& parameter) {
  ExprPrinter p;
  if (parameter.inout) p.word("inout ");
  p.word(parameter.name.text + ": ");
  p.type(parameter.type);
  for (const Fact& fact : parameter.facts) {
    p.word(fact.nondecreasing ? " nondecreasing" : " in ");
    if (fact.range) p.range(*fact.range);
  }
  if (parameter.default_value) {
    p.word(" = ");
    p.expr(*parameter.default_value);
  }
  return layout::without_breaks(p.take());
}

std::string compile_time_text(const CompileTime& value) {
  ExprPrinter p;
  p.word(value.name.text);
  constexpr std::string_view kKinds[] = {": int", ": bool", ": type"};
  if (value.kind_written) p.word(kKinds[static_cast<int>(value.kind)]);
  if (value.default_value) {
    p.word(" = ");
    p.expr(*value.default_value, 4);
  }
  return layout::without_breaks(p.take());
}

/// The signature on one line when it fits, else a line for each parameter.
std::string signature(const Kernel& kernel) {
  std::string head;
  for (const Name& annotation : kernel.annotations) head += "@" + annotation.text + " ";
  head += "kernel " + kernel.name.text;
  if (!kernel.compile_time.empty()) {
    head += "<";
    for (std::size_t i = 0; i < kernel.compile_time.size(); ++i) head += (i == 0 ? "" : ", ") + compile_time_text(kernel.compile_time[i]);
    head += ">";
  }
  std::vector<std::string> parameters;
  for (const Parameter& parameter : kernel.parameters) parameters.push_back(parameter_text(parameter));
  std::string tail = ")";
  if (kernel.has_outputs) {
    tail += " -> (";
    for (std::size_t i = 0; i < kernel.outputs.size(); ++i) {
      ExprPrinter p;
      p.word((i == 0 ? "" : ", ") + kernel.outputs[i].name.text + ": ");
      p.type(kernel.outputs[i].type);
      tail += p.take();
    }
    tail += ")";
  }
  tail = layout::without_breaks(tail);
  std::string line = head + "(";
  for (std::size_t i = 0; i < parameters.size(); ++i) line += (i == 0 ? "" : ", ") + parameters[i];
  line += tail + " {";
  if (line.size() <= layout::kWidth || parameters.empty()) return line;
  std::string lines = head + "(\n";
  for (std::size_t i = 0; i < parameters.size(); ++i) lines += "    " + parameters[i] + (i + 1 < parameters.size() ? ",\n" : "");
  return lines + "\n" + tail + " {";
}

class FilePrinter {
 public:
  FilePrinter(const File& file, const Source* source) : file_(file), source_(source) {}

  std::string run() {
    for (std::size_t i = 0; i < file_.items.size(); ++i) {
      const Item& item = file_.items[i];
      if (const auto* kernel = std::get_if<Kernel>(&item.node)) {
        print_kernel(*kernel, i > 0);
      } else {
        ExprPrinter p;
        p.let(std::get<Let>(item.node));
        // Functions may stand together; around kernels there is an empty line.
        const bool after_kernel = i > 0 && std::holds_alternative<Kernel>(file_.items[i - 1].node);
        statement(item.span, p.take(), 0, after_kernel);
      }
    }
    comments_until(UINT32_MAX, 0);
    return std::move(out_);
  }

 private:
  void print_kernel(const Kernel& kernel, bool gap) {
    const std::uint32_t body = kernel.body.empty() ? kernel.span.end : kernel.body.front().span.begin;
    // Comments within the signature go before it; those behind its '{' belong to the first statement.
    const std::uint32_t header = header_end(kernel);
    comments_before({kernel.span.begin, std::min(header, body)}, 0, gap);
    out_ += signature(kernel);
    last_ = header;
    trailing(header, body);
    out_ += '\n';
    first_in_block_ = true;
    for (const Statement& s : kernel.body) statement(s.span, statement_text(s), 2, false);
    const std::uint32_t close = kernel.span.end > 0 ? kernel.span.end - 1 : 0;
    if (source_ != nullptr) comments_until(close, 2);
    out_ += "}";
    last_ = kernel.span.end;
    trailing(kernel.span.end, UINT32_MAX);
    out_ += '\n';
  }

  /// Just behind the '{' of a kernel: the last one before its first statement that is in no comment.
  std::uint32_t header_end(const Kernel& kernel) const {
    if (source_ == nullptr) return kernel.span.begin;
    std::uint32_t at = kernel.parameters.empty() ? kernel.name.span.end : kernel.parameters.back().span.end;
    if (!kernel.outputs.empty()) at = kernel.outputs.back().span.end;
    std::size_t comment = 0;
    const std::string& text = source_->text();
    for (; at < kernel.span.end; ++at) {
      while (comment < file_.comments.size() && file_.comments[comment].span.end <= at) ++comment;
      const bool inside = comment < file_.comments.size() && file_.comments[comment].span.begin <= at;
      if (!inside && text[at] == '{') return at + 1;
    }
    return kernel.span.end;
  }

  std::uint32_t line_of(std::uint32_t offset) const { return source_->position(offset).line; }

  bool gap_before(std::uint32_t offset) const {
    if (source_ == nullptr || out_.empty() || last_ == 0) return false;
    return line_of(offset) > line_of(last_) + 1;
  }

  void line_break(std::uint32_t offset, bool forced) {
    if (out_.empty() || first_in_block_) {
      first_in_block_ = false;
      return;
    }
    if (forced || gap_before(offset)) out_ += '\n';
  }

  /// Comments that begin before `end`, each on a line of its own.
  void comments_until(std::uint32_t end, std::size_t indent) {
    while (source_ != nullptr && next_ < file_.comments.size() && file_.comments[next_].span.begin < end) {
      const Comment& comment = file_.comments[next_++];
      line_break(comment.span.begin, false);
      out_ += std::string(indent, ' ') + comment.text + "\n";
      last_ = comment.span.end;
    }
  }

  /// A comment on the line where the thing just written ended.
  void trailing(std::uint32_t end, std::uint32_t limit) {
    if (source_ == nullptr || next_ >= file_.comments.size()) return;
    const Comment& comment = file_.comments[next_];
    if (comment.span.begin < end || comment.span.begin >= limit || line_of(comment.span.begin) != line_of(end - 1)) return;
    out_ += "  " + comment.text;
    last_ = comment.span.end;
    ++next_;
  }

  void statement(Span span, const std::string& text, std::size_t indent, bool gap) {
    // Comments inside a statement move before it.
    comments_before(span, indent, gap);
    out_ += layout::break_lines(text, indent);
    last_ = span.end;
    trailing(span.end, UINT32_MAX);
    out_ += '\n';
  }

  /// Comments before and inside `span`; an empty line first where there was one, or when `gap` asks.
  void comments_before(Span span, std::size_t indent, bool gap) {
    bool any = false;
    std::uint32_t begin = span.begin;
    while (source_ != nullptr && next_ < file_.comments.size() && file_.comments[next_].span.begin < span.end) {
      const Comment& comment = file_.comments[next_++];
      const bool inside = comment.span.begin > span.begin;
      line_break(inside ? begin : comment.span.begin, gap && !any);
      out_ += std::string(indent, ' ') + comment.text + "\n";
      last_ = inside ? span.begin : comment.span.end;
      any = true;
    }
    line_break(span.begin, gap && !any);
  }

  const File& file_;
  const Source* source_;
  std::string out_;
  std::size_t next_ = 0;    // comment
  std::uint32_t last_ = 0;  // end of what was written last
  bool first_in_block_ = false;
};

}  // namespace

std::string print(const File& file, const Source* source) { return FilePrinter(file, source).run(); }

std::string print(const Expr& expr) {
  ExprPrinter p;
  p.expr(expr);
  return layout::without_breaks(p.take());
}

std::string print(const Statement& statement) { return layout::without_breaks(statement_text(statement)); }

}  // namespace quern::dsl
