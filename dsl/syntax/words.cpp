// The tables behind words.h.
#include "dsl/syntax/words.h"

#include <algorithm>
#include <array>

namespace quern::dsl {
namespace {

using ast::FormKind;
using ir::AxisMap;
using ir::Reducer;

constexpr FormWord reducer(std::string_view word, Reducer r) { return {word, FormKind::reduce, r, AxisMap::softmax}; }
constexpr FormWord map(std::string_view word, AxisMap m) { return {word, FormKind::map, Reducer::sum, m}; }

constexpr FormWord kForms[] = {
    reducer("sum", Reducer::sum),         reducer("prod", Reducer::prod),     reducer("max", Reducer::max),
    reducer("min", Reducer::min),         reducer("any", Reducer::any),       reducer("all", Reducer::all),
    reducer("argmax", Reducer::argmax),   reducer("argmin", Reducer::argmin), reducer("count", Reducer::count),
    reducer("mean", Reducer::mean),       reducer("var", Reducer::var),       reducer("std", Reducer::std),
    reducer("norm", Reducer::norm),       reducer("logsumexp", Reducer::logsumexp),
    map("softmax", AxisMap::softmax),     map("log_softmax", AxisMap::log_softmax),
    map("cumsum", AxisMap::cumsum),       map("cumprod", AxisMap::cumprod),
    map("cummax", AxisMap::cummax),       map("cummin", AxisMap::cummin),
    map("sort", AxisMap::sort),           map("argsort", AxisMap::argsort),
    {"scan", FormKind::scan, Reducer::sum, AxisMap::softmax},
    {"topk", FormKind::topk, Reducer::sum, AxisMap::softmax},
};

constexpr auto kFormWords = [] {
  std::array<std::string_view, std::size(kForms)> words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = kForms[i].word;
  return words;
}();

constexpr std::string_view kAnnotations[] = {"precise", "fast", "tf32", "deterministic", "trusted", "fused"};

constexpr std::string_view kReserved[] = {"kernel", "let", "view", "require", "inout", "in",  "where", "einsum",
                                          "and",    "or",  "not",  "div",     "mod",   "inf", "nan",   "pi",
                                          "true",   "false", "None"};

struct Remedy {
  std::string_view word, text;
};
constexpr Remedy kForeignStatements[] = {
    {"for", "there are no loops: an index on the left runs over its range, as in y[i] = x[i] + 1"},
    {"while", "there are no loops: scan[t](...) is a recurrence along an axis"},
    {"if", "choose values with where(condition, a, b)"},
    {"else", "choose values with where(condition, a, b)"},
    {"return", "name the results after '->' and assign to them"},
    {"def", "write 'let name(x) = ...' for a function, 'kernel name(...) -> (...) { ... }' for a kernel"},
    {"fn", "write 'let name(x) = ...' for a function, 'kernel name(...) -> (...) { ... }' for a kernel"},
    {"func", "write 'let name(x) = ...' for a function, 'kernel name(...) -> (...) { ... }' for a kernel"},
    {"function", "write 'let name(x) = ...' for a function, 'kernel name(...) -> (...) { ... }' for a kernel"},
    {"assert", "write 'require A == B' for a condition on sizes"},
    {"const", "write 'let name = ...'"},
    {"auto", "write 'let name = ...'"},
    {"var", "write 'let name = ...'"},
    {"float", "intermediates are written without a type: y[i] = ..."},
    {"int", "intermediates are written without a type: y[i] = ..."},
    {"import", "every function of the language is known without an import"},
    {"from", "every function of the language is known without an import"},
};

}  // namespace

const FormWord* form_word(std::string_view word) {
  const auto* at = std::find_if(std::begin(kForms), std::end(kForms), [&](const FormWord& f) { return f.word == word; });
  return at == std::end(kForms) ? nullptr : at;
}

std::span<const std::string_view> form_words() { return kFormWords; }
std::span<const std::string_view> annotation_words() { return kAnnotations; }

bool is_reserved(std::string_view word) {
  return form_word(word) != nullptr || std::find(std::begin(kReserved), std::end(kReserved), word) != std::end(kReserved);
}

std::string_view foreign_statement_remedy(std::string_view word) {
  for (const Remedy& remedy : kForeignStatements) {
    if (remedy.word == word) return remedy.text;
  }
  return {};
}

}  // namespace quern::dsl
