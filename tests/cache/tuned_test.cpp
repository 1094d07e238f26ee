// Measured choices: kept apart from code, followed by every later compile, never in the way of a program.
#include <fstream>

#include "runtime/device.h"
#include "runtime/front.h"
#include "runtime/signature.h"
#include "runtime/tuned.h"
#include "tests/cache/place.h"
#include "tests/catch.h"
#include "tests/command/process.h"

using namespace quern;
using namespace quern_test;

namespace {

const std::string kText = "kernel f<D: int>(x: f32[N,D]) -> (y: f32[N]) { y[n] = sum[d](x[n,d] * 2) }";
const std::string kRenamed = "kernel other<E: int>(a: f32[M,E]) -> (b: f32[M]) { b[i] = sum[k](a[i,k] * 2) }";

/// Keeps that `text` is best without `pass`, with D or E = 8; false where it is not kept.
bool keep(const std::string& text, const std::string& name, std::vector<std::string> off) {
  const runtime::Front front(text, "text", "");
  const Options options = Options().set(name, 8);
  runtime::CompileRequest request;
  request.options = &options;
  request.program = front.check(options.settings);
  request.layouts.assign(runtime::Binding(*request.program).slots().size(), {true, -1});
  return runtime::keep_choice(Device::cpu, request, {std::move(off), 1e-6, 2e-6, "measured with N=3"}, runtime::disk::process_store());
}

disk::Store choices_of(const Place& place) {
  disk::StoreOptions options;
  options.folder = place.folder() + "/tuned";
  return disk::Store(options);
}

std::string passes_off(const Kernel& kernel) {
  const std::string text = kernel.explain_key();
  const std::size_t at = text.find("  passes off       ") + 19;
  return text.substr(at, text.find('\n', at) - at);
}

double result(const Kernel& kernel) {
  const std::vector<float> x(3 * 8, 1.5f);
  return Tensor(kernel(TensorView(x, {3, 8}))).get({2});
}

}  // namespace

TEST_CASE("a choice is followed by every spelling of its program, stands apart from code, and can be taken back") {
  if (!runtime::has_cpu()) return;
  const Place place;
  const WithCache cache(place.folder());
  const auto kernel = [&] { return clear_cache(), Kernel(kText, Options().set("D", 8)); };
  CHECK(passes_off(kernel()) == "none");
  CHECK(result(kernel()) == 24);
  REQUIRE(keep(kText, "D", {"merge_equal", "simplify"}));
  const Kernel chosen = kernel();
  CHECK(passes_off(chosen) == "merge_equal simplify");
  CHECK(chosen.explain_key().find("passes are off by choice of `quern tune`: 1.00 us for 2.00 us, measured with N=3") != std::string::npos);
  CHECK(result(chosen) == 24);
  CHECK(chosen.counters().compiles == 1);
  CHECK(passes_off(Kernel(kRenamed, Options().set("E", 8))) == "merge_equal simplify");
  CHECK(result(kernel()) == 24);
  CHECK(place.store().list().size() == 2);  // code with the choice, code without
  CHECK(choices_of(place).list().size() == 1);
  // What a program asks for itself, other values, other devices: no choice.
  CHECK(passes_off(Kernel(kText, Options().set("D", 8).without("hoist_invariants"))) == "hoist_invariants");
  CHECK(passes_off(Kernel(kText, Options().set("D", 9))) == "none");
  CHECK(passes_off(Kernel(kText, Options().set("D", 8).for_target("baseline"))) == "none");
  // Code goes, the choice stays; the choice goes, code stays.
  CHECK(place.store().clear() == 2);
  CHECK(passes_off(kernel()) == "merge_equal simplify");
  CHECK(result(kernel()) == 24);
  REQUIRE(keep(kText, "D", {}));
  CHECK(passes_off(kernel()) == "none");
  CHECK(choices_of(place).list().empty());
  CHECK(place.store().list().size() == 1);
  // Neither the library's version nor the compiler's is in a choice's key: it outlives both.
  REQUIRE(keep(kText, "D", {"simplify"}));
  for (const runtime::SignatureField& f : runtime::read_signature(choices_of(place).list().at(0).key))
    for (const char* name : {"library", "code generator", "abi", "passes off"}) CHECK(f.name != name);
}

TEST_CASE("a choice that is damaged, or of passes that there are not, is none") {
  if (!runtime::has_cpu()) return;
  const Place place;
  const WithCache cache(place.folder());
  REQUIRE(keep(kText, "D", {"simplify"}));
  disk::Store choices = choices_of(place);
  const disk::Listed listed = choices.list().at(0);
  const std::string payload = choices.read(listed.key).payload;
  const auto now = [&] { return clear_cache(), passes_off(Kernel(kText, Options().set("D", 8))); };
  CHECK(now() == "simplify");
  for (const std::string& text : {std::string(), std::string("nonsense"), payload + "no_such_pass\n", payload + "flatten\n" /* may not be off */, std::string("quern choice 2") + payload.substr(14)}) {
    REQUIRE(choices.write(listed.key, "f", text));
    CHECK(now() == "none");
  }
  REQUIRE(choices.write(listed.key, "f", payload));
  CHECK(now() == "simplify");
  std::ofstream(place.folder() + "/tuned/" + listed.digest.substr(0, 2) + "/" + listed.digest, std::ios::trunc) << payload;
  CHECK(now() == "none");
}

TEST_CASE("quern tune measures, keeps and forgets; frozen processes follow what is kept") {
  if (!runtime::has_cpu()) return;
  const Place place;
  std::ofstream(place / "f.quern") << kText << '\n';
  const auto quern = [&](std::vector<std::string> words, const std::string& mode = "on") {
    return run_quern(words, "", {"QUERN_CACHE=" + mode, "QUERN_CACHE_DIR=" + place.folder()});
  };
  const std::vector<std::string> call{"tune", place / "f.quern", "x=random:[30,8]"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> words = call;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const Output tuned = quern(with({"--seconds", "0.1", "--json"}));
  INFO(tuned.err);
  CHECK(tuned.status == 0);
  CHECK(tuned.out.find("\"off\": [") != std::string::npos);
  CHECK(quern(call, "off").status == 6);
  CHECK(quern(call, "read-only").status == 6);
  {
    const WithCache cache(place.folder());
    REQUIRE(keep(kText, "D", {"simplify"}));
  }
  const std::vector<std::string> run{"run", place / "f.quern", "x=random:[30,8]", "--verify"};
  CHECK(quern(run).status == 0);
  CHECK(quern(run, "frozen").status == 0);
  CHECK(quern({"explain", place / "f.quern", "--set", "D=8", "--key"}, "frozen").out.find("  passes off       simplify\n") != std::string::npos);
  CHECK(quern(with({"--forget"})).out == "f: no choice\n");
  CHECK(quern({"explain", place / "f.quern", "--set", "D=8", "--key"}).out.find("  passes off       none\n") != std::string::npos);
  CHECK(quern(run, "frozen").status != 0);  // the code without the choice was never compiled
}
