// See export_cu.h. Inputs follow from their position by a hash of 32 bits, so that the file and the interpreter compute the
// same ones: an index into a table of 64 values, or an integer of the declared range.
#include "tools/command/export_cu.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/interpreter/interpret.h"
#include "runtime/evaluate.h"

#ifdef QUERN_CUDA
#include "compiler/codegen/cuda/tensor_map.h"
#include "runtime/cuda/device_cuda.h"
#endif

namespace quern::command {

#ifdef QUERN_CUDA
namespace {

constexpr int kTable = 64;
constexpr std::size_t kSamples = 256;
constexpr std::size_t kMostBytes = std::size_t{1} << 30;

std::uint32_t hash(std::uint64_t i, std::uint32_t seed) {
  std::uint32_t h = static_cast<std::uint32_t>(i) * 0x9e3779b1u ^ static_cast<std::uint32_t>(i >> 32) * 0x85ebca6bu ^ seed * 0xc2b2ae35u;
  h ^= h >> 16;
  h *= 0x7feb352du;
  h ^= h >> 15;
  h *= 0x846ca68bu;
  return h ^ (h >> 16);
}
constexpr const char* kHash =
    "static uint32_t hash(uint64_t i, uint32_t seed) {\n  uint32_t h = (uint32_t)i * 0x9e3779b1u ^ (uint32_t)(i >> 32) * 0x85ebca6bu ^ seed * 0xc2b2ae35u;\n"
    "  h ^= h >> 16;\n  h *= 0x7feb352du;\n  h ^= h >> 15;\n  h *= 0x846ca68bu;\n  return h ^ (h >> 16);\n}\n";

const char* raw_type(DType type) {
  switch (size_of(type)) {
    case 8: return "uint64_t";
    case 4: return "uint32_t";
    case 2: return "uint16_t";
    default: return "uint8_t";
  }
}

struct Data {
  std::string name;
  DType type = DType::f32;
  std::vector<std::int64_t> shape;
  std::int64_t count = 1;
  bool given = false;                   // has entry values
  bool written = false;
  std::uint32_t seed = 0;
  std::vector<std::uint64_t> table;     // raw bits; empty: integers low + hash % span, ascending where it must be
  std::int64_t low = 0, span = 1;
  bool ascending = false;
  std::vector<std::byte> bytes;

  std::int64_t integer(std::int64_t i) const {
    if (!ascending) return low + static_cast<std::int64_t>(hash(static_cast<std::uint64_t>(i), seed) % static_cast<std::uint64_t>(span));
    const std::int64_t last = shape.empty() ? 1 : shape.back();
    return low + i % last * span / last;
  }
};

class Export {
 public:
  Export(const LoadedKernel& loaded, const std::string& target_name)
      : program_(loaded.program), target_(quern::cuda::target_named(target_name).value()), target_name_(target_name), binding_(program_) {
    for (const ir::Symbol& s : program_.symbols) {
      if (!s.value) throw Failure(ExitCode::usage, fmt::format("a program of its own has fixed sizes: --set {}=...", s.name));
      symbols_.push_back(*s.value);
    }
  }

  std::string text() {
    prepare_data();
    bind_numbers();
    interpret();
    Options options;
    options.on(Device::cuda).for_target(target_name_);
    runtime::CompileRequest request{std::make_shared<const ir::Program>(program_), &options, std::vector<runtime::Layout>(data_.size(), {true, -1})};
    const tile::Module tiles = runtime::gpu::plan(request, target_);
    printed_ = runtime::gpu::print(tiles, request, target_);
    if (!printed_.error.empty()) throw Failure(ExitCode::internal, printed_.error);
    return head() + "#pragma nv_diag_suppress 177, 550  // names that one variant does not use\nnamespace quern_kernels {\n" + printed_.text + "\n}  // namespace quern_kernels\n\n" + inputs() + expected() + (has_maps() ? kEncode : "") + launches() + kMain;
  }

 private:
  std::int64_t size(const ir::Program& program, ir::Expr e) const { return e ? compiler::evaluate_size(program, e, symbols_) : 0; }

