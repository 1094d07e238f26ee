// Selection and sorting of a row by the threads of a block: a call of the prelude.
#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;

void KernelPrinter::statement(const tile::Select& s) {
  Touched t;
  t.read.insert(s.source);
  if (s.has_live) t.read.insert(s.live);
  if (s.want_values) t.written.insert(s.values);
  if (s.want_positions) t.written.insert(s.positions);
  settle(t);
  barrier();  // the call has barriers of its own
  uses_exchange_ = true;
  const Tensor& row = program_.tensors[s.source];
  const Expr none = compiler::identity_of(pool_, Reducer::max, row.type);
  open("");
  scopes_.emplace_back();
  line(fmt::format("quern_select<{}, {}>({}, {}, {}, {}, {}, {}, {}, exchange);", stored_type(row.type), s.sort ? "true" : "false",
                   tensor_pointer(s.source), s.has_live ? tensor_pointer(s.live) : "(const unsigned char*)0", value(s.extent), value(s.k),
                   s.want_values ? tensor_pointer(s.values) : fmt::format("({}*)0", stored_type(row.type)),
                   s.want_positions ? tensor_pointer(s.positions) : "(int*)0", value(none)));
  scopes_.pop_back();
  close();
  touched_ = {};  // it ends with a barrier
}

}  // namespace quern::cuda
