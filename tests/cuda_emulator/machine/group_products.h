// Products of warp groups (wgmma), for each warp its sixteen rows. They happen when they are waited for and read shared memory
// then; until then the sums are NaN. Layouts: compiler/codegen/cuda/prelude_hopper.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_emulator/shim/machine.h"

namespace quern::emulator {

class GroupProducts {
 public:
  GroupProducts(const quern_emulated::Machine& machine, int warps);

  void clear();
  // Each returns what is wrong, or "".
  std::string issue(int warp, const quern_emulated::GroupProduct& product, int line);
  void commit(int warp);
  /// Until `groups_left` groups of the warp are under way.
  std::string wait(int warp, int groups_left);
  /// At the end of a block: products that nobody has waited for, or that not all warps of a group have issued.
  std::string left() const;

 private:
  /// The sums of one warp while products on them are under way.
  struct Sums {
    float* lanes[32];
    int tiles;
    std::vector<float> values;  // [lane][tile][4]
    int products = 0;
  };
  struct Product {
    quern_emulated::GroupProduct what;
    std::shared_ptr<Sums> sums;
    std::vector<unsigned> a;  // registers of all lanes
    int line;
  };
  struct Warp {
    std::vector<std::vector<Product>> groups;  // oldest first; the last is open
    std::vector<std::shared_ptr<Sums>> sums;   // with products under way
    std::size_t issued = 0;
  };
  /// What all four warps of a group must agree on.
  struct Issued {
    std::uint64_t a, b;
    int line, add;
    bool operator==(const Issued&) const = default;
  };

  std::string execute(int warp, Product& product);
  std::string finish(Sums& sums, int line);

  const quern_emulated::Machine& machine_;
  std::vector<Warp> warps_;
  std::vector<std::vector<Issued>> issued_;  // per warp group
};

}  // namespace quern::emulator
