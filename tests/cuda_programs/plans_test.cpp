// Plans for many threads at sizes on both sides of every boundary, as CUDA text on the emulator. The programs are files, so that
// `quern judge tests/cuda_programs/plans/*.quern --on cuda` runs the same cases on a GPU.
#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "tests/catch.h"
#include "tests/cuda_programs/emulated_device.h"
#include "tools/fuzz/case.h"

using namespace quern;

namespace {

/// Every case of plans/NAME.quern agrees, and some text has `sign`: the plan is the one that the test is about.
void run_file(const std::string& name, const std::string& sign, const cuda::Target& target = {}) {
  const std::string path = fmt::format("{}/tests/cuda_programs/plans/{}.quern", QUERN_SOURCE_DIR, name);
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  int seen = 0;
  const auto look = [&](std::string& printed) { seen += printed.find(sign) != std::string::npos; };
  const auto cases = fuzz::cases_of(text);
  REQUIRE(!cases.empty());
  for (const fuzz::Case& which : cases) {
    const fuzz::Verdict verdict = fuzz::judge(text, which, test::emulated(target, look));
    INFO("kernel " << which.kernel << ", case " << which.text());
    INFO(fuzz::name(verdict.outcome) << ": " << verdict.message);
    CHECK(verdict.outcome == fuzz::Outcome::agree);
  }
  CHECK(seen > 0);
}

/// Each case of `text` with one fault put into its printed text: it is there to be put in, and noticed.
struct PutIn {
  int which;
  std::string part, fault;
};
void each_is_noticed(const std::string& text, const std::vector<PutIn>& faults) {
  const auto cases = fuzz::cases_of(text);
  for (const PutIn& f : faults) {
    int edits = 0;
    const auto with_fault = [&](std::string& printed) {
      if (const auto at = printed.find(f.part); at != std::string::npos) printed.replace(at, f.part.size(), f.fault), ++edits;
    };
    INFO(f.part);
    CHECK(fuzz::judge(text, cases.at(static_cast<std::size_t>(f.which)), test::emulated({}, with_fault)).outcome != fuzz::Outcome::agree);
    CHECK(edits > 0);
  }
}

}  // namespace

TEST_CASE("long reductions to few results") { run_file("reductions", "// s_part"); }

TEST_CASE("the first few of long vectors") { run_file("top_of_vectors", "// index n_part"); }

TEST_CASE("rows in registers") { run_file("rows", "quern_load_chunks<false>(held"); }

TEST_CASE("blocks of results in registers") { run_file("blocks", "[i][j]"); }

TEST_CASE("products of f32 on the rows and columns of fragments") { run_file("blocks", "row_warp"); }

TEST_CASE("weights of f32 that go to the wrong row, or row sums that lack a warp's part, are noticed") {
  const std::string text = R"(
#: M=40 N=200
kernel attention(q: f32[M,200], k: f32[N,200], v: f32[N,200]) -> (o: f32[M,200]) {
  o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d])) * v[n,e])
}
)";
  // Warps side by side; the distance of lanes; the factor that passes through shared memory.
  for (const auto& [part, fault] : {std::pair{"_all + ", "_all - "}, {", 4);", ", 2);"}, {"= pair;", "= {};"}, {"(thread & 2) << 1", "(thread & 2)"}}) {
    int edits = 0;
    const auto with_fault = [&](std::string& printed) {
      const std::size_t kernels = printed.find("extern \"C\"");
      for (std::size_t at = kernels; (at = printed.find(part, at)) != std::string::npos; at += std::string(fault).size()) printed.replace(at, std::string(part).size(), fault), ++edits;
    };
    INFO(part);
    CHECK(fuzz::judge(text, fuzz::cases_of(text).at(0), test::emulated({}, with_fault)).outcome != fuzz::Outcome::agree);
    CHECK(edits > 0);
  }
}

TEST_CASE("products of f32 by matrix instructions, where that was asked for") { run_file("tf32", "quern_mma_tf32(tile"); }

TEST_CASE("columns of tall matrices") { run_file("columns", "// s_part"); }