  void prepare_data() {
    std::size_t bytes = 0;
    for (std::size_t slot = 0; slot < binding_.slots().size(); ++slot) {
      const runtime::TensorSlot& s = binding_.slots()[slot];
      const ir::Tensor& t = program_.tensors[s.tensor];
      Data d;
      d.name = s.name;
      d.type = t.type;
      d.given = !s.output;
      d.written = s.output || s.result;
      d.seed = static_cast<std::uint32_t>(slot + 1);
      for (const ir::Expr e : t.shape) {
        d.shape.push_back(size(program_, e));
        if (d.shape.back() < 0 || __builtin_mul_overflow(d.count, d.shape.back(), &d.count)) throw Failure(ExitCode::data, fmt::format("the size of '{}' is not one", d.name));
      }
      bytes += static_cast<std::size_t>(d.count) * size_of(d.type);
      if (bytes > kMostBytes) throw Failure(ExitCode::data, "the tensors are larger than 1 GiB; export smaller sizes");
      if (d.given) fill(d, t);
      data_.push_back(std::move(d));
    }
  }

  void fill(Data& d, const ir::Tensor& t) const {
    if (t.fact_begin && t.fact_end) {
      d.low = size(program_, t.fact_begin);
      d.span = std::max<std::int64_t>(1, size(program_, t.fact_end) - d.low);
    } else if (t.nondecreasing || (!is_float(d.type) && d.type != DType::boolean)) {
      d.low = t.nondecreasing ? 0 : d.type == DType::u8 ? 0 : -4;
      d.span = t.nondecreasing ? 4 : 8;
    } else {
      // From -1 to 1, halves of bytes: exact in every type that has them.
      for (int i = 0; i < kTable; ++i) {
        std::uint64_t raw = 0;
        if (d.type == DType::boolean) raw = static_cast<std::uint64_t>(i % 2);
        else store_from_f64(d.type, &raw, (i - kTable / 2 + 0.5) / (kTable / 2));
        d.table.push_back(raw);
      }
    }
    d.ascending = t.nondecreasing;
    d.bytes.resize(static_cast<std::size_t>(d.count) * size_of(d.type));
    for (std::int64_t i = 0; i < d.count; ++i) {
      std::byte* at = d.bytes.data() + static_cast<std::size_t>(i) * size_of(d.type);
      if (d.table.empty()) store_from_i64(d.type, at, d.integer(i));
      else std::memcpy(at, &d.table[hash(static_cast<std::uint64_t>(i), d.seed) % kTable], size_of(d.type));
    }
  }

  /// Numbers without a default are 1.
  void bind_numbers() {
    runtime::CallArguments call;
    call.scalars.resize(binding_.scalars().size());
    std::vector<Argument> ones;
    ones.reserve(binding_.scalars().size());
    arguments_.scalars.resize(program_.scalars.size());
    std::vector<bool> passed(program_.scalars.size());
    for (std::size_t i = 0; i < binding_.scalars().size(); ++i) {
      const ir::ScalarId id = binding_.scalars()[i].scalar;
      if (program_.scalars[id].default_value) continue;
      call.scalars[i] = &ones.emplace_back(1);
      arguments_.scalars[id] = {1, 1};
      passed[id] = true;
    }
    try {
      binding_.bind_sizes(symbols_.data(), call, bound_);
    } catch (const Error& e) {
      throw Failure(ExitCode::data, e.message());
    }
    arguments_.symbols = symbols_;
    for (const Data& d : data_)
      if (d.given) arguments_.tensors.push_back({d.bytes.data(), d.shape, compiler::dense_strides(d.shape)});
    compiler::fill_defaults(program_, passed, arguments_);
  }

