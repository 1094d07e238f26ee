// Where a back end may round otherwise than written: quotients by a shared divisor, and the steps of a scan. In: a
// program and which equation defines each tensor. Out: answers about one expression, from its form alone.
#pragma once

#include <cstdint>
#include <set>
#include <unordered_map>
#include <vector>

#include "compiler/interpreter/code.h"

namespace quern::interpreter {

class Reassociation {
 public:
  Reassociation(const ir::Program& program, const std::vector<int>& definition) : program_(program), definition_(definition) {}
  bool by_reciprocal(const ir::Node& n);
  Reorder of_steps(Expr step);
  /// Contains the `prev` of a scan around it.
  bool recurrent(Expr e);

 private:
  const ir::Program& program_;
  const std::vector<int>& definition_;  // by TensorId: the equation, -1 for parameters
  std::unordered_map<std::uint32_t, bool> computed_, recurrent_;
  std::unordered_map<std::uint32_t, std::set<ir::IndexId>> varies_with_;

  bool computed(Expr e);
  const std::set<ir::IndexId>& varies_with(Expr e);
};

}  // namespace quern::interpreter
