// parse(print(tree)) equals the tree; formatting twice is formatting once; comments survive. Over the examples and forms.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/catch.h"
#include "tests/syntax/read.h"

using namespace quern::dsl;
using test::Read;

namespace {

std::string format_checked(const std::string& text) {
  Read first(text);
  INFO(first.errors);
  REQUIRE_FALSE(first.diagnostics.has_errors());
  const std::string once = print(first.file, &first.source);
  INFO(once);
  Read second(once);
  INFO(second.errors);
  REQUIRE_FALSE(second.diagnostics.has_errors());
  CHECK(ast::equal(first.file, second.file));
  CHECK(first.file.comments.size() == second.file.comments.size());
  CHECK(print(second.file, &second.source) == once);
  Read bare(print(first.file));
  CHECK(ast::equal(first.file, bare.file));
  return once;
}

std::string format_statement(const std::string& statement) {
  const std::string out = format_checked("kernel k(x: f32[N]) {\n" + statement + "\n}\n");
  const std::size_t begin = out.find("{\n") + 4;
  return out.substr(begin, out.rfind("\n}") - begin);
}

}  // namespace

TEST_CASE("every example round-trips") {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(QUERN_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".quern") continue;
    INFO(entry.path().string());
    std::ifstream in(entry.path());
    std::stringstream text;
    text << in.rdbuf();
    format_checked(text.str());
    ++files;
  }
  CHECK(files > 0);
}

TEST_CASE("statements have one canonical form") {
  CHECK(format_statement("s[b , h,m,n]=sum[ d ](q[b,h,m,d]*k[b,h,n,d])/sqrt( D )") ==
        "s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)");
  CHECK(format_statement("y[b, d in 0 : D]=x[b,d+D*2]") == "y[b, d in 0:D] = x[b, d+D*2]");
  CHECK(format_statement("y[n]=softmax[n where n<=m+N-M and not(n==3)](x[n])") ==
        "y[n] = softmax[n where n <= m + N - M and not (n == 3)](x[n])");
  CHECK(format_statement("v[t,j],id[t,j]=topk[x->j in 0:K](p[t,x])") == "v[t,j], id[t,j] = topk[x -> j in 0:K](p[t,x])");
  CHECK(format_statement("h[t]=scan[t](a[t]*prev+x[t],init = 0)") == "h[t] = scan[t](a[t] * prev + x[t], init=0)");
  CHECK(format_statement("y=x[:,None,...,::2,1:,:-W,lo:hi:st]") == "y = x[:, None, ..., ::2, 1:, :-W, lo:hi:st]");
  CHECK(format_statement("o[b,(j,g)]=q[b,(j,g)]") == "o[b,(j,g)] = q[b,(j,g)]");
  CHECK(format_statement("a,b=topk(x,K,axis=-1)") == "a, b = topk(x, K, axis=-1)");
  CHECK(format_statement("y=sum(x,axis=(0,1))@z.T") == "y = sum(x, axis=(0, 1)) @ z.T");
  CHECK(format_statement("y=concat([[0],cumsum(x)])") == "y = concat([[0], cumsum(x)])");
  CHECK(format_statement("y=einsum('ij,jk->ik',a,b)") == "y = einsum(\"ij,jk->ik\", a, b)");
  CHECK(format_statement("let silu(x,y)=x*sigmoid(x)+y; require A==B") == "let silu(x, y) = x * sigmoid(x) + y\n  require A == B");
  CHECK(format_statement("view kk[b, n in 0:L*S,j,d]=k[table[b,n div S],n mod S,j,d]") ==
        "view kk[b, n in 0:L*S, j, d] = k[table[b, n div S], n mod S, j, d]");
  CHECK(format_statement("dW[ids[t],e]+=g[t,e];m[i] max= x[i]; m[i] min=x[i]") ==
        "dW[ids[t], e] += g[t,e]\n  m[i] max= x[i]\n  m[i] min= x[i]");
}

