// The command as a person or a script meets it: exit status, which stream says what, JSON that parses, files that come out.
#include <nlohmann/json.hpp>

#include <cstring>

#include "tests/catch.h"
#include "tests/command/process.h"
#include "tools/npy/npy.h"

using nlohmann::json;
using namespace quern;

namespace {

constexpr const char* kDouble = "kernel twice(x: f32[N]) -> (y: f32[N]) { y[i] = 2 * x[i] }\n";
constexpr const char* kTwo =
    "kernel add<W: int = 1>(x: i32[N], step: i32 = W) -> (y: i32[N]) { y[i] = x[i] + step }\n"
    "kernel rows<T: type>(x: T[M,N]) -> (y: T[M]) { y[i] = sum[n](x[i,n]) }\n";
constexpr const char* kAttention =
    "kernel attention<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n"
    "  s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n"
    "  o[m,d] = sum[n](softmax[n](s[m,n]) * v[n,d])\n"
    "}\n";

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void write_floats(const std::string& path, const npy::Shape& shape, const std::vector<float>& values, DType type = DType::f32) {
  npy::Array array = npy::Array::zeros(type, shape);
  for (std::size_t i = 0; i < values.size(); ++i) store_from_f64(type, array.at(static_cast<std::int64_t>(i)), values[i]);
  npy::write(path, array);
}

}  // namespace

TEST_CASE("help begins with examples and goes to stdout") {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"check", "--help"}, {"run", "-h"}, {"inspect", "--help"}, {"explain", "--help"},
        {"bench", "--help"}, {"fmt", "--help"}, {"doctor", "--help"}, {"fuzz", "--help"}}) {
    const Output help = run_quern(arguments);
    INFO(arguments[0]);
    CHECK(help.status == 0);
    CHECK(help.out.rfind("Examples:\n  quern ", 0) == 0);
    CHECK(help.err.empty());
  }
  CHECK(run_quern({"--version"}).out == "quern 0.1.0\n");
  CHECK(run_quern({}).status == 2);
}

TEST_CASE("a wrong command line is status 2, one line and a hint") {
  const auto error = [](const std::vector<std::string>& arguments, const std::string& input = "") {
    const Output result = run_quern(arguments, input);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    return result.err.substr(0, result.err.find('\n'));
  };
  CHECK(error({"chekc"}) == "quern: error: unknown subcommand 'chekc'; did you mean 'check'?");
  CHECK(error({"cache", "lst"}) == "quern: error: unknown subcommand 'lst'; did you mean 'list'?");
  CHECK(error({"cache"}) == "quern: error: a subcommand is needed: path, list, verify, prune, clear, warm");
  CHECK(error({"cache", "list", "--jsn"}) == "quern: error: unknown option '--jsn'; did you mean '--json'?");
  CHECK(error({"run", "--verfy", "x.quern"}) == "quern: error: unknown option '--verfy'; did you mean '--verify'?");
  CHECK(error({"run"}) == "quern: error: FILE is required");
  CHECK(error({"run", "-", "--on", "gpu"}, kDouble) != "");
  CHECK(error({"run", "-", "twise"}, kDouble) == "quern: error: <stdin> has no kernel 'twise'; did you mean 'twice'?");
  CHECK(error({"run", "-"}, kTwo) == "quern: error: <stdin> holds 2 kernels, name one behind the file: add, rows");
  CHECK(error({"run", "-"}, kDouble) == "quern: error: parameter 'x' is not given: x=x.npy or x=random:[...]");
  CHECK(error({"run", "-", "xx=zeros:[2]"}, kDouble) == "quern: error: kernel 'twice' has no 'xx'; it has x, N");
  CHECK(error({"run", "-", "x=zeros:[2]", "x=zeros:[3]"}, kDouble) == "quern: error: 'x' is given twice");
  CHECK(error({"run", "-", "x=3"}, kDouble) ==
        "quern: error: parameter 'x' is a tensor, x=3 is a number; write x=random:[...] or a .npy file");
  CHECK(error({"run", "-", "x=random"}, kDouble) ==
        "quern: error: the size 'N' of 'x' is not known: give it (--set N=...) or the shape (x=random:[...])");
  CHECK(error({"run", "-", "x=random", "--set", "N=two"}, kDouble) == "quern: error: --set N=two: 'two' is not an integer");
  CHECK(error({"run", "-", "add", "x=zeros:[2]", "step=0.5"}, kTwo) == "quern: error: parameter 'step' is i32, 0.5 is no integer");
  CHECK(error({"run", "-", "rows", "x=zeros:[2,2]", "--set", "T=f23"}, kTwo) ==
        "quern: error: --set T=f23: 'f23' is not an element type (f64 f32 f16 bf16 e4m3 e5m2 i64 i32 i16 i8 u8 bool)");
  CHECK(error({"run", "-", "x=zeros:[2]", "--out", "z=z.npy"}, kDouble) ==
        "quern: error: --out z=z.npy: there is no output 'z'; there is y");
  CHECK(error({"inspect", "-", "--print-after=simplfy"}, kDouble) == "quern: error: there is no pass 'simplfy'; did you mean 'simplify'?");
}

