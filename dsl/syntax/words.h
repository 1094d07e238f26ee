// The words of the language: heads of axis forms, annotations, reserved names, and words of other languages with the
// remedy for each. The one idea: tables that the parser, the suggestions and the formatter share.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "dsl/syntax/ast.h"

namespace quern::dsl {

struct FormWord {
  std::string_view word;
  ast::FormKind kind;
  ir::Reducer reducer;
  ir::AxisMap map;
};

/// sum, softmax, scan, topk, ...; null when `word` heads no axis form.
const FormWord* form_word(std::string_view word);
std::span<const std::string_view> form_words();

std::span<const std::string_view> annotation_words();

/// Cannot name a tensor, an index, a size or a function.
bool is_reserved(std::string_view word);

/// What to write for a statement word of another language ("for", "return"), or "".
std::string_view foreign_statement_remedy(std::string_view word);

}  // namespace quern::dsl
