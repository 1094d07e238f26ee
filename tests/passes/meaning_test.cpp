// Every pass keeps the meaning: each example is interpreted as written and again after every pass, on small and empty
// sizes and on data with infinities and NaN, and must stay within its own bounds.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "compiler/interpreter/interpret.h"
#include "compiler/interpreter/verify.h"
#include "compiler/passes/pipeline.h"
#include "dsl/ir/print_program.h"
#include "dsl/ir/verify_program.h"
#include "tests/catch.h"
#include "tests/from_environment.h"
#include "tests/passes/text.h"

using namespace quern;
using namespace quern::compiler;

namespace {

struct Call {
  Arguments arguments;
  std::vector<std::vector<unsigned char>> storage;
};

/// Random sizes and data for the parameters; nothing when the sizes break a requirement.
std::optional<Call> random_call(const ir::Program& p, std::mt19937& random, bool wild) {
  Call call;
  auto pick = [&](int below) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(below)); };
  for (const ir::Symbol& s : p.symbols) {
    const std::int64_t size = s.compile_time ? 1 + pick(3) : pick(8) == 0 ? 0 : 1 + pick(5);
    call.arguments.symbols.push_back(s.value.value_or(s.type == DType::boolean ? pick(2) : size));
  }
  auto size = [&](ir::Expr e) { return evaluate_size(p, e, call.arguments.symbols); };
  for (const ir::Requirement& r : p.requirements)
    if (!size(r.condition)) return std::nullopt;
  for (ir::TensorId id : p.parameters) {
    const ir::Tensor& t = p.tensors[id];
    TensorView view;
    std::int64_t count = 1;
    for (ir::Expr e : t.shape) view.shape.push_back(size(e)), count *= view.shape.back();
    if (count < 0) return std::nullopt;
    view.strides = dense_strides(view.shape);
    std::vector<unsigned char>& data = call.storage.emplace_back(static_cast<std::size_t>(count) * size_of(t.type) + 8);
    std::vector<std::int64_t> integers;
    for (std::int64_t k = 0; k < count; ++k) {
      void* at = data.data() + static_cast<std::size_t>(k) * size_of(t.type);
      if (is_float(t.type)) {
        double v = static_cast<double>(pick(41) - 20) / 8;
        if (wild && pick(9) == 0) {
          const double odd[] = {INFINITY, -INFINITY, std::nan(""), 0.0, -0.0, 300.0, -300.0};
          v = odd[pick(7)];
        }
        store_from_f64(t.type, at, v);
        continue;
      }
      std::int64_t v = t.type == DType::boolean ? pick(2) : pick(7) - (t.type == DType::u8 ? 0 : 2);
      if (t.fact_begin && t.fact_end) {
        const std::int64_t low = size(t.fact_begin), high = size(t.fact_end);
        if (high <= low) return std::nullopt;
        v = low + pick(static_cast<int>(high - low));
      }
      store_from_i64(t.type, at, v);
      integers.push_back(v);
    }
    if (t.nondecreasing && !is_float(t.type)) {
      std::sort(integers.begin(), integers.end());
      for (std::int64_t k = 0; k < count; ++k) store_from_i64(t.type, data.data() + static_cast<std::size_t>(k) * size_of(t.type), integers[static_cast<std::size_t>(k)]);
    }
    view.data = data.data();
    call.arguments.tensors.push_back(std::move(view));
  }
  std::vector<bool> passed;
  for (const ir::Scalar& s : p.scalars) {
    passed.push_back(!s.default_value);
    const double v = 0.5 + static_cast<double>(pick(9)) / 4;
    call.arguments.scalars.push_back({v, static_cast<std::int64_t>(v)});
  }
  fill_defaults(p, passed, call.arguments);
  return call;
}

/// Values as a back end would have stored them. Where the changed program leaves the value open (an overflow, a product
/// that may be skipped), it says nothing: the wanted value stands in.
std::vector<std::vector<unsigned char>> stored(const Results& results, const Results& wanted) {
  std::vector<std::vector<unsigned char>> out;
  for (std::size_t n = 0; n < results.outputs.size(); ++n) {
    const OutputValues& o = results.outputs[n];
    auto& data = out.emplace_back(o.count() * size_of(o.type) + 8);
    for (std::size_t k = 0; k < o.count(); ++k) {
      void* at = data.data() + k * size_of(o.type);
      if (is_float(o.type)) store_from_f64(o.type, at, std::isinf(o.errors[k]) ? wanted.outputs[n].values[k] : o.values[k]);
      else store_from_i64(o.type, at, o.integers[k]);
    }
  }
  return out;
}

