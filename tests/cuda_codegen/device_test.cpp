// The printed texts on a GPU: every operator and cast on the inputs of host_test.cpp, every f32 for functions of one
// operand, atomics under contention, exchanges, reports. Skipped without a GPU, unless QUERN_REQUIRE_GPU=1.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "compiler/codegen/cpu/abi.h"
#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/interpreter/elementwise.h"
#include "tests/catch.h"
#include "tests/cuda_codegen/gpu.h"
#include "tests/cuda_codegen/judge.h"
#include "tests/cuda_codegen/nvrtc.h"

using namespace quern;
using namespace quern::cuda;
using namespace quern::cuda::test;
using ir::Op;

namespace {

bool skipped() {
  std::string why;
  if (have_gpu(&why) && have_nvrtc(&why)) return false;
  const char* required = std::getenv("QUERN_REQUIRE_GPU");
  INFO(why);
  REQUIRE_FALSE((required && std::string(required) == "1"));
  std::printf("skipped: %s\n", why.c_str());
  return true;
}

DeviceModule built(const std::string& kernels) {
  const Compiled c = compile(prelude(kernels) + kernels, gpu_arch());
  INFO(c.log);
  REQUIRE(c.ok);
  return DeviceModule(c.cubin);
}

const std::string kThread = "const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;\n";

template <class T>
std::vector<std::uint8_t> bytes_of(const std::vector<T>& from) {
  std::vector<std::uint8_t> out(from.size() * sizeof(T));
  std::memcpy(out.data(), from.data(), out.size());
  return out;
}

/// What error_rules.def allows for a result r of x, as code of a kernel on doubles; the forms are those of
/// compiler/interpreter/elementwise.cpp for an exact operand.
std::string allowed(Op op) {
  const interpreter::ErrorRule& rule = interpreter::error_rule(op);
  const std::string argument = fmt::format("{} * 0x1p-24 * fabs(x)", rule.argument), floor = fmt::format("{} * 0x1p-24", rule.floor);
  const std::string text = fmt::format("{} * 0x1p-24 * fabs(r) + 0x1p-149", 2 * rule.ulps);
  switch (op) {
    case Op::exp: case Op::sigmoid: case Op::silu: return text + " + fabs(r) * " + argument;
    case Op::exp2: return text + " + fabs(r) * 0.6931471805599453 * " + argument;
    case Op::expm1: return text + " + exp(x) * " + argument;
    case Op::sinh: return text + " + cosh(x) * " + argument;
    case Op::cosh: return text + " + fabs(sinh(x)) * " + argument;
    case Op::softplus: return text + " + sigmoid_f64(x) * " + argument;
    case Op::tan: return text + " + 1.3 * (1.0 + r * r) * " + floor;
    case Op::gelu: return text + " + fabs(x) * " + floor;
    default: return text + " + " + floor;
  }
}

}  // namespace

TEST_CASE("on a GPU the texts mean what the interpreter means") {
  if (skipped()) return;
  std::string text;
  for (const Case& c : cases()) text += "extern \"C\" __global__ void " + c.name + "(" + parameters(c) + ", long long n) {\n  " + kThread + "  if (i >= n) return;\n" + body(c) + "}\n";
  const DeviceModule module = built(text);
  for (const Case& c : cases()) {
    const Inputs in = inputs_of(c);
    std::vector<std::uint64_t> parameters;
    const DeviceArray x(in.stored[0]), y(in.stored[1]), z(in.stored[2]), out(static_cast<std::size_t>(in.count) * size_of(c.to));
    for (std::size_t k = 0; k < c.operands.size(); ++k) parameters.push_back((k == 0 ? x : k == 1 ? y : z).address());
    parameters.push_back(out.address());
    parameters.push_back(static_cast<std::uint64_t>(in.count));
    module.launch(c.name, static_cast<unsigned>((in.count + 127) / 128), 128, parameters);
    const Verdict v = judge(c, in, out.read());
    INFO(v.wrong << " of " << in.count << ": " << v.first);
    CHECK(v.wrong == 0);
    if (std::getenv("QUERN_PRINT_ULP") && v.worst > 0) std::printf("%-24s %8.3f of what is allowed\n", c.name.c_str(), v.worst);
  }
}

