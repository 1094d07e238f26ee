// What follows a sum over columns that was split for a GPU is dealt out over rows and columns: it does not wait in the few
// blocks that end the sum.
#include "compiler/compile.h"
#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"

using namespace quern;

TEST_CASE("the reader of a split sum keeps its grid") {
  const dsl::Source source("columns.quern", "kernel centre(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = x[m,n] - mean[m](x[m,n]) }");
  for (const bool sized : {false, true}) {
    dsl::Diagnostics diagnostics;
    const dsl::ast::File parsed = dsl::parse(source, diagnostics);
    dsl::Bindings bindings;
    if (sized) bindings.values["M"] = 16384, bindings.values["N"] = 16384;
    auto program = dsl::check(*dsl::find_kernel(parsed, "centre", diagnostics), &parsed, source, bindings, diagnostics);
    REQUIRE(program);
    compiler::CompileOptions options;
    options.plan.gpu = true;
    options.plan.target.vector_bytes = 128;
    options.plan.target.registers = 32;
    const tile::Module module = compiler::compile(std::move(*program), options);
    CAPTURE(sized);
    REQUIRE(module.kernels.size() >= 3);
    CHECK(module.kernels.front().grid.size() == 2);  // parts of the sums
    CHECK(module.kernels.back().grid.size() == 2);
  }
}
