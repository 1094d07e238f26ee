// Fills tensors by kind of data and lays them out; see arguments.h.
#include "tools/fuzz/arguments.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "compiler/passes/pipeline.h"
#include "tools/fuzz/random.h"

namespace quern::fuzz {

GuardedBytes::GuardedBytes(std::size_t bytes, bool at_end) : size_(bytes) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t inner = std::max(page, (bytes + page - 1) / page * page);
  mapped_ = inner + 2 * page;
  mapping_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::bad_alloc();
  std::byte* const first = static_cast<std::byte*>(mapping_) + page;
  if (mprotect(first, inner, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  data_ = at_end ? first + inner - bytes : first;
}
GuardedBytes::~GuardedBytes() {
  if (mapping_) munmap(mapping_, mapped_);
}
GuardedBytes::GuardedBytes(GuardedBytes&& o) noexcept
    : mapping_(std::exchange(o.mapping_, nullptr)), mapped_(o.mapped_), data_(o.data_), size_(o.size_) {}
GuardedBytes& GuardedBytes::operator=(GuardedBytes&& o) noexcept {
  std::swap(mapping_, o.mapping_);
  std::swap(mapped_, o.mapped_);
  std::swap(data_, o.data_);
  std::swap(size_, o.size_);
  return *this;
}

std::int64_t TensorArgument::count() const {
  std::int64_t n = 1;
  for (const std::int64_t e : shape) n *= e;
  return n;
}

TensorArgument TensorArgument::clone() const {
  TensorArgument c;
  c.name = name;
  c.type = type;
  c.shape = shape;
  c.strides = strides;
  c.origin = origin;
  c.bytes = GuardedBytes(bytes.size());
  if (bytes.size()) std::memcpy(c.bytes.data(), bytes.data(), bytes.size());
  return c;
}

namespace {

/// Strides of a layout, and memory that just holds what they reach.
void lay_out(TensorArgument& t, const std::string& layout, bool at_end) {
  const std::size_t rank = t.shape.size();
  t.strides.assign(rank, 1);
  std::int64_t step = layout == "strided" ? 2 : 1;
  for (std::size_t i = 0; i < rank; ++i) {
    const std::size_t axis = layout == "transposed" ? i : rank - 1 - i;
    t.strides[axis] = step;
    step *= std::max<std::int64_t>(1, t.shape[axis]) + (layout == "padded" && i == 0 ? 3 : 0);
  }
  if (layout == "reversed" && rank) t.strides[rank - 1] = -t.strides[rank - 1];
  if (layout == "reversed" && rank > 1) t.strides[0] = -t.strides[0];
  if (layout == "broadcast" && rank) t.strides[0] = 0;
  std::int64_t low = 0, high = 0;
  const bool empty = t.count() == 0;
  for (std::size_t i = 0; i < rank && !empty; ++i) (t.strides[i] < 0 ? low : high) += (t.shape[i] - 1) * t.strides[i];
  const std::int64_t lead = layout == "offset" ? 3 : 0;
  const std::size_t size = size_of(t.type);
  t.origin = static_cast<std::size_t>(lead - low) * size;
  t.bytes = GuardedBytes(empty ? 0 : static_cast<std::size_t>(high - low + 1 + lead) * size, at_end);
  if (empty) t.origin = 0;
  if (t.bytes.size()) std::memset(t.bytes.data(), 0xff, t.bytes.size());
}

/// Calls f(pointer, position) for every element in row-major order.
template <class F>
void for_each(const TensorArgument& t, F f) {
  if (t.count() == 0) return;
  std::vector<std::int64_t> at(t.shape.size(), 0);
  for (std::int64_t n = 0;; ++n) {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < at.size(); ++i) offset += at[i] * t.strides[i];
    f(t.at() + offset * static_cast<std::int64_t>(size_of(t.type)), n, at);
    std::size_t axis = at.size();
    while (axis > 0 && ++at[axis - 1] == t.shape[axis - 1]) at[--axis] = 0;
    if (axis == 0) return;
  }
}

/// The passes move a factor out of a sum or choose an order of contraction: then what exists only on the way may overflow
/// where the written form does not (dsl/README.md, Arithmetic).
bool may_leave_range(ir::Program program) {
  bool moved = false;
  compiler::PassOptions options;
  options.after = [&](const compiler::Pass& pass, const ir::Program&, bool changed, double) {
    moved |= changed && (pass.name == "hoist_invariants" || pass.name == "distribute_sums" || pass.name == "plan_contractions");
  };
  compiler::run_passes(program, options);
  return moved;
}

/// The largest numbers among `special` ones where a product of three must stay in range.
constexpr double kLargeProduct = 0x1p40;

double real_value(Rng& rng, const std::string& kind, DType type, std::int64_t n, bool narrow) {
  const double inf = std::numeric_limits<double>::infinity();
  const double top = largest_finite(type);
  if (kind == "zeros") return 0;
  if (kind == "constant") return 0.7;
  if (kind == "infinite") return -inf;
  if (kind == "integers") return rng.between(-4, 4);
  if (kind == "positive") return 0.1 + rng.unit();
  if (kind == "unit") return rng.unit();
  if (kind == "large") return std::min(1e4, top) * (2 * rng.unit() - 1);
  if (kind == "subnormal") return rng.chance(30) ? rng.normal() : smallest_subnormal(type) * rng.between(-40, 40);
  if (kind == "cancelling") return (n % 2 ? -1 : 1) * std::min(1000.0, top / 2) + rng.normal();
  if (kind == "wide") {
    const int reach = type == DType::e4m3 ? 6 : type == DType::e5m2 || type == DType::f16 ? 11 : 18;
    return std::ldexp(rng.chance(50) ? 1 + rng.unit() : -1 - rng.unit(), rng.between(-reach, reach));
  }
  const double big = narrow ? std::min(top, kLargeProduct) : top;
  if (kind == "special" && rng.chance(25)) return rng.pick({inf, -inf, std::nan(""), -0.0, 0.0, big, -big, smallest_subnormal(type)});
  return rng.normal();
}

std::int64_t integer_value(Rng& rng, const std::string& kind, DType type, std::int64_t widest) {
  if (kind == "zeros") return 0;
  if (kind == "constant") return 1;
  if (kind == "lengths") return rng.between(0, static_cast<int>(std::min<std::int64_t>(widest + 1, 1000)));
  if (kind == "any") {
    const std::int64_t top = type == DType::i64 ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(largest_finite(type));
    const int k = rng.below(6);
    if (k == 0) return top;
    if (k == 1) return type == DType::u8 ? 0 : -top - 1;
    return rng.between(-100, 100);
  }
  return type == DType::u8 ? rng.between(0, 9) : rng.between(-4, 4);
}

std::uint64_t hash_of(const std::string& text) {
  std::uint64_t h = 1469598103934665603ull;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return h;
}

}  // namespace

CaseArguments make_arguments(const ir::Program& program, const Case& which, std::uint64_t seed) {
  CaseArguments out;
  const bool narrow = may_leave_range(program);
  std::int64_t widest = 0;
  for (const ir::Symbol& s : program.symbols) {
    const auto given = which.settings.find(s.name);
    if (s.value) out.symbols.push_back(*s.value);
    else if (given != which.settings.end()) out.symbols.push_back(std::stoll(given->second));
    else throw std::runtime_error("the case gives no value for '" + s.name + "'");
    widest = std::max(widest, out.symbols.back());
  }
  for (const ir::Scalar& s : program.scalars) {
    ScalarArgument a;
    a.name = s.name;
    const auto given = which.settings.find(s.name);
    if (given != which.settings.end()) a.value = std::stod(given->second), a.given = true;
    else if (!s.default_value) throw std::runtime_error("the case gives no value for '" + s.name + "'");
    out.scalars.push_back(std::move(a));
  }
  for (const ir::TensorId id : program.parameters) {
    const ir::Tensor& tensor = program.tensors[id];
    TensorArgument t;
    t.name = tensor.name;
    t.type = tensor.type;
    for (const ir::Expr e : tensor.shape) t.shape.push_back(compiler::evaluate_size(program, e, out.symbols));
    std::string kind = "normal", layout;
    if (const auto given = which.settings.find(t.name); given != which.settings.end()) kind = given->second;
    if (const auto slash = kind.find('/'); slash != std::string::npos) layout = kind.substr(slash + 1), kind.resize(slash);
    Rng rng(seed * 1000003 + hash_of(t.name));
    lay_out(t, layout, rng.chance(70));
    const bool ranged = static_cast<bool>(tensor.fact_begin) || static_cast<bool>(tensor.fact_end);
    const std::int64_t first = tensor.fact_begin ? compiler::evaluate_size(program, tensor.fact_begin, out.symbols) : 0;
    const std::int64_t last = tensor.fact_end ? compiler::evaluate_size(program, tensor.fact_end, out.symbols) : 0;
    std::int64_t running = first;
    for_each(t, [&](std::byte* at, std::int64_t n, const std::vector<std::int64_t>& where) {
      if (is_float(t.type)) return store_from_f64(t.type, at, real_value(rng, kind, t.type, n, narrow));
      if (t.type == DType::boolean) return store_from_i64(t.type, at, kind == "zeros" ? 0 : kind == "constant" ? 1 : rng.chance(65));
      std::int64_t value = integer_value(rng, kind, t.type, widest);
      if (ranged) {
        const std::int64_t span = std::max<std::int64_t>(1, last - first);
        value = first + rng.below(kind == "repeated" ? std::min<std::int64_t>(2, span) : kind == "zeros" ? 1 : span);
      }
      if (tensor.nondecreasing) {
        if (!where.empty() && where.back() == 0) running = first;
        if (kind != "zeros" && rng.chance(25) && (!ranged || running + 1 < last)) ++running;
        value = running;
      }
      store_from_i64(t.type, at, value);
    });
    out.inputs.push_back(std::move(t));
  }
  return out;
}

std::vector<bool> TensorArgument::covered() const {
  std::vector<bool> is(bytes.size(), false);
  for_each(*this, [&](std::byte* element, std::int64_t, const std::vector<std::int64_t>&) {
    std::fill_n(is.begin() + (element - bytes.data()), size_of(type), true);
  });
  return is;
}

TensorArgument make_output(const ir::Program& program, ir::TensorId tensor, const Case& which, const std::vector<std::int64_t>& symbols, unsigned char poison) {
  TensorArgument t;
  t.name = program.tensors[tensor].name;
  t.type = program.tensors[tensor].type;
  for (const ir::Expr e : program.tensors[tensor].shape) t.shape.push_back(std::max<std::int64_t>(0, compiler::evaluate_size(program, e, symbols)));
  std::string layout;
  if (const auto given = which.settings.find(t.name); given != which.settings.end() && given->second.starts_with('/')) layout = given->second.substr(1);
  lay_out(t, layout, poison % 2 != 0);
  if (t.bytes.size()) std::memset(t.bytes.data(), poison, t.bytes.size());
  return t;
}

compiler::Arguments interpreter_arguments(const ir::Program& program, const CaseArguments& arguments) {
  compiler::Arguments out;
  for (const TensorArgument& t : arguments.inputs) out.tensors.push_back(t.view());
  out.symbols = arguments.symbols;
  std::vector<bool> given;
  for (std::size_t i = 0; i < arguments.scalars.size(); ++i) {
    compiler::ScalarValue v;
    v.real = rounded_to(is_float(program.scalars[i].type) ? program.scalars[i].type : DType::f64, arguments.scalars[i].value);
    v.integer = static_cast<std::int64_t>(arguments.scalars[i].value);
    out.scalars.push_back(v);
    given.push_back(arguments.scalars[i].given);
  }
  compiler::fill_defaults(program, given, out);
  return out;
}

}  // namespace quern::fuzz