TEST_CASE("check: diagnostics to stderr, or as JSON to stdout") {
  const std::string wrong = "kernel f(x: f32[N]) -> (y: f32[N]) { y[i] = z[i] }\n";
  CHECK(run_quern({"check", "-"}, kDouble).status == 0);
  const Output text = run_quern({"check", "-"}, wrong);
  CHECK(text.status == 1);
  CHECK(text.out.empty());
  CHECK(has(text.err, "<stdin>:1:45: error: "));
  CHECK(has(text.err, "^"));
  CHECK(!has(text.err, "\x1b"));

  const Output machine = run_quern({"check", "--json", "-"}, wrong);
  CHECK(machine.status == 1);
  CHECK(machine.err.empty());
  const json list = json::parse(machine.out);
  REQUIRE(list.size() == 1);
  CHECK(list[0]["ok"] == false);
  CHECK(list[0]["diagnostics"][0]["line"] == 1);
  CHECK(list[0]["diagnostics"][0]["column"] == 45);
  CHECK(list[0]["diagnostics"][0]["severity"] == "error");

  CHECK(run_quern({"check", "/nonexistent.quern"}).status == 4);
  CHECK(has(run_quern({"check", "/nonexistent.quern"}).err, "/nonexistent.quern: No such file or directory"));
  CHECK(run_quern({"check", "/"}).status == 4);
  // Several files: all are checked, the worst counts.
  const Folder folder;
  const Output several = run_quern({"check", folder.file("a.quern", wrong), folder.file("b.quern", kDouble)});
  CHECK(several.status == 1);
  CHECK(has(several.err, "b.quern: 1 kernel, no errors"));
  // Bytes that are no text, an empty file.
  CHECK(run_quern({"check", "-"}, std::string("\0\xff\xfe kernel", 10)).status == 1);
  CHECK(json::accept(run_quern({"check", "--json", "-"}, std::string("kernel \xff\xfe(", 10)).out));
  CHECK(run_quern({"check", "-"}, "").status == 0);
}

TEST_CASE("run: outputs shown, written and verified") {
  const Output shown = run_quern({"run", "-", "x=iota:[4]", "--on", "interpreter"}, kDouble);
  CHECK(shown.status == 0);
  CHECK(shown.out == "y: f32[4]\n  0 2 4 6\n");
  CHECK(shown.err.empty());

  const Folder folder;
  write_floats(folder.path("x.npy"), {3}, {1, -2, 0.5f});
  const Output written = run_quern({"run", "-", "x=" + folder.path("x.npy"), "--out", "y=" + folder.path("y.npy"), "--verify", "--on", "interpreter"}, kDouble);
  CHECK(written.status == 0);
  CHECK(written.out.empty());
  CHECK(has(written.err, "verified 3 of 3 elements"));
  const npy::Array y = npy::read(folder.path("y.npy"));
  CHECK(y.shape == npy::Shape{3});
  CHECK(load_as_f64(DType::f32, y.at(1)) == -4);

  const Output machine = run_quern({"run", "-", "x=random:[3]:5", "--json", "--verify"}, kDouble);
  CHECK(machine.status == 0);
  const json result = json::parse(machine.out);
  CHECK(result["outputs"][0]["shape"] == json::array({3}));
  CHECK(result["verification"]["ok"] == true);
  CHECK(machine.out == run_quern({"run", "-", "x=random:[3]:5", "--json", "--verify"}, kDouble).out);
  CHECK(machine.out != run_quern({"run", "-", "x=random:[3]:6", "--json", "--verify"}, kDouble).out);
}

