// The key: every field changed is another key; names, the order of independent statements and other spellings are not in it.
#include <set>

#include "runtime/disk/entry.h"
#include "runtime/front.h"
#include "runtime/lowered.h"
#include "runtime/signature.h"
#include "tests/cache/place.h"
#include "tests/catch.h"

using namespace quern;
using namespace quern_test;

namespace {

/// The key of a text for dense arguments, or with the layouts given.
runtime::Signature signature(const std::string& text, const Options& options = {}, std::vector<runtime::Layout> layouts = {}) {
  const runtime::Front front(text, "text", "");
  runtime::CompileRequest request;
  request.options = &options;
  request.program = front.check(options.settings);
  request.layouts = std::move(layouts);
  if (request.layouts.empty()) request.layouts.assign(runtime::Binding(*request.program).slots().size(), {true, -1});
  return runtime::signature_of(runtime::has_cpu() ? Device::cpu : Device::interpreter, *runtime::settled_program(request), request);
}
std::string key(const std::string& text, const Options& options = {}, std::vector<runtime::Layout> layouts = {}) { return signature(text, options, std::move(layouts)).bytes(); }

const std::string kBase = "kernel f<W: int = 2>(x: f32[N], a: f32[N,M]) -> (o: f32[N]) { s[n] = sum[m](a[n,m]); t[n] = max[m](a[n,m]); o[n] = s[n] * x[n] * W + t[n] }";

}  // namespace

TEST_CASE("names, order, layout and spelling are not in the key") {
  const std::string base = key(kBase);
  const std::vector<std::string> same{
      // other names of everything
      "kernel other<Q: int = 2>(left: f32[K], right: f32[K,L]) -> (result: f32[K]) { u[i] = sum[j](right[i,j]); v[i] = max[j](right[i,j]); result[i] = u[i] * left[i] * Q + v[i] }",
      // independent statements the other way round
      "kernel f<W: int = 2>(x: f32[N], a: f32[N,M]) -> (o: f32[N]) { t[n] = max[m](a[n,m]); s[n] = sum[m](a[n,m]); o[n] = s[n] * x[n] * W + t[n] }",
      // no intermediates at all
      "kernel f<W: int = 2>(x: f32[N], a: f32[N,M]) -> (o: f32[N]) { o[n] = sum[m](a[n,m]) * x[n] * W + max[m](a[n,m]) }",
      // comments, lines
      "# a comment\nkernel f<W: int = 2>(x: f32[N],\n                    a: f32[N,M]) -> (o: f32[N]) {\n  o[n] = sum[m](a[n,m]) * x[n] * W + max[m](a[n,m])  # and more\n}",
      // something that no output needs
      "kernel f<W: int = 2>(x: f32[N], a: f32[N,M]) -> (o: f32[N]) { z[n] = x[n] * 7; o[n] = sum[m](a[n,m]) * x[n] * W + max[m](a[n,m]) }",
  };
  for (const std::string& text : same) {
    CAPTURE(text);
    CHECK(key(text) == base);
  }
  // A compile-time value that nothing depends on.
  const std::string unused = "kernel f<V: int>(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] + 1 }";
  CHECK(key(unused, Options().set("V", 1)) == key(unused, Options().set("V", 2)));
  const std::string index = "kernel f(q: f32[M,D], k: f32[N,D]) -> (o: f32[M,N]) { o[m,n] = sum[d](q[m,d] * k[n,d]) }";
  CHECK(key("kernel f(q: f32[M,D], k: f32[N,D]) -> (o: f32[M,N]) { o = einsum(\"md,nd->mn\", q, k) }") == key(index));
}

TEST_CASE("what code depends on is in the key") {
  const std::string base = key(kBase);
  std::set<std::string> keys{base};
  std::size_t variants = 1;
  const auto other = [&](const char* what, const std::string& k) {
    CAPTURE(what);
    CHECK(keys.insert(k).second);
    ++variants;
  };
  const auto replaced = [](std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
  };
  other("a compile-time value", key(kBase, Options().set("W", 3)));
  other("an element type of an input", key(replaced(kBase, "x: f32", "x: f64")));
  other("of an output", key(replaced(kBase, "o: f32", "o: f16")));
  other("a rank", key("kernel f<W: int = 2>(x: f32[N], a: f32[N,M]) -> (o: f32[N,1]) { o[n,z] = sum[m](a[n,m]) * x[n] * W + max[m](a[n,m]) }"));
  other("an equation", key(replaced(kBase, "max[m]", "min[m]")));
  other("a constant", key(replaced(kBase, "* W", "* W * 3")));
  other("the order of parameters", key(replaced(kBase, "x: f32[N], a: f32[N,M]", "a: f32[N,M], x: f32[N]")));
  other("an annotation", key("@precise " + kBase));
  other("a condition on sizes", key(replaced(kBase, "{ s", "{ require N == M; s")));
  other("strides", key(kBase, {}, {{true, -1}, {false, -1}, {true, -1}}));
  other("which axis is dense", key(kBase, {}, {{true, -1}, {false, 0}, {true, -1}}));
  other("of which tensor", key(kBase, {}, {{false, 0}, {true, -1}, {true, -1}}));
  other("a pass that is off", key(kBase, Options().without("simplify")));
  other("two of them", key(kBase, Options().without("simplify").without("merge_equal")));
  CHECK(key(kBase, Options().without("merge_equal").without("simplify").without("simplify")) == key(kBase, Options().without("simplify").without("merge_equal")));
  if (runtime::has_cpu()) other("the target", key(kBase, Options().for_target("baseline")));
  CHECK(keys.size() == variants);
}