  void interpret() {
    compiler::InterpretOptions options;
    for (ir::TensorId id = 0; id < program_.tensors.size(); ++id) {
      if (program_.tensors[id].role != ir::Role::output) continue;
      std::int64_t count = 1;
      for (const ir::Expr e : program_.tensors[id].shape) count *= size(program_, e);
      if (count <= static_cast<std::int64_t>(kSamples)) {
        options.samples.emplace_back();
        continue;
      }
      std::set<std::int64_t> positions{0, count - 1};
      for (std::uint32_t i = 0; positions.size() < kSamples; ++i)
        positions.insert(static_cast<std::int64_t>((static_cast<unsigned __int128>(hash(i, 77)) * static_cast<std::uint64_t>(count)) >> 32));
      options.samples.emplace_back(std::vector<std::int64_t>(positions.begin(), positions.end()));
    }
    results_ = compiler::interpret(program_, arguments_, options);
    if (!results_.error.empty()) throw Failure(ExitCode::data, "interpreter: " + results_.error);
    if (results_.violation) throw Failure(ExitCode::data, compiler::describe(program_, *results_.violation));
  }

  std::string head() const {
    std::string sizes;
    for (const ir::Symbol& s : program_.symbols) sizes += fmt::format(" {}={}", s.name, *s.value);
    return fmt::format("// Kernel {} with{}, as quern {}.{}.{} prints it for {}; a program of its own:\n//   nvcc -gencode arch={},code={} -o {} {}.cu && ./{}\n"
                       "// It fills the inputs, runs, compares elements with a reference that was computed in f64 (each with its bound), and times.\n"
                       "#include <algorithm>\n#include <cmath>\n#include <cstdint>\n#include <cstdio>\n#include <cstdlib>\n#include <cstring>\n#include <vector>\n\n",
                       program_.name, sizes, QUERN_VERSION_MAJOR, QUERN_VERSION_MINOR, QUERN_VERSION_PATCH, target_name_, "compute" + target_name_.substr(2), target_name_, program_.name, program_.name, program_.name);
  }

  std::string inputs() const {
    std::string text = kHash;
    text += "\n#define CHECK(call)                                                                \\\n  do {                                                                             \\\n"
            "    const cudaError_t e = (call);                                                  \\\n    if (e != cudaSuccess) {                                                        \\\n"
            "      std::fprintf(stderr, \"%s:%d: %s\\n\", __FILE__, __LINE__, cudaGetErrorString(e)); \\\n      std::exit(2);                                                                \\\n"
            "    }                                                                              \\\n  } while (0)\n\n";
    for (std::size_t i = 0; i < data_.size(); ++i) {
      const Data& d = data_[i];
      text += fmt::format("// t{}: {}, {}[{}]\nstatic void* t{};\n", i, d.name, name(d.type), fmt::join(d.shape, ","), i);
      if (!d.given) {
        text += fmt::format("static void fill_t{}() {{ CHECK(cudaMemset(t{}, 0xff, {}ll)); }}\n", i, i, bytes(d));
        continue;
      }
      if (!d.table.empty()) text += fmt::format("static const {} table_t{}[{}] = {{{}}};\n", raw_type(d.type), i, kTable, fmt::join(d.table, "u, "));
      std::string value = fmt::format("table_t{}[hash(i, {}u) % {}u]", i, d.seed, kTable);
      if (d.ascending) value = fmt::format("({})({}ll + (long long)(i % {}u) * {}ll / {}ll)", raw_type(d.type), d.low, std::max<std::int64_t>(1, d.shape.empty() ? 1 : d.shape.back()), d.span, std::max<std::int64_t>(1, d.shape.empty() ? 1 : d.shape.back()));
      else if (d.table.empty()) value = fmt::format("({})({}ll + (long long)(hash(i, {}u) % {}ull))", raw_type(d.type), d.low, d.seed, d.span);
      text += fmt::format("static void fill_t{}() {{\n  std::vector<{}> x({});\n  for (uint64_t i = 0; i < x.size(); ++i) x[i] = {};\n  CHECK(cudaMemcpy(t{}, x.data(), {}ll, cudaMemcpyHostToDevice));\n}}\n", i,
                          raw_type(d.type), d.count, value, i, bytes(d));
    }
    return text + "\n";
  }
  static std::int64_t bytes(const Data& d) { return d.count * static_cast<std::int64_t>(size_of(d.type)); }

  std::size_t slot_of(ir::TensorId id, const runtime::Binding& binding) const {
    for (std::size_t slot = 0; slot < binding.slots().size(); ++slot)
      if (binding.slots()[slot].tensor == id || binding.slots()[slot].result == id) return slot;
    throw Failure(ExitCode::internal, "a launch reads a tensor that is nowhere");
  }

