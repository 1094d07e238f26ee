// D: hard inputs. Every limit at its edge, names and literals that would be something in generated code, faults of the
// compiler itself. Where the other promises are shown: README.md.
#include <clocale>
#include <fstream>
#include <functional>
#include <locale>
#include <regex>
#include <set>

#include <fmt/format.h>

#include "compiler/compile.h"
#include "compiler/mutants/mutate.h"
#include "dsl/check/check.h"
#include "dsl/ir/print_program.h"
#include "dsl/syntax/limits.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"
#include "tests/programs/programs.h"
#include "tests/runtime/layouts.h"
#include "tools/fuzz/device.h"
#include "tools/fuzz/front.h"
#ifdef QUERN_LLVM
#include "compiler/codegen/cpu/code_generator.h"
#endif
#ifdef QUERN_CUDA
#include "compiler/codegen/cuda/plan_cuda.h"
#endif

using namespace quern;
using namespace quern::dsl;

namespace {

std::string times(const std::string& unit, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += unit;
  return out;
}

/// Codes of what parsing and checking say.
std::set<dsl::Code> codes_of(const std::string& text) {
  const Source source("limit", text);
  Diagnostics diagnostics;
  const ast::File file = parse(source, diagnostics);
  for (const auto& item : file.items)
    if (const auto* kernel = std::get_if<ast::Kernel>(&item.node); kernel && !diagnostics.has_errors()) (void)check(*kernel, &file, source, {}, diagnostics);
  std::set<dsl::Code> out;
  for (const Diagnostic& d : diagnostics.list()) out.insert(d.code);
  return out;
}

const std::string kKernel = "kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = ";

}  // namespace

TEST_CASE("D3: at each limit a text is accepted, one further it has an error of its own") {
  struct Limit {
    const char* name;
    std::function<std::string(std::size_t)> text;
    std::size_t most;  // accepted
    dsl::Code error;
  };
  const std::string whole = kKernel + "x[n] }\n";
  const Limit limits[] = {
      {"bytes", [&](std::size_t n) { return whole + "#" + std::string(n - whole.size() - 1, 'c'); }, kMaxFileBytes, dsl::Code::file_too_large},
      {"length of a name", [](std::size_t n) { return "kernel f(x: f32[N]) -> (y: f32[N]) { " + std::string(n, 'a') + "[n] = x[n]\n y[n] = " + std::string(n, 'a') + "[n] }"; }, kMaxNameLength,
       dsl::Code::name_too_long},
      {"nesting", [](std::size_t n) { return kKernel + times("(", n) + "x[n]" + times(")", n) + " }"; }, kMaxNesting - 2, dsl::Code::nested_too_deeply},
      {"height of an expression", [](std::size_t n) { return kKernel + times("1+", n - 1) + "1 }"; }, kMaxTreeDepth, dsl::Code::nested_too_deeply},
      {"rank", [](std::size_t n) { return "kernel f(x: f32[" + times("1,", n - 1) + "N]) -> (y: f32[N]) { y[n] = x[" + times("0,", n - 1) + "n] }"; }, kMaxRank, dsl::Code::too_many_items},
      {"parameters", [](std::size_t n) {
         std::string text = "kernel f(";
         for (std::size_t i = 0; i < n; ++i) text += fmt::format("{}x{}: f32[N]", i ? ", " : "", i);
         return text + ") -> (y: f32[N]) { y[n] = x0[n] }";
       }, kMaxItems, dsl::Code::too_many_items},
  };
  for (const Limit& limit : limits) {
    INFO(limit.name);
    const auto at = codes_of(limit.text(limit.most)), beyond = codes_of(limit.text(limit.most + 1));
    for (const dsl::Code code : at) UNSCOPED_INFO("at the limit: " << dsl::name(code));
    for (const dsl::Code code : beyond) UNSCOPED_INFO("beyond it: " << dsl::name(code));
    CHECK(at.empty());
    CHECK(beyond.count(limit.error) == 1);
  }
  // Nothing but names: no program, yet read up to the limit (one token is the end).
  const auto too_many = [&](std::size_t n) { return codes_of(times("a ", n)).count(dsl::Code::too_many_tokens) == 1; };
  CHECK_FALSE(too_many(kMaxTokens - 1));
  CHECK(too_many(kMaxTokens));
}

namespace {

/// Every name that the program gives to something, in its text.
std::set<std::string> names_of(const ir::Program& p) {
  std::set<std::string> out{p.name};
  for (const ir::Tensor& t : p.tensors) out.insert(t.name);
  for (const ir::Index& i : p.indices) out.insert(i.name);
  for (const ir::Scalar& s : p.scalars) out.insert(s.name);
  for (const ir::Symbol& s : p.symbols) out.insert(s.name);
  return out;
}

std::string renamed(const std::string& text, const std::map<std::string, std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (!std::isalpha(static_cast<unsigned char>(text[i])) && text[i] != '_') {
      // A number takes its letters along: 1e5.
      const bool number = std::isdigit(static_cast<unsigned char>(text[i]));
      do out += text[i++];
      while (number && i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '.' || text[i] == '_'));
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_')) ++end;
    const std::string word = text.substr(i, end - i);
    const auto to = names.find(word);
    out += to == names.end() ? word : to->second;
    i = end;
  }
  return out;
}

