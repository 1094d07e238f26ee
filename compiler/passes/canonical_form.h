// canonical_form: one program out of all that differ in names, in the order of independent statements and in numbering.
// signature_text: that program as bytes, for the key of what is made from it.
#pragma once

#include <string>

#include "dsl/ir/program.h"

namespace quern::compiler {

/// Equations stand where outputs, in the order of the signature, first need them; what no output needs is gone. Tensors,
/// indices and expressions are numbered as they appear; symbols and scalars keep their ids. Names and spans stay, nothing
/// else depends on them.
/// ensures: programs equal up to names, numbering and order give programs that are equal but for names and spans.
ir::Program canonical_form(const ir::Program& program);

/// Every field of a program that code made from it may depend on; no names, no spans.
std::string signature_text(const ir::Program& program);

}  // namespace quern::compiler