TEST_CASE("run: element types, scalars, sizes") {
  const Folder folder;
  write_floats(folder.path("x.npy"), {2, 2}, {1, 2, 3, 4});
  // f32 files for bf16 parameters, bf16 outputs as f32 files.
  const Output bf16 = run_quern({"run", "-", "rows", "x=" + folder.path("x.npy"), "--set", "T=bf16", "--out", folder.path("y.npy")}, kTwo);
  CHECK(bf16.status == 0);
  CHECK(npy::read(folder.path("y.npy")).type == DType::f32);
  CHECK(load_as_f64(DType::f32, npy::read(folder.path("y.npy")).at(1)) == 7);
  // The type of a file decides an open element type.
  write_floats(folder.path("d.npy"), {1, 2}, {1, 2}, DType::f64);
  CHECK(has(run_quern({"run", "-", "rows", "x=" + folder.path("d.npy")}, kTwo).out, "y: f64[1]\n  3\n"));
  CHECK(run_quern({"run", "-", "rows", "x=" + folder.path("d.npy"), "--set", "T=f32"}, kTwo).status == 4);
  // A default that depends on a compile-time value; a passed scalar; a size without --set.
  CHECK(has(run_quern({"run", "-", "add", "x=iota", "N=3", "--set", "W=5"}, kTwo).out, "y: i32[3]\n  5 6 7\n"));
  CHECK(has(run_quern({"run", "-", "add", "x=iota:[3]", "step=-1"}, kTwo).out, "y: i32[3]\n  -1  0  1\n"));
  // Data that does not fit.
  const Output shapes = run_quern({"run", "-", "q=zeros:[2,4]", "k=zeros:[3,4]", "v=zeros:[5,4]"}, kAttention);
  CHECK(shapes.status == 4);
  CHECK(has(shapes.err, "'v'"));
  CHECK(run_quern({"run", "-", "x=/nonexistent.npy"}, kDouble).status == 4);
  CHECK(run_quern({"run", "-", "x=zeros:[1000000000,1000000000]"}, "kernel f(x: f64[M,N]) -> (y: f64[M]) { y[i] = sum[n](x[i,n]) }").status == 4);
}

TEST_CASE("run: data that breaks a declared fact is reported, not read") {
  const std::string gather = "kernel pick(e: f32[V], ids: i32[T] in 0:V) -> (y: f32[T]) { y[t] = e[ids[t]] }\n";
  const Folder folder;
  npy::Array ids = npy::Array::zeros(DType::i32, {3});
  store_from_i64(DType::i32, ids.at(2), 77);
  npy::write(folder.path("ids.npy"), ids);
  for (const char* device : {"interpreter", "cpu"}) {
    const Output broken = run_quern({"run", "-", "e=iota:[5]", "ids=" + folder.path("ids.npy"), "--on", device}, gather);
    if (broken.status == 6) continue;  // not in this build
    CHECK(broken.status == 4);
    CHECK(has(broken.err, "77"));
    CHECK(has(broken.err, "ids"));
  }
  CHECK(run_quern({"run", "-", "e=iota:[5]", "ids=random:[100]", "--verify"}, gather).status == 0);
}

TEST_CASE("inspect and explain show every stage") {
  CHECK(run_quern({"inspect", "-", "--emit=ast"}, kDouble).out == "kernel twice(x: f32[N]) -> (y: f32[N]) {\n  y[i] = 2 * x[i]\n}\n");
  const Output index = run_quern({"inspect", "-"}, "kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c = a @ b }\n");
  CHECK(index.status == 0);
  CHECK(has(index.out, "sum["));
  // What inspect prints is a program again.
  CHECK(run_quern({"check", "-"}, index.out).status == 0);
  CHECK(has(run_quern({"inspect", "-", "--emit=tile"}, kAttention).out, "kernel k0"));
  CHECK(has(run_quern({"inspect", "-", "--print-after=all"}, kAttention).out, "# after flatten"));
  const Output assembly = run_quern({"inspect", "-", "--emit=asm", "--set", "D=16"}, kAttention);
  CHECK((assembly.status == 0 || assembly.status == 6));

  // A choice of plans is switched off like a pass.
  const char* product = "kernel product(a: f16[M,K], b: f16[K,N]) -> (c: f16[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }\n";
  CHECK(has(run_quern({"inspect", "-", "--emit=tile", "--on", "cuda:sm_90a"}, product).out, " groups 2 "));
  CHECK(!has(run_quern({"inspect", "-", "--emit=tile", "--on", "cuda:sm_90a", "--off", "warp_roles"}, product).out, " groups "));

  const Output text = run_quern({"explain", "-", "--set", "M=64", "--set", "N=64", "--set", "D=16"}, kAttention);
  CHECK(text.status == 0);
  CHECK(has(text.out, "Becomes 1 kernel\n"));
  CHECK(has(text.out, "exp("));
  CHECK(has(text.out, "bound by "));
  const json machine = json::parse(run_quern({"explain", "-", "--json", "--set", "M=64", "--set", "N=32", "--set", "D=16"}, kAttention).out);
  CHECK(machine["kernels"].size() == 1);
  CHECK(machine["work"]["multiply_adds"] == 2.0 * 64 * 32 * 16);
  CHECK(machine["work"]["bytes_read"] == 4.0 * 16 * (64 + 32 + 32));
  CHECK(machine["work"]["bytes_written"] == 4.0 * 16 * 64);
}