std::string without_comments(const std::string& text) { return std::regex_replace(text, std::regex("//[^\n]*"), ""); }

/// What the back ends make of a program, comments apart.
struct Generated {
  std::string cuda, object;
};
Generated generated(const ir::Program& program) {
  Generated out;
#ifdef QUERN_CUDA
  cuda::CudaOptions gpu;
  gpu.layouts.assign(program.tensors.size(), cpu::TensorLayout{true, {}});
  out.cuda = without_comments(cuda::print_cuda(cuda::plan_for_cuda(program, gpu), gpu).text);
#endif
#ifdef QUERN_LLVM
  compiler::CompileOptions compile;
  compile.plan.target.vector_bytes = 32;
  compile.plan.target.registers = 16;
  cpu::CpuOptions options;
  options.target = cpu::target_named("avx2");
  std::string error;
  const cpu::CodeGenerator* generator = cpu::code_generator(&error);
  INFO(error);
  REQUIRE(generator);
  const cpu::CompiledCpu compiled = generator->compile(compiler::compile(program, compile), options);
  CHECK(compiled.error.empty());
  out.object = compiled.object;
#endif
  return out;
}

ir::Program checked_one(const std::string& text, const std::string& what) {
  const auto cases = fuzz::cases_of(text);
  fuzz::Case which;
  if (!cases.empty()) which = cases.front();
  fuzz::Checked checked = fuzz::check_case(text, which);
  INFO(what << "\n" << text << "\n" << checked.diagnostics);
  REQUIRE(checked.program);
  return std::move(*checked.program);
}

/// Names that mean something to CUDA, C++, PTX, LLVM or the linker, or are just long.
const std::vector<std::string>& loaded_names() {
  static const std::vector<std::string> list = [] {
    std::vector<std::string> out{"__global__", "__device__", "__shared__", "__launch_bounds__", "__restrict__", "__syncthreads", "asm", "volatile", "threadIdx", "blockIdx",
                                 "gridDim", "float", "double", "int", "long", "return", "class", "template", "namespace", "extern", "goto", "while", "switch", "operator",
                                 "main", "printf", "malloc", "exit", "memcpy", "expf", "NULL", "errno", "_Z3fooi", "llvm", "define", "declare", "ptr", "i32x", "entry",
                                 "quern_plan", "quern_k0", "quern_report", "t0", "i3", "w0", "words0", "k0", "task", "lane", "warp", "shared", "pool", "__LINE__", "__FILE__",
                                 "_Pragma", "defined", "alignas", "this", "new", "delete", "try", "throw", "union", "static_assert", "nullptr", "__asm__", "__int128"};
    for (int n = 0; n < 80; ++n) out.push_back(fmt::format("{}{}", std::string(static_cast<std::size_t>(3 * n + 1), n % 2 ? '_' : 'L'), n));
    return out;
  }();
  return list;
}

}  // namespace

TEST_CASE("D4: names of the user never reach what is generated") {
  int programs = 0;
  std::size_t next = 0;
  std::set<std::string> used;
  for (const test::ExampleFile& file : test::examples()) {
    std::string last;
    for (const fuzz::Case& which : file.cases) {
      if (which.slow || which.kernel == last) continue;
      last = which.kernel;
      const fuzz::Checked checked = fuzz::check_case(file.text, which);
      REQUIRE(checked.program);
      // The printed program: one kernel, nothing but its own names.
      const std::string text = ir::print_program(*checked.program);
      const ir::Program first = checked_one(text, "printed");
      std::map<std::string, std::string> names;
      std::set<std::string> taken = names_of(first);
      for (const std::string& name : names_of(first)) {
        std::string to;
        do to = loaded_names()[next++ % loaded_names().size()];
        while (taken.count(to));
        taken.insert(to);
        used.insert(to);
        names[name] = to;
      }
      const ir::Program second = checked_one(renamed(text, names), "renamed");
      INFO(file.name << ", kernel " << which.kernel << "\n" << renamed(text, names));
      const Generated a = generated(first), b = generated(second);
      CHECK(a.cuda == b.cuda);
      CHECK(a.object == b.object);
      ++programs;
    }
  }
  CHECK(programs >= 80);
  CHECK(used.size() >= 100);
}