TEST_CASE("functions of one f32 operand stay within their rule for every operand") {
  if (skipped()) return;
  struct Worst {
    double ratio, ulps;
    std::uint32_t ratio_at, ulps_at;
    std::uint64_t seen;
  };
  std::vector<Op> ops;
  std::string text = R"(struct Worst { double ratio, ulps; u32 ratio_at, ulps_at; u64 seen; };
__device__ __noinline__ void note(Worst* worst, u32 bits, double r, float got, double bound) {
  ++worst->seen;
  const bool overflow = fabs(r) + bound > 3.4028234663852886e38;
  if (r != r || got != got) { bound = (r != r) == (got != got) ? 1.0 : 0.0; r = 0.0; got = 1.0f; if (bound == 1.0) return; }
  else if (overflow && fabsf(got) > 3.4e38f && (r < 0.0) == (got < 0.0f)) return;
  const double error = fabs(double(got) - r), ratio = error == 0.0 ? 0.0 : error / bound;
  const double unit = fmax(0x1p-149, __longlong_as_double((__double_as_longlong(fabs(r)) & 0x7ff0000000000000ll)) * 0x1p-23), ulps = error / unit;
  if (ratio > worst->ratio) { worst->ratio = ratio; worst->ratio_at = bits; }
  if (ulps > worst->ulps) { worst->ulps = ulps; worst->ulps_at = bits; }
}
)";
  for (const Case& c : cases()) {
    if (c.is_cast || c.from != DType::f32 || c.to != DType::f32 || c.operands.size() != 1) continue;
    ops.push_back(c.op);
    const std::string x = "x", exact = apply_text(c.op, DType::f64, DType::f64, std::span(&x, 1));
    text += "extern \"C\" __global__ void " + c.name + "(Worst* all) {\n  " + kThread +
            "  Worst worst = {};\n  for (i64 b = i; b < 0x100000000ll; b += gridDim.x * (i64)blockDim.x) {\n"
            "    const float a = __uint_as_float(u32(b));\n    const double x = a;\n    const double r = " + exact + ";\n    note(&worst, u32(b), r, " + c.value + ", " + allowed(c.op) + ");\n  }\n  all[i] = worst;\n}\n";
  }
  const DeviceModule module = built(text);
  const unsigned blocks = 1024, threads = 256;
  for (Op op : ops) {
    const DeviceArray all(blocks * threads * sizeof(Worst));
    module.launch("op_" + std::string(ir::name(op)) + "_f32", blocks, threads, {all.address()});
    const std::vector<std::uint8_t> raw = all.read();
    std::vector<Worst> each(blocks * threads);
    std::memcpy(each.data(), raw.data(), raw.size());
    Worst worst{};
    for (const Worst& w : each) {
      worst.seen += w.seen;
      if (w.ratio > worst.ratio) worst.ratio = w.ratio, worst.ratio_at = w.ratio_at;
      if (w.ulps > worst.ulps) worst.ulps = w.ulps, worst.ulps_at = w.ulps_at;
    }
    if (std::getenv("QUERN_PRINT_ULP")) {
      std::printf("%-9s f32, all operands: %8.3f ulp at %a; %6.3f of what is allowed at %a\n", std::string(ir::name(op)).c_str(), worst.ulps,
                  static_cast<double>(std::bit_cast<float>(worst.ulps_at)), worst.ratio, static_cast<double>(std::bit_cast<float>(worst.ratio_at)));
    }
    INFO(ir::name(op) << " of " << std::bit_cast<float>(worst.ratio_at));
    CHECK(worst.seen == std::uint64_t{1} << 32);
    CHECK(worst.ratio <= 1);
  }
}

