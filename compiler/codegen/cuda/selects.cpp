// Selection from a row and sorting by the threads of a block: calls of the prelude. What is selected from is computed or read
// where it is looked at; what is sorted lies in a tile.
#include <stdexcept>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;

void KernelPrinter::statement(const tile::Select& s) {
  Touched t;
  if (s.body) note_reads(s.body, t), note_reads(s.domain, t);
  else t.read.insert(s.source);
  if (s.want_values) t.written.insert(s.values);
  if (s.want_positions) t.written.insert(s.positions);
  settle(t);
  barrier();  // the call has barriers of its own
  uses_exchange_ = true;
  open("");
  scopes_.emplace_back();
  if (s.body) select_top(s);
  else if (!s.sort) throw std::logic_error("a selection from a row reached the code generator");
  else line(fmt::format("quern_sort<{}, {}>({}, {}, {});", stored_type(program_.tensors[s.source].type), s.want_positions ? "true" : "false", tensor_pointer(s.source),
                        s.want_positions ? tensor_pointer(s.positions) : "(int*)0", value(s.extent)));
  scopes_.pop_back();
  close();
  touched_ = {};  // it ends with a barrier
}

void KernelPrinter::select_top(const tile::Select& s) {
  const DType type = pool_.type(s.body);
  const std::string held = value_type(type), begin = value(s.begin), extent = value(s.extent), k = value(s.k);
  const std::string none = value(compiler::identity_of(pool_, Reducer::max, type));
  open(fmt::format("const auto look = [&](long long d{}, {}& value) -> bool", s.index, held));
  scopes_.emplace_back();
  line(fmt::format("const long long x{} = {} + d{};", s.index, begin, s.index));
  indices_[s.index] = fmt::format("x{}", s.index);
  local_begin_[s.index] = s.begin;
  const int guards = open_domain(s.domain);
  line(fmt::format("value = {};", value(s.body)));
  line("return true;");
  close_domain(guards);
  if (guards > 0) line("return false;");
  indices_.erase(s.index);
  local_begin_.erase(s.index);
  scopes_.pop_back();
  close(";");
  open(fmt::format("const auto keep = [&](long long j, {} value, int at)", held));
  if (s.want_values) line(fmt::format("{}[j] = {};", tensor_pointer(s.values), to_stored(program_.tensors[s.values].type, "value")));
  if (s.want_positions) line(fmt::format("{}[j] = at;", tensor_pointer(s.positions)));
  close(";");
  selects_words_ |= size_of(type) <= 4;
  std::int64_t few = 0;
  const std::string call = fmt::format("quern_top<{}, {}>(look, keep, {}, {}, {}, exchange);", by_warp_, held, extent, k, none);
  if (!by_warp_ || held != "float" || !pool_.is_integer_constant(s.k, &few) || few > 32) return line(call);
  line(fmt::format("if ({} <= 128) quern_top_128(look, keep, (int){}, (int){}, {});", extent, extent, k, none));
  line(fmt::format("else {}", call));
}

}  // namespace quern::cuda