  std::string expected() const {
    std::string text = "struct Expected { long long position; double low, high; };  // a NaN is expected where low is one\n";
    std::string checks;
    for (const compiler::OutputValues& o : results_.outputs) {
      const std::size_t slot = slot_of(o.tensor, binding_);
      std::string rows;
      std::size_t count = 0;
      for (std::size_t i = 0; i < o.count(); ++i) {
        double low = 0, high = 0;
        if (is_float(o.type)) {
          if (std::isinf(o.errors[i]) || std::isnan(o.errors[i])) continue;
          low = rounded_to(o.type, o.values[i] - o.errors[i]);
          high = rounded_to(o.type, o.values[i] + o.errors[i]);
        } else {
          if (o.sets.contains(i)) continue;
          low = static_cast<double>(o.integers[i]) - o.errors[i];
          high = static_cast<double>(o.integers[i]) + o.errors[i];
        }
        const auto number = [](double x) { return std::isnan(x) ? std::string("NAN") : std::isinf(x) ? std::string(x < 0 ? "-INFINITY" : "INFINITY") : fmt::format("{}", x); };
        rows += fmt::format("  {{{}, {}, {}}},\n", o.position(i), number(low), number(high));
        ++count;
      }
      if (count == 0) continue;
      text += fmt::format("static const Expected expected_t{}[] = {{  // {}\n{}}};\n", slot, data_[slot].name, rows);
      checks += fmt::format("  wrong += check(\"{}\", t{}, {}ll, \"{}\", expected_t{}, {});\n", data_[slot].name, slot, data_[slot].count, name(data_[slot].type), slot, count);
    }
    return text + kCheck + "static int check_all() {\n  int wrong = 0;\n" + checks + "  return wrong;\n}\n\n";
  }

  bool has_maps() const {
    return std::any_of(printed_.launches.begin(), printed_.launches.end(), [](const quern::cuda::KernelLaunch& l) { return !l.maps.empty(); });
  }

  /// The words of a launch with its maps, made once: what cuTensorMapEncodeTiled takes is known here but for the address.
  std::string mapped(const quern::cuda::KernelLaunch& launch, const std::string& words, const std::vector<std::string>& places) const {
    const ir::Program& p = printed_.program;
    std::string text = fmt::format("    static const quern_kernels::{0}_words words = [] {{\n      quern_kernels::{0}_words made = {{{{}}, {{{1}}}}};\n", launch.entry, words);
    for (std::size_t m = 0; m < launch.maps.size(); ++m) {
      const quern::cuda::MapNumbers n = numbers_of(launch.maps[m], p);
      if (n.rank == 0) continue;
      const auto list = [](const auto* values, int count) { return fmt::format("{}", fmt::join(values, values + count, ", ")); };
      text += fmt::format("      const uint64_t extents{0}[] = {{{1}}}, strides{0}[] = {{{2}}};\n      const uint32_t box{0}[] = {{{3}}};\n"
                          "      encode_map(&made.maps[{0}], {4}, {5}, {6}, extents{0}, strides{0}, box{0}, {7});\n",
                          m, list(n.extents, n.rank), list(n.strides, n.rank - 1), list(n.box, n.rank), n.element_bytes, n.rank, places[m], n.swizzled ? "true" : "false");
    }
    return text + "      return made;\n    }();\n";
  }

  /// Rank 0 where the map cannot be made for such sizes.
  quern::cuda::MapNumbers numbers_of(const quern::cuda::TensorMap& map, const ir::Program& p) const {
    const auto& shape = p.tensors[map.tensor].shape;
    const auto extent = [&](int axis) { return size(p, shape[static_cast<std::size_t>(axis)]); };
    const auto stride = [&](int axis) {
      std::int64_t elements = 1;
      for (std::size_t a = shape.size(); --a > static_cast<std::size_t>(axis);) elements *= extent(static_cast<int>(a));
      return elements;
    };
    quern::cuda::MapNumbers numbers;
    const std::uint64_t somewhere = 256;  // cudaMalloc's addresses are aligned
    if (!quern::cuda::map_numbers(map, somewhere, extent, stride, numbers)) numbers.rank = 0;
    return numbers;
  }

