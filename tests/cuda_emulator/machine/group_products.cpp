// Descriptors, operands, sums. PTX ISA 8.0, "matrix descriptor format" and "shared memory matrix layout" of wgmma.
#include "tests/cuda_emulator/machine/group_products.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "dsl/ir/dtype.h"

namespace quern::emulator {

namespace {

constexpr std::uint32_t kPoison = 0xffbfabcd;  // a signalling NaN: what is computed from it is another one
constexpr int kMostDepth = 32;

bool is_byte(DType type) { return size_of(type) == 1; }
int depth_of(DType type) { return is_byte(type) ? 32 : 16; }

/// Where an operand lies in shared memory: the fields of its descriptor.
struct Descriptor {
  explicit Descriptor(std::uint64_t bits)
      : start(static_cast<unsigned>(bits & 0x3fff) << 4), lead(static_cast<unsigned>(bits >> 16 & 0x3fff) << 4), stride(static_cast<unsigned>(bits >> 32 & 0x3fff) << 4) {}
  unsigned start, lead, stride;  // bytes
};

/// What is wrong with a descriptor for an operand whose longer side has `extent` elements.
std::string fault_of(std::uint64_t bits, bool transposed, int extent) {
  if (bits >> 62 != 1) return "has another layout than the 128-byte swizzle";
  if (bits & 0x3ffec000c000c000) return fmt::format("{:#x} has bits outside of its fields", bits);
  const Descriptor d(bits);
  const unsigned in_row = d.start % 128;
  if (d.start % 1024 >= 128) return fmt::format("starts at {:#x}, not in the first row of a swizzle pattern (1024 bytes)", d.start);
  if (!transposed && in_row + 32 > 128) return fmt::format("starts at byte {} of a row, which has no 16 elements left", in_row);
  if (transposed && in_row != 0 && in_row + static_cast<unsigned>(extent) * 2 > 128)
    return fmt::format("starts at byte {} of a row and does not end in it", in_row);
  return {};
}

/// Values of every pattern of bits.
const float* values_of(DType type) {
  const auto table = [](DType t) {
    std::vector<float> values(is_byte(t) ? 256 : 65536);
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      const auto bits = static_cast<std::uint16_t>(i);
      values[i] = static_cast<float>(load_as_f64(t, &bits));
    }
    return values;
  };
  static const std::vector<float> bf16 = table(DType::bf16), f16 = table(DType::f16), e4m3 = table(DType::e4m3), e5m2 = table(DType::e5m2);
  return (type == DType::bf16 ? bf16 : type == DType::f16 ? f16 : type == DType::e4m3 ? e4m3 : e5m2).data();
}

/// Rows `first` to first + rows of an operand in shared memory (rows x 16, or its transpose; rows x 32 of one byte): out[row][k].
bool read_operand(const quern_emulated::Machine& machine, const Descriptor& d, bool transposed, int first, int rows, DType type, double (*out)[kMostDepth]) {
  const float* const values = values_of(type);
  // Eight elements that lie together, `address` before the swizzle.
  const auto unit = [&](unsigned address, std::uint16_t (&elements)[8]) {
    address = (address ^ (address >> 7 & 7) << 4) & 0x3ffff;
    // The low 18 bits are all that a descriptor has; the dynamic block comes behind the static arrays.
    const bool dynamic = address >= (machine.dynamic_address & 0x3ffff);
    const unsigned char* at = quern_emulated::shared_at(machine, (dynamic ? quern_emulated::kDynamicWindow : quern_emulated::kStaticWindow) | address, 16);
    if (at) std::memcpy(elements, at, 16);
    return at != nullptr;
  };
  std::uint16_t elements[8];
  if (!transposed) {
    for (int r = 0; r < rows; ++r)
      for (int u = 0; u < 2; ++u) {
        const auto row = static_cast<unsigned>(first + r);
        if (!unit(d.start + row / 8 * d.stride + row % 8 * 128 + static_cast<unsigned>(u) * 16, elements)) return false;
        if (!is_byte(type))
          for (int i = 0; i < 8; ++i) out[r][8 * u + i] = static_cast<double>(values[elements[i]]);
        else
          for (int i = 0; i < 16; ++i) out[r][16 * u + i] = static_cast<double>(values[elements[i / 2] >> (i % 2 * 8) & 0xff]);
      }
    return true;
  }
  for (int k = 0; k < 16; ++k)
    for (int r = 0; r < rows; r += 8) {
      const auto row = static_cast<unsigned>(first + r), depth = static_cast<unsigned>(k);
      if (!unit(d.start + row / 64 * d.lead + row % 64 * 2 + depth / 8 * d.stride + depth % 8 * 128, elements)) return false;
      for (int i = 0; i < 8; ++i) out[r + i][k] = static_cast<double>(values[elements[i]]);
    }
  return true;
}

/// Toward zero, as the accumulators of the tensor cores do at their best; those of one-byte products have 14 bits.
float truncated(double x, bool shortened) {
  if (shortened && std::isfinite(x)) return static_cast<float>(std::ldexp(std::trunc(std::ldexp(x, 13 - std::ilogb(x == 0 ? 1 : x))), std::ilogb(x == 0 ? 1 : x) - 13));
  const auto y = static_cast<float>(x);
  if (std::isnan(y) || (std::isinf(y) && std::isinf(x))) return y;
  return std::fabs(static_cast<double>(y)) > std::fabs(x) ? std::nextafterf(y, 0.0f) : y;
}

}  // namespace