TEST_CASE("parentheses follow the binding strengths") {
  CHECK(format_statement("y = a-(b-c)") == "y = a - (b - c)");
  CHECK(format_statement("y = (a-b)-c") == "y = (a - b) - c");
  CHECK(format_statement("y = -x**2") == "y = -x**2");
  CHECK(format_statement("y = (-x)**2") == "y = (-x)**2");
  CHECK(format_statement("y = 2**-x**3") == "y = 2**-x**3");
  CHECK(format_statement("y = (2**x)**3") == "y = (2**x)**3");
  CHECK(format_statement("y = not (a == b) or c and d") == "y = not (a == b) or c and d");
  CHECK(format_statement("y = (a+b)[0].T[1:]") == "y = (a + b)[0].T[1:]");
  CHECK(format_statement("y = a * -b mod c") == "y = a * -b mod c");
  // Redundant ones that the author wrote stay, doubled ones do not.
  CHECK(format_statement("y = ((a*b)) + c") == "y = (a * b) + c");
}

TEST_CASE("trees have the binding strengths of the reference") {
  const auto tree = [](const std::string& a, const std::string& b) {
    Read x("let y = " + a), z("let y = " + b);
    INFO(a << " / " << b << "\n" << x.errors << z.errors);
    REQUIRE_FALSE(x.diagnostics.has_errors());
    REQUIRE_FALSE(z.diagnostics.has_errors());
    return ast::equal(x.file, z.file);
  };
  CHECK(tree("a + b * c", "a + (b * c)"));
  CHECK(tree("a - b - c", "(a - b) - c"));
  CHECK_FALSE(tree("a - b - c", "a - (b - c)"));
  CHECK(tree("a ** b ** c", "a ** (b ** c)"));
  CHECK(tree("-a ** b", "-(a ** b)"));
  CHECK(tree("a ** -b", "a ** (-b)"));
  CHECK(tree("a div b * c mod d", "((a div b) * c) mod d"));
  CHECK(tree("a < b and c or d", "((a < b) and c) or d"));
  CHECK(tree("not a and b", "(not a) and b"));
  CHECK(tree("a @ b + c", "(a @ b) + c"));
}

TEST_CASE("comments and empty lines keep their places") {
  const std::string out = format_checked(
      "# head\n\n// about f\nlet f(x)=x # tail\n\n\n\n"
      "@fast kernel k<D,T:type=f32>( # in the signature\n x : T[ N,D ] in 0:N nondecreasing,inout y:f32[N]=1)->(o:f32[N-1]) { # header\n\n"
      "  # first\n  a=sum(x,\n    axis=0)   # behind a\n\n  b = (1 + # inside\n    2)\n # last\n} // end\n# after\n");
  CHECK(out ==
        "# head\n\n// about f\nlet f(x) = x  # tail\n\n"
        "# in the signature\n"
        "@fast kernel k<D, T: type = f32>(x: T[N,D] in 0:N nondecreasing, inout y: f32[N] = 1) -> (o: f32[N-1]) {  # header\n"
        "  # first\n  a = sum(x, axis=0)  # behind a\n\n  # inside\n  b = (1 + 2)\n  # last\n}  // end\n# after\n");
}

TEST_CASE("long lines break inside brackets") {
  const std::string out = format_checked(
      "kernel a_kernel_with_a_long_name<D, E>(query: f16[B,H,M,D], key: f16[B,H,N,D], value: f16[B,H,N,E], scale: f32 = 1/sqrt(D)) -> (o: f16[B,H,M,E]) {\n"
      "  o[b,h,m,e] = sum[n](softmax[n where n <= m + N - M and n > m + N - M - W](sum[d](query[b,h,m,d] * key[b,h,n,d]) * scale) * value[b,h,n,e])\n"
      "}\n");
  CHECK(out ==
        "kernel a_kernel_with_a_long_name<D, E>(\n"
        "    query: f16[B,H,M,D],\n    key: f16[B,H,N,D],\n    value: f16[B,H,N,E],\n    scale: f32 = 1 / sqrt(D)\n"
        ") -> (o: f16[B,H,M,E]) {\n"
        "  o[b,h,m,e] = sum[n](softmax[n where n <= m + N - M and\n"
        "      n > m + N - M - W](sum[d](query[b,h,m,d] * key[b,h,n,d]) * scale) * value[b,h,n,e])\n"
        "}\n");
}
