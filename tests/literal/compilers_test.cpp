// The compilers themselves: a literal of ten statements within their default limits and 0.3 s, a wrong one refused with what
// is wrong and the line. Times are those of the processor, the least of a few, beside an empty program that includes the header.
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/catch.h"
#include "tests/command/process.h"

namespace {

const char* const kTen = R"cpp(
inline constexpr auto program = R"(
kernel f<D, E>(q: f32[B,H,M,D], k: f32[B,H,N,D], v: f32[B,H,N,E], g: f32[E], scale: f32 = 1/sqrt(D)) -> (o: f32[B,H,M,E], lse: f32[B,H,M]) {
  require M <= N
  let off = N - M
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) * scale + where(n < m, 0, -1)
  top[b,h,m] = max[n where n <= m + off](s[b,h,m,n])
  w[b,h,m,n] = exp(s[b,h,m,n] - top[b,h,m])
  z[b,h,m] = sum[n](w[b,h,m,n])
  a[b,h,m,e] = sum[n](w[b,h,m,n] * v[b,h,n,e]) / z[b,h,m]
  r[b,h,m] = rsqrt(mean[e](a[b,h,m,e] ** 2) + 1e-6)
  o[b,h,m,e] = a[b,h,m,e] * r[b,h,m] * g[e]
  lse[b,h,m] = log(z[b,h,m]) + top[b,h,m]
})"_quern;
)cpp";

struct Compiled {
  int status;
  double seconds;
  std::string messages;
};

Compiled compile(const Folder& folder, const std::string& compiler, const std::string& text) {
  const std::string file = folder.file("program.cpp", "#include <quern/literal.h>\nusing namespace quern::literals;\n" + text + "int main() {}\n");
  const auto processor = [] {
    rusage u{};
    getrusage(RUSAGE_CHILDREN, &u);
    return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
  };
  const double before = processor();
  const int status = std::system((compiler + " -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I" QUERN_SOURCE_DIR "/runtime/include '" + file + "' > '" + folder.path("log") + "' 2>&1").c_str());
  return {WEXITSTATUS(status), processor() - before, content_of(folder.path("log"))};
}

}  // namespace

TEST_CASE("compilers") {
  const Folder folder;
  int tried = 0;
  for (const std::string compiler : {"g++", "clang++-19", "clang++-22"}) {
    if (std::system((compiler + " --version > /dev/null 2>&1").c_str()) != 0) {
      WARN("skipped: no " << compiler);
      continue;
    }
    ++tried;
    double nothing = 1e9, ten = 1e9;
    for (int i = 0; i < 3; ++i) {
      nothing = std::min(nothing, compile(folder, compiler, "").seconds);
      const Compiled right = compile(folder, compiler, kTen);
      INFO(right.messages);
      REQUIRE(right.status == 0);
      ten = std::min(ten, right.seconds);
    }
    WARN(compiler << ": a literal of ten statements took " << ten - nothing << " s");
    CHECK(ten - nothing <= 0.3);
    const Compiled wrong = compile(folder, compiler, "inline constexpr auto p = \"kernel f(x: f32[M,N]) -> (s: f32[M]) {\\n  s[m] = sum[n](x[m,k])\\n}\"_quern;\n");
    INFO(compiler << ": " << wrong.messages);
    CHECK(wrong.status != 0);
    CHECK(wrong.messages.find("mistake_on_line<2>") != std::string::npos);
    CHECK(wrong.messages.find("an index that is neither on the left side nor bound by a reduction") != std::string::npos);
  }
  CHECK(tried >= 1);
}