GroupProducts::GroupProducts(const quern_emulated::Machine& machine, int warps)
    : machine_(machine), warps_(static_cast<std::size_t>(warps)), issued_((static_cast<std::size_t>(warps) + 3) / 4) {}

void GroupProducts::clear() {
  for (Warp& w : warps_) {
    w = {};
    w.groups.resize(1);
  }
  for (auto& i : issued_) i.clear();
}

std::string GroupProducts::issue(int warp, const quern_emulated::GroupProduct& product, int line) {
  if (!product.a[0])
    if (const std::string wrong = fault_of(product.a_at, product.a_transposed, 64); !wrong.empty()) return "the left operand of a product " + wrong;
  if (const std::string wrong = fault_of(product.b_at, product.b_transposed, product.columns); !wrong.empty()) return "the right operand of a product " + wrong;
  Warp& w = warps_[static_cast<std::size_t>(warp)];
  std::vector<Issued>& group = issued_[static_cast<std::size_t>(warp) / 4];
  const Issued mine{product.a_at, product.b_at, line, product.add != 0};
  if (w.issued == group.size()) group.push_back(mine);
  else if (!(group[w.issued] == mine)) {
    return fmt::format("the warps of a group differ: product {} of this warp is not that of another one, at line {}", w.issued, group[w.issued].line);
  }
  ++w.issued;

  Product p{product, nullptr, {}, line};
  if (product.a[0])
    for (const unsigned* a : product.a) p.a.insert(p.a.end(), a, a + 4);
  const int tiles = product.columns / 8;
  for (const auto& s : w.sums)
    if (s->lanes[0] == product.d[0]) p.sums = s;
  if (p.sums && p.sums->tiles != tiles) return fmt::format("a product on sums of {} columns, while one of {} columns on them is under way", product.columns, p.sums->tiles * 8);
  if (!p.sums) {
    p.sums = std::make_shared<Sums>();
    w.sums.push_back(p.sums);
    p.sums->tiles = tiles;
    const auto floats = static_cast<std::size_t>(tiles) * 4;
    p.sums->values.resize(32 * floats);
    for (std::size_t lane = 0; lane < 32; ++lane) {
      p.sums->lanes[lane] = product.d[lane];
      std::memcpy(&p.sums->values[lane * floats], product.d[lane], floats * 4);
      for (std::size_t i = 0; i < floats; ++i) std::memcpy(product.d[lane] + i, &kPoison, 4);
    }
  }
  ++p.sums->products;
  w.groups.back().push_back(std::move(p));
  return {};
}