TEST_CASE("masked-out points are no work") {
  const std::string causal =
      "kernel causal<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n"
      "  s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n"
      "  o[m,d] = sum[n](softmax[n where n <= m](s[m,n]) * v[n,d])\n"
      "}\n";
  const json machine = json::parse(run_quern({"explain", "-", "--json", "--set", "M=64", "--set", "N=64", "--set", "D=16"}, causal).out);
  CHECK(machine["work"]["multiply_adds"] == 2.0 * 16 * (64 * 65 / 2));
}

TEST_CASE("bench verifies, then measures") {
  const Output result = run_quern({"bench", "-", "--set", "M=64", "--set", "N=64", "--set", "D=16", "--seconds", "0.05", "--json"}, kAttention);
  if (result.status == 6) return;  // not in this build
  CHECK(result.status == 0);
  const json machine = json::parse(result.out);
  const json& one = machine["benchmarks"][0];
  CHECK(one["verification"]["ok"] == true);
  CHECK(one["gflops"] > 0.0);
  CHECK(one["share_of_peak"] > 0.0);
  CHECK(one["share_of_peak"] < 1.1);
  CHECK(one["real_time"] >= one["best_time"]);
  CHECK(one["flops"] == 4.0 * 64 * 64 * 16);
  const Output text = run_quern({"bench", "-", "x=random:[100]", "--seconds", "0.01"}, kDouble);
  CHECK(text.status == 0);
  CHECK(has(text.out, "of peak"));
}

TEST_CASE("fmt") {
  const std::string loose = "kernel f ( x:f32[N] )->(y:f32[N]){y[i]=x[i]}  # note\n";
  const Output text = run_quern({"fmt", "-"}, loose);
  CHECK(text.status == 0);
  CHECK(has(text.out, "kernel f(x: f32[N]) -> (y: f32[N]) {\n"));
  CHECK(has(text.out, "# note"));
  const Folder folder;
  const std::string path = folder.file("f.quern", loose);
  const Output before = run_quern({"fmt", "--check", path});
  CHECK(before.status == 1);
  CHECK(before.out == path + "\n");
  CHECK(content_of(path) == loose);
  CHECK(run_quern({"fmt", "--in-place", path}).status == 0);
  CHECK(content_of(path) == text.out);
  CHECK(run_quern({"fmt", "--check", path}).status == 0);
  // What cannot be read is left alone.
  const std::string broken = folder.file("g.quern", "kernel (");
  CHECK(run_quern({"fmt", "--in-place", broken}).status == 1);
  CHECK(content_of(broken) == "kernel (");
}

TEST_CASE("doctor and fuzz") {
  const Output doctor = run_quern({"doctor", "--json"});
  CHECK(doctor.status == 0);
  CHECK(json::parse(doctor.out)["interpreter"] == true);
  const Output text = run_quern({"fuzz", "--seed", "3", "--print"});
  CHECK(text.status == 0);
  CHECK(has(text.out, "kernel"));
  CHECK(text.out == run_quern({"fuzz", "--seed", "3", "--print"}).out);
  const Output few = run_quern({"fuzz", "--seed", "1", "--count", "3", "--on", "interpreter", "--json"});
  CHECK(few.status == 0);
  CHECK(json::parse(few.out)["failures"].empty());
}

TEST_CASE("no colours without a terminal, nor where the environment forbids them") {
  const std::string wrong = "kernel f(x: f32[N]) -> (y: f32[N]) { y[i] = z[i] }\n";
  CHECK(!has(run_quern({"check", "-"}, wrong).err, "\x1b"));
  CHECK(!has(run_quern({"check", "-"}, wrong, {"NO_COLOR=1"}).err, "\x1b"));
  CHECK(!has(run_quern({"--no-color", "check", "-"}, wrong).err, "\x1b"));
  // A file that cannot be written: no result is lost silently.
  const Output lost = run_quern({"run", "-", "x=iota:[4]", "--out", "y=/nonexistent/y.npy"}, kDouble);
  CHECK(lost.status == 4);
}