TEST_CASE("scans of rows, columns and one long vector") { run_file("scans", "scanned"); }

TEST_CASE("a scan whose groups of chunks follow each other") { run_file("chains", "quern_ticket("); }

TEST_CASE("a scan that drops what came before is noticed") {
  const std::string text = R"(
#: N=20001
kernel vector(x: f32[N]) -> (y: f32[N]) { y[n] = cumsum[n](x[n]) }
)";
  for (const char* part : {"carry = state;", "before_x = (warps_x + before_x);", "some_x = (some_x + step_x);"}) {
    int edits = 0;
    const auto without = [&](std::string& printed) {
      if (const auto at = printed.find(part); at != std::string::npos) printed.replace(at, std::string(part).size(), 1, ';'), ++edits;
    };
    INFO(part);
    CHECK(fuzz::judge(text, fuzz::cases_of(text).at(0), test::emulated({}, without)).outcome != fuzz::Outcome::agree);
    CHECK(edits > 0);
  }
}

TEST_CASE("the first few of a row") { run_file("top", "quern_top<256"); }

TEST_CASE("the first few of many short rows") { run_file("top_of_short_rows", "_warps"); }

TEST_CASE("a best value, and a bound, that are not looked for where they are, are noticed") {
  const std::string text = R"(
#: M=3 N=5000
kernel best(x: f32[M,N]) -> (i: i32[M], v: f32[M,8]) { i[m] = argmax[n](x[m,n]); v[m,j] = topk[n -> j in 0:8](x[m,n]) }
)";
  for (const auto& [part, instead] : {std::pair{"at += found;", ";"}, std::pair{"quern_sort_lanes(group, lane), want - 1)", "quern_sort_lanes(group, lane), 0)"}}) {
    int edits = 0;
    const auto with_fault = [&, part = std::string(part), instead = std::string(instead)](std::string& printed) {
      if (const auto at = printed.find(part); at != std::string::npos) printed.replace(at, part.size(), instead), ++edits;
    };
    INFO(part);
    CHECK(fuzz::judge(text, fuzz::cases_of(text).at(0), test::emulated({}, with_fault)).outcome != fuzz::Outcome::agree);
    CHECK(edits > 0);
  }
}

TEST_CASE("sorted rows") { run_file("sorts", "quern_sort<"); }

TEST_CASE("walks bounded by sorted data") {
  run_file("sorted", "while (low < high)");
  run_file("sorted", "while (low < high)", *cuda::target_named("sm_80"));
}

TEST_CASE("walks in parts") { run_file("parts", "// part of "); }

TEST_CASE("values from memory for each score") {
  run_file("elements", " >> (e * 16)", *cuda::target_named("sm_80"));
  run_file("elements", "quern_wgmma_commit();");
}

TEST_CASE("a bound that is not where the data says is noticed") {
  const std::string text = R"(
#: T=200
kernel documents(q: f16[T,16], k: f16[T,16], doc: i32[T] nondecreasing) -> (o: f16[T,16]) {
  o[m,d] = sum[n](softmax[n where n <= m and doc[n] == doc[m]](sum[e](q[m,e] * k[n,e])) * k[n,d])
}
)";
  each_is_noticed(text, {{0, "long long low = 0, ", "long long low = 4, "}});
}

TEST_CASE("results of two bytes in pieces of 16") {
  run_file("stores", "quern_store_quad(to[0]");
  run_file("stores", "quern_store_quad(to[0]", *cuda::target_named("sm_80"));
}