  std::string launches() const {
    using quern::cuda::Word;
    const ir::Program& p = printed_.program;
    const runtime::Binding binding(p);
    std::string text = "static int multiprocessors = 1;\n", make, run, fills;
    for (std::size_t i = 0; i < data_.size(); ++i) {
      make += fmt::format("  CHECK(cudaMalloc(&t{}, {}ll));\n", i, std::max<std::int64_t>(16, bytes(data_[i])));
      fills += fmt::format("  fill_t{}();\n", i);
    }
    for (std::size_t w = 0; w < printed_.workspace.size(); ++w) {
      std::int64_t n = static_cast<std::int64_t>(size_of(p.tensors[printed_.workspace[w]].type));
      for (const ir::Expr e : p.tensors[printed_.workspace[w]].shape) n *= size(p, e);
      text += fmt::format("static void* work{};  // {}\n", w, p.tensors[printed_.workspace[w]].name);
      make += fmt::format("  CHECK(cudaMalloc(&work{}, {}ll));\n", w, std::max<std::int64_t>(16, n));
    }
    text += "static void* status;\n";
    make += "  CHECK(cudaMalloc(&status, 256));\n  CHECK(cudaMemset(status, 0, 256));\n";
    for (std::size_t k = 0; k < printed_.launches.size(); ++k) {
      const quern::cuda::KernelLaunch& l = printed_.launches[k];
      const std::int64_t tasks = size(p, l.tasks), shared = size(p, l.shared_bytes), slab = (size(p, l.slab_bytes) + 255) / 256 * 256, zeroed = size(p, l.zeroed_bytes);
      if (tasks == 0) continue;
      const std::string grid = l.blocks_per_multiprocessor > 0 ? fmt::format("std::min({}ll, {}ll * multiprocessors)", tasks, l.blocks_per_multiprocessor) : fmt::format("{}ll", tasks);
      if (slab > 0) {
        text += fmt::format("static void* slab{};\n", k);
        make += fmt::format("  CHECK(cudaMalloc(&slab{}, {}ll * {}));\n", k, slab, grid);
      }
      if (zeroed > 0) {
        text += fmt::format("static void* zeroed{};\n", k);
        make += fmt::format("  CHECK(cudaMalloc(&zeroed{}, {}ll));\n", k, zeroed);
        run += fmt::format("  CHECK(cudaMemsetAsync(zeroed{}, 0, {}ll));\n", k, zeroed);
      }
      if (shared > 48 * 1024) make += fmt::format("  CHECK(cudaFuncSetAttribute(quern_kernels::{}, cudaFuncAttributeMaxDynamicSharedMemorySize, {}));\n", l.entry, shared);
      const auto place_of = [&](ir::TensorId id) {
        const auto workspace = std::find(printed_.workspace.begin(), printed_.workspace.end(), id);
        return workspace != printed_.workspace.end() ? fmt::format("work{}", workspace - printed_.workspace.begin()) : fmt::format("t{}", slot_of(id, binding));
      };
      std::uint64_t possible = 0;
      std::vector<std::string> words, places;
      for (std::size_t m = 0; m < l.maps.size(); ++m) {
        if (numbers_of(l.maps[m], p).rank != 0) possible |= std::uint64_t{1} << m;
        places.push_back(place_of(l.maps[m].tensor));
      }
      for (const Word& w : l.words) {
        switch (w.kind) {
          case Word::data: words.push_back(fmt::format("(long long){}", place_of(w.id))); break;
          case Word::stride: {
            std::int64_t stride = 1;
            const auto& shape = p.tensors[w.id].shape;
            for (std::size_t axis = shape.size(); --axis > static_cast<std::size_t>(w.axis);) stride *= std::max<std::int64_t>(1, size(p, shape[axis]));
            words.push_back(fmt::format("{}ll", stride));
            break;
          }
          case Word::symbol: words.push_back(fmt::format("{}ll", symbols_[w.id])); break;
          case Word::scalar: words.push_back(fmt::format("(long long){:#x}ull", static_cast<std::uint64_t>(bound_.scalars[w.id]))); break;
          case Word::status: words.emplace_back("(long long)status"); break;
          case Word::slab: words.push_back(fmt::format("(long long)slab{}", k)); break;
          case Word::tasks: words.push_back(fmt::format("{}ll", tasks)); break;
          case Word::mapped: words.push_back(fmt::format("{}ll", possible)); break;
          case Word::counter:  // a launch leaves it 0
            text += fmt::format("static void* counter{};\n", k);
            make += fmt::format("  CHECK(cudaMalloc(&counter{0}, 8));\n  CHECK(cudaMemset(counter{0}, 0, 8));\n", k);
            words.push_back(fmt::format("(long long)counter{}", k));
            break;
          case Word::zeroed: words.push_back(fmt::format("(long long)zeroed{}", k)); break;
        }
      }
      const std::string all = fmt::format("{}", fmt::join(words, ", "));
      run += fmt::format("  {{\n{}    quern_kernels::{}<<<(unsigned)({}), {}, {}>>>(words);\n  }}\n",
                         l.maps.empty() ? fmt::format("    const quern_kernels::{}_words words = {{{{{}}}}};\n", l.entry, all) : mapped(l, all, places), l.entry, grid, l.threads, shared);
    }
    return text + "\nstatic void make() {\n" + make + "}\nstatic void fill() {\n" + fills + "}\nstatic void run() {\n" + run + "}\n\n";
  }

