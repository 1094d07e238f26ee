// einsum("bhmd,bhnd->bhmn", q, k) and a @ b: products of whole tensors, summed over the axes that the result lacks.
// The one idea: every letter is one index; a letter that repeats within an operand takes its diagonal. In which order
// several operands are contracted is decided later, by cost.
#include <algorithm>

#include "dsl/check/whole_tensor.h"

namespace quern::dsl {

using ir::Expr;
using ir::IndexId;

namespace {

struct Subscripts {
  std::string letters;              // without '...'
  std::size_t ellipsis = SIZE_MAX;  // how many letters stand before it
  bool has_ellipsis() const { return ellipsis != SIZE_MAX; }
};

struct Spec {
  std::vector<Subscripts> operands;
  Subscripts result;
  std::string problem;  // "" when it could be read
  std::string fix;
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

Subscripts read_subscripts(std::string_view text, std::string& problem) {
  Subscripts result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_letter(text[i])) {
      result.letters += text[i];
    } else if (text.substr(i, 3) == "..." && !result.has_ellipsis()) {
      result.ellipsis = result.letters.size();
      i += 2;
    } else {
      const auto byte = static_cast<unsigned char>(text[i]);
      problem = byte > 0x20 && byte < 0x7F ? fmt::format("'{}' is not a letter", text[i]) : fmt::format("byte 0x{:02X} is not a letter", byte);
      return result;
    }
  }
  return result;
}

Spec read_spec(const std::string& written) {
  Spec spec;
  std::string text = written;
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const std::size_t arrow = text.find("->");
  if (arrow == std::string::npos) {
    spec.problem = "the arrow '->' and the letters of the result are missing";
    spec.fix = fmt::format("write \"{}->...\" with the letters that stay; letters left out are summed over", text.size() < 60 ? text : "");
    return spec;
  }
  std::string_view left = std::string_view(text).substr(0, arrow);
  spec.result = read_subscripts(std::string_view(text).substr(arrow + 2), spec.problem);
  while (spec.problem.empty()) {
    const std::size_t comma = left.find(',');
    spec.operands.push_back(read_subscripts(left.substr(0, comma), spec.problem));
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  if (!spec.problem.empty()) return spec;
  for (std::size_t i = 0; i < spec.result.letters.size(); ++i) {
    const char c = spec.result.letters[i];
    if (spec.result.letters.find(c) != i) {
      spec.problem = fmt::format("'{}' stands twice behind the arrow", c);
      spec.fix = "a letter behind the arrow names one axis of the result";
      return spec;
    }
    const bool given = std::any_of(spec.operands.begin(), spec.operands.end(), [&](const Subscripts& s) { return s.letters.find(c) != std::string::npos; });
    if (!given) {
      spec.problem = fmt::format("'{}' stands behind the arrow and in no operand", c);
      spec.fix = "give an operand that letter, or leave it out";
      return spec;
    }
  }
  return spec;
}

}  // namespace

Whole WholeTensors::einsum(const ast::Einsum& e, Span at) {
  const Spec spec = read_spec(e.spec);
  if (!spec.problem.empty()) {
    auto& d = el_.diagnostics.report<Code::einsum_subscripts>(e.spec_span, spec.problem);
    if (!spec.fix.empty()) d.fix(spec.fix);
    return none(at);
  }
  if (spec.operands.size() != e.operands.size()) {
    el_.diagnostics.report<Code::einsum_operands>(e.spec_span, spec.operands.size(), spec.operands.size() == 1 ? "" : "s", e.operands.size())
        .label("one group of letters for each operand");
    return none(at);
  }

  std::map<char, WholeAxis> letters;
  std::map<char, std::size_t> owner;   // the operand that gave the size
  std::string order;                   // letters as they appear
  std::vector<WholeAxis> extra;        // what '...' stands for, right-aligned
  std::vector<Whole> operands;
  bool failed = false;
  for (std::size_t o = 0; o < e.operands.size(); ++o) {
    Whole x = expression(*e.operands[o]);
    if (!x) {
      failed = true;
      continue;
    }
    const Subscripts& s = spec.operands[o];
    const std::size_t named = s.letters.size();
    if (s.has_ellipsis() ? x.rank() < named : x.rank() != named) {
      el_.diagnostics.report<Code::einsum_rank>(e.operands[o]->span, o, x.rank(), x.rank() == 1 ? "is" : "es", s.letters, named)
          .label(fmt::format("shape {}", shape_text(x.axes)))
          .fix("write one letter for each axis");
      return none(at);
    }
    const std::size_t more = x.rank() - named;
    // '...' aligns from the right, as broadcasting does.
    while (extra.size() < more) extra.insert(extra.begin(), stretched_axis());
    Values values;
    for (std::size_t i = 0; i < x.rank(); ++i) {
      const WholeAxis& own = x.axes[i];
      const bool in_extra = s.has_ellipsis() && i >= s.ellipsis && i < s.ellipsis + more;
      if (in_extra) {
        WholeAxis& common = extra[extra.size() - more + (i - s.ellipsis)];
        if (own.stretches()) continue;
        if (common.stretches()) {
          common = own;
        } else if (!el_.sizes.equal(common.extent, own.extent)) {
          el_.diagnostics.report<Code::broadcast_clash>(e.operands[o]->span, el_.sizes.text(common.extent), el_.sizes.text(own.extent))
              .label(fmt::format("axis {} of this operand, under '...'", i));
          return none(at);
        } else {
          values[own.index] = pool_.index(common.index);
        }
        continue;
      }
      const char c = s.letters[s.has_ellipsis() && i >= s.ellipsis + more ? i - more : i];
      if (order.find(c) == std::string::npos) order += c;
      auto [known, first] = letters.try_emplace(c, own);
      if (first || known->second.stretches()) {
        if (!own.stretches()) {
          known->second = own;
          el_.program.indices[own.index].name = std::string(1, c);
        }
        owner[c] = o;
      } else if (!own.stretches()) {
        if (!el_.sizes.equal(known->second.extent, own.extent)) {
          el_.diagnostics.report<Code::einsum_size>(e.operands[o]->span, c, el_.sizes.text(known->second.extent), el_.sizes.text(own.extent))
              .label(fmt::format("axis {} of this operand is {}", i, el_.sizes.text(own.extent)))
              .note(fmt::format("operand {} gives it {}", owner[c], el_.sizes.text(known->second.extent)), e.operands[owner[c]]->span)
              .fix(fmt::format("use another letter, or write 'require {} == {}'", el_.sizes.text(known->second.extent), el_.sizes.text(own.extent)));
          return none(at);
        }
        values[own.index] = pool_.index(known->second.index);
      }
    }
    operands.push_back(at_values(std::move(x), {}, values, at));
    failed = failed || !operands.back();
  }
  if (failed || operands.empty()) return none(at);

  Whole result = none(at);
  const Subscripts& out = spec.result;
  if (!extra.empty() && !out.has_ellipsis()) {
    el_.diagnostics.report<Code::einsum_subscripts>(e.spec_span, "'...' stands before the arrow and not behind it").fix("write '...' behind the arrow too");
    return none(at);
  }
  for (std::size_t i = 0; i <= out.letters.size(); ++i) {
    if (out.has_ellipsis() && out.ellipsis == i) result.axes.insert(result.axes.end(), extra.begin(), extra.end());
    if (i < out.letters.size()) result.axes.push_back(letters.at(out.letters[i]));
  }
  std::vector<IndexId> summed;
  for (char c : order) {
    const WholeAxis& axis = letters.at(c);
    if (out.letters.find(c) == std::string::npos && !axis.stretches()) summed.push_back(axis.index);
  }
  Typed value = operands.front().value;
  for (std::size_t i = 1; i < operands.size(); ++i) value = el_.product(value, operands[i].value, at);
  if (value && !summed.empty()) value = el_.reduce(ir::Reducer::sum, summed, value, pool_.boolean(true), at);
  result.value = value;
  return result;
}

Whole WholeTensors::matmul(Whole a, Whole b, Span at) {
  if (!a || !b) return none(at);
  if (!needs_rank(a, 1, "the left side of '@'", a.span) || !needs_rank(b, 1, "the right side of '@'", b.span)) return none(at);
  const bool row = a.rank() > 1, column = b.rank() > 1;
  WholeAxis inner = a.axes.back();
  const WholeAxis other = column ? b.axes[b.rank() - 2] : b.axes.back();
  const bool both_one = inner.stretches() && other.stretches();
  if (!both_one && (inner.stretches() || other.stretches() || !el_.sizes.equal(inner.extent, other.extent))) {
    el_.diagnostics.report<Code::matmul_sizes>(at, el_.sizes.text(inner.extent), el_.sizes.text(other.extent))
        .label(fmt::format("shapes {} and {}", shape_text(a.axes), shape_text(b.axes)))
        .note("'@' sums over the last axis of the left side and the last but one of the right side")
        .fix("transpose one of them with .T, or write einsum with a letter for each axis");
    return none(at);
  }
  if (!both_one) b = at_values(b, b.axes, {{other.index, pool_.index(inner.index)}}, at);
  // Batch axes broadcast; rows and columns stand apart from them.
  const auto batch = [](const Whole& x, bool matrix) {
    Whole result = x;
    result.axes.resize(x.rank() - (matrix ? 2 : 1));
    return result;
  };
  std::vector<Whole> values{batch(a, row), batch(b, column)};
  Whole result = none(at);
  if (!broadcast(values, result.axes, at)) return result;
  if (row) result.axes.push_back(a.axes[a.rank() - 2]);
  if (column) result.axes.push_back(b.axes.back());
  Typed value = el_.product(values[0].value, values[1].value, at);
  if (value && !both_one) value = el_.reduce(ir::Reducer::sum, {inner.index}, value, pool_.boolean(true), at);
  result.value = value;
  return result;
}

}  // namespace quern::dsl
