// The table of whole-tensor functions: a name, its parameters, and the translation. Adding a function is a row and a
// member of WholeTensors.
#pragma once

#include "dsl/check/whole_tensor.h"

namespace quern::dsl {

/// Arguments of one call in the order of the signature; null where an optional one is not given.
struct WholeTensors::Arguments {
  std::string callee;
  std::vector<const ast::Expr*> values;
  Span span;
  bool ok = false;
};

struct WholeTensors::Function {
  std::string_view name;
  std::string_view signature;  // "x|input, axis|dim?": names of each parameter, '?' when it may be left out
  Whole (WholeTensors::*make)(const Arguments& a, Span at);
};

}  // namespace quern::dsl
