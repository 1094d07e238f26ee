#include "dsl/ir/program.h"

namespace quern::ir {

IndexId Program::add_index(std::string name, Expr begin, Expr end) {
  indices.push_back({std::move(name), begin, end});
  return static_cast<IndexId>(indices.size() - 1);
}

TensorId Program::add_tensor(Tensor tensor) {
  tensors.push_back(std::move(tensor));
  return static_cast<TensorId>(tensors.size() - 1);
}

}  // namespace quern::ir
