// Components of the key between processes: each one changed is another key, which misses; the same is the same key, which hits.
#include <fstream>
#include <map>

#include "runtime/device.h"
#include "tests/cache/place.h"
#include "tests/catch.h"
#include "tests/command/process.h"

using namespace quern_test;

TEST_CASE("each component of the key, changed or not, in a new process") {
  if (!quern::runtime::has_cpu()) return;
  const std::string base = "kernel f<T: type, W: int = 2>(x: T[N], a: T[N,M]) -> (o: T[N]) { o[n] = sum[m](a[n,m]) * x[n] * W }";
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = base;
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
  };
  using Words = std::vector<std::string>;
  struct Component {
    const char* what;
    std::string text;
    Words words;
  };
  const Words f32{"--set", "T=f32"};
  std::vector<Component> all{
      {"nothing", base, f32},
      {"an element type", base, {"--set", "T=f16"}},
      {"another", base, {"--set", "T=f64"}},
      {"a third", base, {"--set", "T=bf16"}},
      {"a compile-time value", base, {"--set", "T=f32", "--set", "W=3"}},
      {"a pass", base, {"--set", "T=f32", "--off", "simplify"}},
      {"another pass", base, {"--set", "T=f32", "--off", "merge_equal"}},
      {"two passes", base, {"--set", "T=f32", "--off", "merge_equal", "--off", "simplify"}},
      {"a reduction", replaced("sum[m]", "max[m]"), f32},
      {"an operator", replaced(" * x[n]", " - x[n]"), f32},
      {"a constant", replaced("* W", "* W * 3"), f32},
      {"a subscript", replaced("x[n]", "x[N-1-n]"), f32},
      {"a domain", replaced("sum[m]", "sum[m where m > n]"), f32},
      {"the type of an input", replaced("x: T[N]", "x: f64[N]"), f32},
      {"the type of the output", replaced("(o: T[N])", "(o: f64[N])"), f32},
      {"a rank", "kernel f<T: type, W: int = 2>(x: T[N,1], a: T[N,M]) -> (o: T[N]) { o[n] = sum[m](a[n,m]) * x[n,0] * W }", f32},
      {"the order of parameters", replaced("x: T[N], a: T[N,M]", "a: T[N,M], x: T[N]"), f32},
      {"a parameter in place", "kernel f<T: type, W: int = 2>(inout x: T[N], a: T[N,M]) { x[n] = sum[m](a[n,m]) * x[n] * W }", f32},
      {"a second output", "kernel f<T: type, W: int = 2>(x: T[N], a: T[N,M]) -> (o: T[N], p: T[N]) { o[n] = sum[m](a[n,m]) * x[n] * W; p[n] = x[n] }", f32},
      {"a condition on sizes", replaced("{ o", "{ require M <= N; o"), f32},
      {"precision", "@precise " + base, f32},
      {"speed", "@fast " + base, f32},
      {"a number", "kernel f<T: type>(x: T[N], a: T[N,M], c: f32) -> (o: T[N]) { o[n] = sum[m](a[n,m]) * x[n] * c }", f32},
      {"indices from data", "kernel f<T: type>(x: T[N], a: T[N,M], i: i32[N] in 0:N) -> (o: T[N]) { o[n] = sum[m](a[n,m]) * x[i[n]] * 2 }", f32},
      {"a fact about data", "kernel f<T: type>(x: T[N], a: T[N,M], i: i32[N] in 0:N nondecreasing) -> (o: T[N]) { o[n] = sum[m](a[n,m]) * x[i[n]] * 2 }", f32},
  };
#ifdef QUERN_EMULATED_CUDA
  for (const char* target : {"cuda:sm_80", "cuda:sm_86", "cuda:sm_89", "cuda:sm_90", "cuda:sm_90a"}) all.push_back({target, base, {"--set", "T=f32", "--on", target}});
  all.push_back({"a pass of the GPU", base, {"--set", "T=f32", "--on", "cuda:sm_90a", "--off", "warp_roles"}});
#endif
  REQUIRE(all.size() >= 24);
  const Place place;
  const std::vector<std::string> environment{"QUERN_CACHE=on", "QUERN_CACHE_DIR=" + place.folder()};
  std::ofstream(place / "base.quern") << base << '\n';
  REQUIRE(run_quern({"cache", "warm", place / "base.quern", "--set", "T=f32"}, "", environment).out == "f: compiled\n");
  std::map<std::string, std::string> keys;  // digest -> component
  for (const Component& c : all) {
    Words words{"explain", "-", "--key"};
    words.insert(words.end(), c.words.begin(), c.words.end());
    std::string first;
    for (int process = 0; process < 2; ++process) {
      const Output o = run_quern(words, c.text + "\n", environment);
      INFO(c.what << o.err);
      REQUIRE(o.status == 0);
      const std::string digest = o.out.substr(0, o.out.find(" of kernel"));
      if (process == 0) CHECK(keys.emplace(digest, c.what).second);
      else CHECK(digest == first);
      first = digest;
      CHECK((o.out.find("hit: ") != std::string::npos) == (c.words == f32 && c.text == base));
      CHECK((o.out.find("miss: ") != std::string::npos) != (c.words == f32 && c.text == base));
    }
  }
  CHECK(keys.size() == all.size());
}