struct Tally {
  int kernels = 0, calls = 0, stages = 0;
};

void check_kernel(const ir::Program& original, unsigned seed, int rounds, const std::set<std::string, std::less<>>& off, Tally& tally) {
  std::mt19937 random(seed);
  PassOptions options;
  options.verify = true;
  options.off = off;
  std::vector<std::pair<std::string, ir::Program>> stages;
  options.after = [&](const Pass& pass, const ir::Program& p, bool changed, double) {
    if (changed) stages.emplace_back(std::string(pass.name), p);
  };
  ir::Program last = original;
  run_passes(last, options);
  stages.emplace_back("all", last);
  for (int round = 0; round < rounds; ++round) {
    const auto call = random_call(original, random, round % 2 == 1);
    if (!call) continue;
    const Results wanted = interpret(original, call->arguments);
    if (!wanted.error.empty() || wanted.violation) continue;
    ++tally.calls;
    for (const auto& [name, program] : stages) {
      ++tally.stages;
      const Results got = interpret(program, call->arguments);
      INFO("kernel " << original.name << ", after " << name << ", round " << round << "\n" << print_program(program));
      REQUIRE(got.error == "");
      if (got.violation) FAIL(describe(program, *got.violation));
      const auto data = stored(got, wanted);
      std::vector<compiler::TensorView> views;
      for (std::size_t k = 0; k < got.outputs.size(); ++k) views.push_back({data[k].data(), got.outputs[k].shape, dense_strides(got.outputs[k].shape)});
      const Report report = verify(original, wanted, views);
      INFO(report.message);
      REQUIRE(report.ok);
    }
  }
}

void for_each_kernel(const std::string& path, const std::function<void(const ir::Program&)>& use) {
  test::for_each_kernel(path, test::contents(path), {}, use);
}

std::vector<std::string> examples() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(QUERN_SOURCE_DIR) + "/examples"))
    if (entry.path().extension() == ".quern") out.push_back(entry.path().string());
  std::sort(out.begin(), out.end());
  out.push_back(std::string(QUERN_SOURCE_DIR) + "/tests/passes/golden/programs.quern");
  return out;
}

unsigned seed_of_run() { return static_cast<unsigned>(test::from_environment("QUERN_SEED", 1)); }

/// Calls per kernel: more in a long run.
int rounds_of_run() { return static_cast<int>(test::from_environment("QUERN_ROUNDS", 4)); }

}  // namespace

TEST_CASE("every pass keeps the meaning of every example") {
  const unsigned seed = seed_of_run();
  INFO("REPRO: QUERN_SEED=" << seed);
  Tally tally;
  for (const std::string& path : examples())
    for_each_kernel(path, [&](const ir::Program& p) {
      ++tally.kernels;
      check_kernel(p, seed + static_cast<unsigned>(tally.kernels) * 97, rounds_of_run(), {}, tally);
    });
  CHECK(tally.kernels >= 80);
  CHECK(tally.calls >= tally.kernels * 2);
}

TEST_CASE("any pass can be switched off") {
  const unsigned seed = seed_of_run() + 5000;
  INFO("REPRO: QUERN_SEED=" << seed - 5000);
  Tally tally;
  std::vector<std::set<std::string, std::less<>>> choices{{}};
  for (const Pass& pass : passes())
    if (!pass.required) choices.push_back({std::string(pass.name)}), choices[0].insert(std::string(pass.name));
  for (const auto& off : choices)
    for (const char* file : {"attention", "scores", "networks"})
      for_each_kernel(fmt::format("{}/examples/{}.quern", QUERN_SOURCE_DIR, file), [&](const ir::Program& p) {
        INFO("off: " << fmt::format("{}", fmt::join(off, " ")));
        check_kernel(p, seed + static_cast<unsigned>(tally.calls), 3, off, tally);
      });
  CHECK(tally.calls >= 100);
}

TEST_CASE("long chains of shared values stay small") {
  std::string text = "kernel chain(x: f32[N]) -> (y: f32[N], z: f32[N]) {\n  t0[n] = x[n]\n";
  for (int k = 0; k < 60; ++k) text += fmt::format("  t{}[n] = t{} [n] * t{} [n] + t{} [n]\n", k + 1, k, k, k);
  text += "  y[n] = t60[n]\n  z[n] = sum[k](softmax[k](t40[k] * t41[n]) * t44[k])\n}\n";
  ir::Program program = test::kernel(text);
  run_passes(program);
  CHECK(program.equations.size() <= 30);
}