TEST_CASE("atomic updates of every type lose nothing under contention") {
  if (skipped()) return;
  const int elements = 4096, each = 7;
  for (int k = 0; k < kDTypeCount; ++k) {
    const DType type = static_cast<DType>(k);
    const std::size_t size = size_of(type);
    const std::string stored = stored_type(type), label(name(type));
    std::string text;
    for (ir::Reducer r : {ir::Reducer::sum, ir::Reducer::max, ir::Reducer::min}) {
      text += "extern \"C\" __global__ void update_" + std::string(ir::name(r)) + "(" + stored + "* at, const " + stored + "* from, long long n) {\n  " + kThread +
              "  const " + stored + " s = from[i];\n  " + atomic_text(r, type, "at + i % n", from_stored(type, "s")) + ";\n}\n";
    }
    const DeviceModule module = built(text);
    // Whole numbers up to 8: sums are exact in every type, whatever the order. A NaN reaches one element.
    std::vector<std::uint8_t> start(elements * size), from(elements * each * size);
    for (int i = 0; i < elements * each; ++i) {
      store_from_f64(type, from.data() + static_cast<std::size_t>(i) * size, type == DType::boolean ? i * 7 % 5 == 0 : (i * 2654435761u >> 7) % 2);
      if (is_float(type) && i == elements + 5) store_from_f64(type, from.data() + static_cast<std::size_t>(i) * size, NAN);
    }
    for (int i = 0; i < elements; ++i) store_from_f64(type, start.data() + static_cast<std::size_t>(i) * size, i % 2);
    const DeviceArray source(from);
    for (ir::Reducer r : {ir::Reducer::sum, ir::Reducer::max, ir::Reducer::min}) {
      const DeviceArray at(start);
      module.launch("update_" + std::string(ir::name(r)), elements * each / 256, 256, {at.address(), source.address(), elements});
      const std::vector<std::uint8_t> out = at.read();
      int wrong = 0, first = -1;
      for (int i = 0; i < elements; ++i) {
        double want = load_as_f64(type, start.data() + static_cast<std::size_t>(i) * size);
        for (int n = 0; n < each; ++n) {
          const double v = load_as_f64(type, from.data() + static_cast<std::size_t>(i + n * elements) * size);
          want = r == ir::Reducer::sum ? want + v : std::isnan(want) || std::isnan(v) ? NAN : r == ir::Reducer::max ? std::fmax(want, v) : std::fmin(want, v);
        }
        if (type == DType::boolean) want = want != 0;
        const double got = load_as_f64(type, out.data() + static_cast<std::size_t>(i) * size);
        if (std::isnan(want) ? !std::isnan(got) : got != want) wrong++ == 0 ? first = i : 0;
      }
      INFO(label << " " << ir::name(r) << ", first at " << first);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("lanes exchange values of every type") {
  if (skipped()) return;
  for (int k = 0; k < kDTypeCount; ++k) {
    const DType type = static_cast<DType>(k);
    const std::size_t size = size_of(type);
    std::string text = "extern \"C\" __global__ void k(const " + stored_type(type) + "* in, " + stored_type(type) + "* out) {\n  const int i = threadIdx.x;\n  const " +
                       value_type(type) + " v = " + from_stored(type, "in[i]") + ";\n";
    const char* forms[] = {"shuffle(v, 5)", "shuffle_xor(v, 9)", "shuffle_up(v, 3)", "shuffle_down(v, 4)"};
    for (int f = 0; f < 4; ++f) text += "  out[" + std::to_string(32 * f) + " + i] = " + to_stored(type, forms[f]) + ";\n";
    std::vector<std::uint8_t> in(32 * size);
    for (int i = 0; i < 32; ++i) store_from_f64(type, in.data() + static_cast<std::size_t>(i) * size, type == DType::boolean ? i * i % 3 == 0 : 0.5 * i);
    const DeviceArray x(in), out(4 * 32 * size);
    built(text + "}\n").launch("k", 1, 32, {x.address(), out.address()});
    const std::vector<std::uint8_t> got = out.read();
    for (int i = 0; i < 32; ++i) {
      const int from[] = {5, i ^ 9, i < 3 ? i : i - 3, i + 4 > 31 ? i : i + 4};
      for (int f = 0; f < 4; ++f) {
        INFO(name(type) << " " << forms[f] << " in lane " << i);
        CHECK(std::memcmp(got.data() + static_cast<std::size_t>(32 * f + i) * size, in.data() + static_cast<std::size_t>(from[f]) * size, size) == 0);
      }
    }
  }
}

TEST_CASE("pairs are packed low half first; the flushed exponential differs below the normals alone") {
  if (skipped()) return;
  const DeviceModule module = built("extern \"C\" __global__ void k(u32* out, float* e) {\n  out[0] = f16x2_bits(1.0f, -2.0f);\n  out[1] = bf16x2_bits(1.0f, -2.0f);\n"
                                    "  e[0] = ex2_flushed(-3.0f);\n  e[1] = ex2_flushed(-140.0f);\n  e[2] = ex2(-140.0f);\n}\n");
  const DeviceArray words(8), reals(12);
  module.launch("k", 1, 1, {words.address(), reals.address()});
  const std::vector<std::uint8_t> w = words.read(), r = reals.read();
  std::uint32_t packed[2];
  float e[3];
  std::memcpy(packed, w.data(), sizeof packed);
  std::memcpy(e, r.data(), sizeof e);
  CHECK(packed[0] == 0xc0003c00u);
  CHECK(packed[1] == 0xc0003f80u);
  CHECK(e[0] == 0.125f);
  CHECK(e[1] == 0.0f);
  CHECK(e[2] == 0x1p-140f);
}

TEST_CASE("NVRTC reads constants bit for bit") {
  if (skipped()) return;
  const std::vector<double> list = {0.1, -0.0, 1.0 / 3, 1e30, -1e-42, 3.4028234663852886e38, 4095.9990234375, -123456789.125, 1e-310, INFINITY, -INFINITY};
  std::string text = "extern \"C\" __global__ void k(float* f, double* d) {\n";
  for (std::size_t i = 0; i < list.size(); ++i)
    text += fmt::format("  f[{}] = {};\n  d[{}] = {};\n", i, literal_real(list[i], DType::f32), i, literal_real(list[i], DType::f64));
  const DeviceArray f(4 * list.size()), d(8 * list.size());
  built(text + "}\n").launch("k", 1, 1, {f.address(), d.address()});
  const std::vector<float> singles(list.begin(), list.end());
  CHECK(f.read() == bytes_of(singles));
  CHECK(d.read() == bytes_of(list));
}

TEST_CASE("the first report wins and is whole") {
  if (skipped()) return;
  const DeviceModule module = built("extern \"C\" __global__ void k(quern_status* s, long long n) {\n  " + kThread + "  if (i >= 0) quern_report(s, 7u, 2, i * 3, n, 4u, 3, i, i + 1, i + 2);\n}\n");
  const DeviceArray status(std::vector<std::uint8_t>(sizeof(cpu::Status), 0));
  module.launch("k", 64, 256, {status.address(), 99});
  cpu::Status s;
  const std::vector<std::uint8_t> raw = status.read();
  std::memcpy(&s, raw.data(), sizeof s);
  CHECK(s.state == 2);
  CHECK(s.tensor == 7);
  CHECK(s.axis == 2);
  CHECK(s.source == 4);
  CHECK(s.extent == 99);
  CHECK(s.rank == 3);
  CHECK(s.value == s.position[0] * 3);
  CHECK(s.position[1] == s.position[0] + 1);
  CHECK(s.position[2] == s.position[0] + 2);
}