  static constexpr const char* kEncode =
      "// cuTensorMapEncodeTiled with the values of cuda.h, found through the runtime: nothing else needs to be linked.\n"
      "static void encode_map(void* map, int element_bytes, unsigned rank, void* address, const uint64_t* extents, const uint64_t* strides, const uint32_t* box, bool swizzled) {\n"
      "  using Encode = int (*)(void*, int, unsigned, void*, const uint64_t*, const uint64_t*, const uint32_t*, const uint32_t*, int, int, int, int);\n"
      "  void* found = nullptr;\n  cudaDriverEntryPointQueryResult result;\n#if CUDART_VERSION >= 12050\n"
      "  CHECK(cudaGetDriverEntryPointByVersion(\"cuTensorMapEncodeTiled\", &found, 12000, cudaEnableDefault, &result));\n#else\n"
      "  CHECK(cudaGetDriverEntryPoint(\"cuTensorMapEncodeTiled\", &found, cudaEnableDefault, &result));\n#endif\n"
      "  const uint32_t every[5] = {1, 1, 1, 1, 1};\n  const int uint8 = 0, uint16 = 1, no_interleave = 0, no_swizzle = 0, swizzle_128 = 3, promote_256 = 3, zeros_outside = 0;\n"
      "  if (!found || reinterpret_cast<Encode>(found)(map, element_bytes == 1 ? uint8 : uint16, rank, address, extents, strides, box, every, no_interleave,\n"
      "                                                swizzled ? swizzle_128 : no_swizzle, promote_256, zeros_outside) != 0) {\n"
      "    std::fprintf(stderr, \"the driver makes no tensor map\\n\");\n    std::exit(2);\n  }\n}\n\n";