TEST_CASE("pieces of a wrong lane, or of rows that are not there, are noticed") {
  const std::string text = R"(
#: M=70 N=136 c=/padded
kernel product(a: f16[M,32], b: f16[32,N]) -> (c: f16[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
#: M=70 N=136
kernel aligned(a: f16[M,32], b: f16[32,N]) -> (c: f16[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
)";
  each_is_noticed(text, {{1, "x.x = upper ? c : low[0];", "x.x = low[0];"}, {1, "if (at < (upper ? valid[1] : valid[0]))", "if (true)"},
                         {0, "if (valid > 1) to[1]", "to[1]"}});
}

TEST_CASE("results that go through a tile: wrong rows, wrong columns and what is left for single elements are noticed") {
  const std::string text = R"(
#: B=1 M=70 N=90
kernel aligned(q: bf16[B,M,64], k: bf16[B,N,64], v: bf16[B,N,64]) -> (o: bf16[B,M,64]) {
  o[b,m,e] = sum[n](softmax[n](sum[d](q[b,m,d] * k[b,n,d])) * v[b,n,e])
}
#: B=1 M=70 N=90
kernel not_aligned(q: bf16[B,M,60], k: bf16[B,N,60], v: bf16[B,N,60]) -> (o: bf16[B,M,60]) {
  o[b,m,e] = sum[n](softmax[n](sum[d](q[b,m,d] * k[b,n,d])) * v[b,n,e])
}
)";
  each_is_noticed(text, {{0, "h * 8 + lane % 8, piece", "lane % 8, piece"}, {0, "piece * 32 + lane / 8 * 8)", "piece * 32 + lane / 16 * 8)"},
                         {0, "if (at_once) quern_store_16_bytes", "if (valid >= 0) quern_store_16_bytes"}, {1, "k < 8 && !at_once && k < valid", "k < 7 && !at_once && k < valid"}});
}

TEST_CASE("a row sum of which a lane keeps its part is noticed") {
  const std::string text = R"(
#: M=70 N=200
kernel attention(q: f16[M,16], k: f16[N,16]) -> (o: f16[M,16]) { o[m,d] = sum[n](softmax[n](sum[e](q[m,e] * k[n,e])) * k[n,d]) }
)";
  for (const char* target : {"sm_80", "sm_90a"}) {
    int edits = 0;
    const auto with_fault = [&](std::string& printed) {
      const std::string part = "[rt][h], 1);";  // the second exchange
      if (const auto at = printed.find(part, printed.find("[rt][h] += shuffle_xor(")); at != std::string::npos) printed.replace(at, part.size(), "[rt][h], 1) * 0;"), ++edits;
    };
    INFO(target);
    CHECK(fuzz::judge(text, fuzz::cases_of(text).at(0), test::emulated(*cuda::target_named(target), with_fault)).outcome != fuzz::Outcome::agree);
    CHECK(edits > 0);
  }
}

TEST_CASE("products of warp groups, with a group that loads") { run_file("roles", "quern_wgmma_commit();"); }

TEST_CASE("operands of one byte that warps of their own widen") { run_file("widening", "quern_widen_tile<"); }

TEST_CASE("rows of results that warp groups share") { run_file("wide_results", "right_of_group"); }

TEST_CASE("groups that have the wrong part of a row's results are noticed") {
  const std::string text = R"(
#: M=70 N=40 D=320
kernel full<D>(q: bf16[M,D], k: bf16[N,D], v: bf16[N,D]) -> (o: bf16[M,D]) { o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d]) / 16) * v[n,e]) }
)";
  for (const auto& [part, fault] : {std::tuple{" + group * 24576", ""}, {"group * 192 + ", "group * 128 + "}, {"warp % 4 * 16", "warp * 16"}}) {
    int edits = 0;
    const auto with_fault = [&](std::string& printed) {
      for (auto at = printed.find(part); at != std::string::npos; at = printed.find(part, at + 1)) printed.replace(at, std::string(part).size(), fault), ++edits;
    };
    INFO(part);
    CHECK(fuzz::judge(text, fuzz::cases_of(text).at(0), test::emulated({}, with_fault)).outcome != fuzz::Outcome::agree);
    CHECK(edits > 0);
  }
}

TEST_CASE("products of bytes as they are") { run_file("byte_products", "quern_wgmma_e"); }