TEST_CASE("each field of the key, changed, misses; the same key hits") {
  const Place place;
  disk::Store store = place.store();
  const runtime::Signature base = signature(kBase);
  REQUIRE(base.fields.size() >= (runtime::has_cpu() ? 13u : 8u));
  REQUIRE(store.write(base.bytes(), "f", "payload"));
  const std::vector<runtime::SignatureField> again = runtime::read_signature(base.bytes());
  REQUIRE(again.size() == base.fields.size());
  for (std::size_t i = 0; i < base.fields.size(); ++i) {
    CHECK(again[i].name == base.fields[i].name);
    CHECK(again[i].value == base.fields[i].value);
    // Longer, shorter, another character anywhere: among these another processor with fewer or more instructions.
    std::vector<std::string> values{base.fields[i].value + " ", base.fields[i].value.substr(1), ""};
    for (std::size_t at = 0; at < base.fields[i].value.size(); at += 1 + base.fields[i].value.size() / 64) {
      values.push_back(base.fields[i].value);
      values.back()[at] = values.back()[at] == '0' ? '1' : '0';
    }
    for (const std::string& value : values) {
      if (value == base.fields[i].value) continue;
      runtime::Signature changed = base;
      changed.fields[i].value = value;
      CHECK(store.read(changed.bytes()).how == disk::Found::How::none);
    }
    runtime::Signature left_out = base;
    left_out.fields.erase(left_out.fields.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK(store.read(left_out.bytes()).how == disk::Found::How::none);
  }
  CHECK(store.read(signature(kBase).bytes()).how == disk::Found::How::hit);
  for (const char* text : {"", "quern signature 1\n4", "quern signature 1\n4 4 ab", "quern signature 1\n99999999999999999999 1 a", "quern signature 2\n"})
    CHECK(runtime::read_signature(text).empty());
}

TEST_CASE("renamed programs share compiled code, each with its own names in messages") {
  if (!runtime::has_cpu()) return;
  const Place place;
  const WithCache cache(place.folder());
  const std::vector<float> x{1, 2, 3};
  const std::vector<std::int64_t> good{2, 0}, bad{2, 7};
  const Kernel one("kernel one(x: f32[N], idx: i64[K] in 0:N) -> (y: f32[K]) { y[k] = x[idx[k]] }");
  const Kernel two("kernel two(values: f32[A], places: i64[B] in 0:A) -> (picked: f32[B]) { picked[b] = values[places[b]] }");
  CHECK(Tensor(one(x, good)).get({0}) == 3);
  CHECK(Tensor(two(x, good)).get({0}) == 3);
  CHECK(one.counters().compiles == 1);
  CHECK(two.counters().compiles == 0);
  CHECK(two.counters().loads == 1);
  const Argument arguments[] = {x, bad};
  const auto message = [&](const Kernel& k) { return k.try_run(arguments).error().message(); };
  CHECK(message(one).find("idx") != std::string::npos);
  CHECK(message(two).find("places[1] = 7") != std::string::npos);
  CHECK(message(two).find("values") != std::string::npos);
  CHECK(two.explain().find("two") != std::string::npos);
}

TEST_CASE("explain_key says hit, miss and how the nearest entry differs") {
  if (!runtime::has_cpu()) return;
  const Place place;
  const WithCache cache(place.folder());
  const std::string text = "kernel told<D: int>(x: f32[N,D]) -> (y: f32[N]) { y[n] = sum[d](x[n,d]) }";
  const Kernel kernel(text, Options().set("D", 8));
  CHECK(kernel.explain_key().find("the cache is empty") != std::string::npos);
  kernel.prepare_dense();
  const std::string hit = kernel.explain_key();
  CHECK(hit.find("hit: ") != std::string::npos);
  for (const char* field : {"library", "device", "code generator", "processor", "features", "passes off", "strides", "program"}) CHECK(hit.find(field) != std::string::npos);
  const std::string miss = Kernel(text, Options().set("D", 8).for_target("baseline")).explain_key();
  CHECK(miss.find("miss: ") != std::string::npos);
  CHECK(miss.find("is of this program and differs in") != std::string::npos);
  CHECK(miss.find("x86-64-v2") != std::string::npos);
  CHECK(Kernel(text, Options().set("D", 9)).explain_key().find("none of its 1 entries is of this program") != std::string::npos);
  CHECK_THROWS_AS(Kernel(text).explain_key(), Error);
  // For the arguments of a call, which bind D.
  const Tensor x = Tensor::zeros(f32, {3, 8});
  const Argument arguments[] = {x};
  CHECK(Kernel(text).explain_key(arguments).find("hit: ") != std::string::npos);
}