  static constexpr const char* kCheck =
      "\nstatic double value_of(const unsigned char* at, const char* type) {\n"
      "  const auto read = [&](auto x) { std::memcpy(&x, at, sizeof x); return x; };\n"
      "  const auto small = [](unsigned bits, int exponent, int mantissa, bool finite) {\n"
      "    const unsigned m = bits & ((1u << mantissa) - 1), e = bits >> mantissa & ((1u << exponent) - 1), all = (1u << exponent) - 1;\n"
      "    const double sign = bits >> (mantissa + exponent) & 1 ? -1 : 1;\n    const int bias = (1 << (exponent - 1)) - 1;\n"
      "    if (finite ? e == all && m == (1u << mantissa) - 1 : e == all && m != 0) return (double)NAN;\n    if (!finite && e == all) return sign * INFINITY;\n"
      "    return sign * (e == 0 ? std::ldexp((double)m, 1 - bias - mantissa) : std::ldexp((double)(m + (1u << mantissa)), (int)e - bias - mantissa));\n  };\n"
      "  const auto is = [&](const char* name) { return std::strcmp(type, name) == 0; };\n"
      "  if (is(\"f64\")) return read(double{});\n  if (is(\"f32\")) return read(float{});\n  if (is(\"f16\")) return small(read(uint16_t{}), 5, 10, false);\n"
      "  if (is(\"bf16\")) return small(read(uint16_t{}), 8, 7, false);\n  if (is(\"e4m3\")) return small(*at, 4, 3, true);\n  if (is(\"e5m2\")) return small(*at, 5, 2, false);\n"
      "  if (is(\"i64\")) return (double)read(int64_t{});\n  if (is(\"i32\")) return read(int32_t{});\n  if (is(\"i16\")) return read(int16_t{});\n  if (is(\"i8\")) return (signed char)*at;\n"
      "  return *at;\n}\n"
      "static int check(const char* name, const void* device, long long count, const char* type, const Expected* expected, int positions) {\n"
      "  const char digit = type[std::strlen(type) - 1];\n"
      "  const size_t size = !std::strcmp(type, \"bool\") || !std::strcmp(type, \"e4m3\") || !std::strcmp(type, \"e5m2\") || digit == '8' ? 1 : digit == '6' ? 2 : digit == '2' ? 4 : 8;\n"
      "  std::vector<unsigned char> x((size_t)count * size);\n  CHECK(cudaMemcpy(x.data(), device, x.size(), cudaMemcpyDeviceToHost));\n  int wrong = 0;\n"
      "  for (int i = 0; i < positions; ++i) {\n    const double found = value_of(&x[(size_t)expected[i].position * size], type);\n"
      "    const bool right = std::isnan(expected[i].low) ? std::isnan(found) : found >= expected[i].low && found <= expected[i].high;\n"
      "    if (!right && wrong++ < 5) std::printf(\"%s[%lld] = %.9g, not in [%.9g, %.9g]\\n\", name, expected[i].position, found, expected[i].low, expected[i].high);\n  }\n"
      "  std::printf(\"%s: %d of %d elements right\\n\", name, positions - wrong, positions);\n  return wrong;\n}\n";

  static constexpr const char* kMain =
      "int main() {\n  cudaDeviceProp device;\n  CHECK(cudaGetDeviceProperties(&device, 0));\n  multiprocessors = device.multiProcessorCount;\n  make();\n  fill();\n  run();\n"
      "  CHECK(cudaGetLastError());\n  CHECK(cudaDeviceSynchronize());\n  const int wrong = check_all();\n"
      "  cudaEvent_t begin, end;\n  CHECK(cudaEventCreate(&begin));\n  CHECK(cudaEventCreate(&end));\n  std::vector<float> times;\n"
      "  for (int batch = 0; batch < 30; ++batch) {\n    CHECK(cudaEventRecord(begin));\n    for (int i = 0; i < 20; ++i) run();\n    CHECK(cudaEventRecord(end));\n    CHECK(cudaEventSynchronize(end));\n"
      "    float ms = 0;\n    CHECK(cudaEventElapsedTime(&ms, begin, end));\n    times.push_back(ms * 50);\n  }\n  std::sort(times.begin(), times.end());\n"
      "  std::printf(\"%s: best %.2f us, median %.2f us of 30 batches of 20\\n\", device.name, times.front(), times[times.size() / 2]);\n  return wrong != 0;\n}\n";

  const ir::Program& program_;
  quern::cuda::Target target_;
  std::string target_name_;
  runtime::Binding binding_;
  std::vector<std::int64_t> symbols_;
  std::vector<Data> data_;
  runtime::Bound bound_;
  compiler::Arguments arguments_;
  compiler::Results results_;
  quern::cuda::CudaModule printed_;
};

}  // namespace

std::string export_cu(const LoadedKernel& loaded, const std::string& target) { return Export(loaded, target).text(); }

#else

std::string export_cu(const LoadedKernel&, const std::string&) {
  throw Failure(ExitCode::unavailable, "--export-cu: this build has no CUDA (QUERN_CUDA=OFF)");
}

#endif

}  // namespace quern::command