TEST_CASE("widening that does not wait, or takes values of the wrong form, is noticed") {
  const std::string text = R"(
#: M=100 N=304 K=704
kernel product(a: e4m3[M,K], b: e4m3[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
)";
  for (const auto& [part, fault] : {std::tuple{"quern_mbarrier_wait(raw_full", "(void)(raw_full"}, {"quern_mbarrier_wait(raw_empty", "(void)(raw_empty"},
                                    {"quern_barrier_sync(14, 96);", ";"}, {"quern_widen_tile<false", "quern_widen_tile<true"}, {"if (lane == 0) quern_mbarrier_arrive(raw_empty", "if (false) quern_mbarrier_arrive(raw_empty"}}) {
    int edits = 0;
    const auto with_fault = [&](std::string& printed) {
      for (auto at = printed.find(part, printed.find("extern \"C\"")); at != std::string::npos; at = printed.find(part, at + 1)) printed.replace(at, std::string(part).size(), fault), ++edits;
    };
    INFO(part);
    CHECK(fuzz::judge(text, fuzz::cases_of(text).at(0), test::emulated({}, with_fault)).outcome != fuzz::Outcome::agree);
    CHECK(edits > 0);
  }
}

TEST_CASE("a text with roles that does not wait, or gives back too early, is noticed") {
  const std::string text = R"(
#: M=200 N=700
kernel full<D: int = 64>(q: bf16[M,D], k: bf16[N,D], v: bf16[N,D]) -> (o: bf16[M,D]) {
  o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d]) / 8) * v[n,e])
}
#: M=100 N=300 K=700
kernel product(a: bf16[M,K], b: bf16[K,N]) -> (c: bf16[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
)";
  const auto is = [](const std::string& line, const std::string& part) { return line.find(part) != std::string::npos; };
  using Lines = std::vector<std::string>;
  struct Fault {
    const char* name;
    std::function<int(Lines&)> edit;  // how many changes
  };
  const auto without = [&](const std::string& part) {
    return [&is, part](Lines& lines) { return static_cast<int>(std::erase_if(lines, [&](const std::string& line) { return is(line, part); })); };
  };
  const std::vector<Fault> faults = {
      {"no group waits for tiles", without("quern_mbarrier_wait(full")},
      {"the loading group does not wait for places", without("quern_mbarrier_wait(empty")},
      {"no group waits for products", without("quern_wgmma_wait")},
      {"no group gives tiles back", without("quern_mbarrier_arrive(empty")},
      {"tiles are given back before they are awaited",
       [&](Lines& lines) {
         int moved = 0;
         for (std::size_t at = 0; at < lines.size(); ++at) {
           if (!is(lines[at], "quern_mbarrier_arrive(empty")) continue;
           std::size_t wait = at;
           while (wait > 0 && !is(lines[wait], "quern_mbarrier_wait(full") && lines[wait].find('}') != 0) --wait;
           if (!is(lines[wait], "quern_mbarrier_wait(full")) continue;
           std::rotate(lines.begin() + static_cast<std::ptrdiff_t>(wait), lines.begin() + static_cast<std::ptrdiff_t>(at), lines.begin() + static_cast<std::ptrdiff_t>(at) + 1);
           ++moved;
         }
         return moved;
       }},
  };
  const auto cases = fuzz::cases_of(text);
  REQUIRE(cases.size() == 2);
  for (const fuzz::Case& which : cases) {
    const auto judged = [&](const std::function<void(std::string&)>& edit) { return fuzz::judge(text, which, test::emulated({}, edit)); };
    INFO("kernel " << which.kernel);
    CHECK(judged({}).outcome == fuzz::Outcome::agree);
    for (const Fault& fault : faults) {
      int edits = 0;
      const fuzz::Verdict verdict = judged([&](std::string& printed) {
        const std::size_t kernels = printed.find("extern \"C\"");
        Lines lines;
        std::istringstream in(printed.substr(kernels));
        for (std::string line; std::getline(in, line);) lines.push_back(line);
        edits += fault.edit(lines);
        printed.erase(kernels);
        for (const std::string& line : lines) printed += line + "\n";
      });
      INFO(fault.name << ": " << fuzz::name(verdict.outcome) << ", " << verdict.message);
      CHECK(verdict.outcome != fuzz::Outcome::agree);
      CHECK(edits > 0);
    }
  }
}