TEST_CASE("D4: what stands in comments of a program stays there") {
  const std::string plain = "kernel f(x: f32[N]) -> (y: f32[N]) {\n  y[n] = exp(x[n])\n}\n";
  const Generated wanted = generated(checked_one(plain, "plain"));
  for (const char* comment : {"*/ #error no", "// \\", "?\?/", "\\", "*/ } extern \"C\" __global__ void k0() {} /*", "%s %n", "\"); asm(\"", "\xe2\x80\xae evil", "\t\\\t", "line\r#pragma unroll"}) {
    const std::string text = fmt::format("# {}\nkernel f(x: f32[N]) -> (y: f32[N]) {{  # {}\n  y[n] = exp(x[n])  # {}\n}}\n", comment, comment, comment);
    const Source source("comment", text);
    Diagnostics diagnostics;
    const ast::File file = parse(source, diagnostics);
    if (diagnostics.has_errors()) continue;  // a control character may be refused
    const Generated got = generated(checked_one(text, comment));
    INFO(comment);
    CHECK(got.cuda == wanted.cuda);
    CHECK(got.object == wanted.object);
  }
  // Names hold nothing but letters, digits and underscores.
  for (const char* name : {"a*/b", "a\\\nb", "a\?\?/b", "\xc3\xa9", "a\"b", "a;b", "a$b", "a`b"})
    CHECK_FALSE(codes_of(fmt::format("kernel {}(x: f32[N]) -> (y: f32[N]) {{ y[n] = x[n] }}", name)).empty());
}

namespace {

/// Decimal comma, points between thousands: what a careless stream would print as 1.234,5.
struct Comma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

}  // namespace

TEST_CASE("D4: literals arrive exactly, whatever the locale") {
  const char* literals[] = {"0.1", "1234567.5", "1e-45", "1.1754942e-38", "3.4028235e38", "1e-320", "4.9e-324", "1.7976931348623157e308", "1e10", "0.30000000000000004", "-0.0", "inf", "-inf", "nan", "16777217", "2.5", "1e-7"};
  const auto results = [&] {
    std::vector<double> out;
    for (const char* literal : literals)
      for (const char* type : {"f32", "f64"}) {
        const auto kernel = Kernel::compile(fmt::format("kernel f(x: {}[N]) -> (y: {}[N]) {{ y[n] = where(x[n] == 0, {}, 1234567.25) }}", type, type, literal));
        if (!kernel) {
          out.push_back(-77);  // refused: not a number of this type
          continue;
        }
        Tensor x = Tensor::zeros(std::string(type) == "f32" ? f32 : f64, {3});
        const Tensor y = (*kernel)(x);
        out.push_back(y.get({1}));
        out.push_back(std::signbit(y.get({1})));
      }
    return out;
  };
  clear_cache();
  const std::vector<double> plain = results();
  // Spot checks against the compiler that built this.
  CHECK(plain[0] == double(0.1f));
  CHECK(plain[2] == 0.1);
  const std::vector<ir::Program> programs = [] {
    std::vector<ir::Program> out;
    for (const char* literal : {"0.1", "1234567.5", "1e-45"}) out.push_back(checked_one(fmt::format("kernel f(x: f32[N]) -> (y: f32[N]) {{ y[n] = x[n] + {} }}\n", literal), literal));
    return out;
  }();
  std::vector<Generated> before;
  for (const ir::Program& p : programs) before.push_back(generated(p));
  const std::locale old = std::locale::global(std::locale(std::locale::classic(), new Comma));
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"})
    if (std::setlocale(LC_ALL, name)) break;  // where the system has one
  clear_cache();
  const std::vector<double> there = results();
  std::vector<Generated> after;
  for (const ir::Program& p : programs) after.push_back(generated(p));
  const std::string explained = Kernel("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] + 1234567.5 }").explain();
  std::locale::global(old);
  std::setlocale(LC_ALL, "C");
  REQUIRE(there.size() == plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i) CHECK((there[i] == plain[i] || (std::isnan(there[i]) && std::isnan(plain[i]))));
  for (std::size_t i = 0; i < before.size(); ++i) {
    CHECK(after[i].cuda == before[i].cuda);
    CHECK(after[i].object == before[i].object);
  }
  CHECK(explained.find("1.234") == std::string::npos);
}

TEST_CASE("D5: a fault inside the compiler is an error that brings the program along") {
  if (compiler::mutants().empty() || !fuzz::has_device(Device::cpu)) return;  // faults are put into test builds alone
  const std::string text = "kernel faulty(q: f32[M,K], w: f32[K]) -> (o: f32[M]) { o[m] = sum[k](q[m,k] * w[k]) }";
  const std::vector<float> q(6, 1), w(3, 2);
  std::set<std::string_view> names;
  for (const compiler::Pass& pass : compiler::passes()) names.insert(pass.name);
  CHECK(names.size() >= 10);
  for (const std::string_view name : names) {
    const Kernel kernel(text, Options().on(Device::cpu).without("fault:" + std::string(name)));
    const Argument list[] = {TensorView(q, {2, 3}), w};
    for (int again = 0; again < 2; ++again) {  // a failure is not kept
      const auto result = kernel.try_run(list);
      REQUIRE_FALSE(result);
      CHECK(result.code() == quern::Code::internal);
      const std::string message = result.error().message();
      INFO(message);
      CHECK(message.find(name) != std::string::npos);
      CHECK(message.find("kernel faulty(q: f32[M, K], w: f32[K])") != std::string::npos);
      CHECK(message.find("sum[k](q[m, k] * w[k])") != std::string::npos);
    }
    CHECK(kernel.counters().failures == 2);
  }
  CHECK(Tensor(Kernel(text)(TensorView(q, {2, 3}), w)).get({1}) == 6);
}