void GroupProducts::commit(int warp) { warps_[static_cast<std::size_t>(warp)].groups.emplace_back(); }

std::string GroupProducts::wait(int warp, int groups_left) {
  Warp& w = warps_[static_cast<std::size_t>(warp)];
  const int committed = static_cast<int>(w.groups.size()) - 1;
  for (int g = 0; g < committed - groups_left; ++g) {
    for (Product& p : w.groups.front())
      if (std::string wrong = execute(warp, p); !wrong.empty()) return wrong;
    w.groups.erase(w.groups.begin());
  }
  return {};
}

std::string GroupProducts::execute(int warp, Product& product) {
  const quern_emulated::GroupProduct& p = product.what;
  const auto type = static_cast<DType>(p.type);
  double a[16][kMostDepth], b[256][kMostDepth];
  const auto beyond = [&](const char* side) { return fmt::format("the {} operand of the product at line {} goes beyond shared memory", side, product.line); };
  if (product.a.empty()) {
    if (!read_operand(machine_, Descriptor(p.a_at), p.a_transposed, warp % 4 * 16, 16, type, a)) return beyond("left");
  } else {
    for (std::size_t lane = 0; lane < 32; ++lane)
      for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t half = 0; half < 2; ++half)
          a[lane / 4 + i % 2 * 8][lane % 4 * 2 + half + i / 2 * 8] = static_cast<double>(values_of(type)[product.a[4 * lane + i] >> (16 * half) & 0xffff]);
  }
  if (!read_operand(machine_, Descriptor(p.b_at), p.b_transposed, 0, p.columns, static_cast<DType>(p.type_b), b)) return beyond("right");
  Sums& sums = *product.sums;
  const auto floats = static_cast<std::size_t>(sums.tiles) * 4;
  for (std::size_t row = 0; row < 16; ++row)
    for (std::size_t column = 0; column < static_cast<std::size_t>(p.columns); ++column) {
      float& d = sums.values[(row % 8 * 4 + column % 8 / 2) * floats + column / 8 * 4 + row / 8 * 2 + column % 2];
      double sum = p.add ? static_cast<double>(d) : 0.0;
      for (std::size_t k = 0; k < static_cast<std::size_t>(depth_of(type)); ++k) sum += a[row][k] * b[column][k];
      d = truncated(sum, is_byte(type));
    }
  if (--sums.products > 0) return {};
  std::vector<std::shared_ptr<Sums>>& all = warps_[static_cast<std::size_t>(warp)].sums;
  std::erase(all, product.sums);
  return finish(sums, product.line);
}

std::string GroupProducts::finish(Sums& sums, int line) {
  const auto floats = static_cast<std::size_t>(sums.tiles) * 4;
  for (std::size_t lane = 0; lane < 32; ++lane) {
    for (std::size_t i = 0; i < floats; ++i)
      if (std::bit_cast<std::uint32_t>(sums.lanes[lane][i]) != kPoison)
        return fmt::format("the sums of the product at line {} were written while it was under way, in lane {}", line, lane);
    std::memcpy(sums.lanes[lane], &sums.values[lane * floats], floats * 4);
  }
  return {};
}

std::string GroupProducts::left() const {
  for (std::size_t i = 0; i < warps_.size(); ++i) {
    for (const auto& group : warps_[i].groups)
      if (!group.empty()) return fmt::format("warp {} ends with products that it has not waited for, from line {}", i, group.front().line);
    if (warps_[i].issued != issued_[i / 4].size() || (warps_[i].issued > 0 && i / 4 * 4 + 4 > warps_.size()))
      return fmt::format("warp {} has issued {} products, others of its group of four {}", i, warps_[i].issued,
                         warps_[i].issued != issued_[i / 4].size() ? std::to_string(issued_[i / 4].size()) : "are not there");
  }
  return {};
}

}  // namespace quern::emulator
