// The protocol check of warp roles: schedules of all kinds pass, and every step that is taken out, doubled or moved
// to where it does not belong is reported.
#include <algorithm>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/plan_cuda.h"
#include "compiler/codegen/cuda/roles.h"
#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"

using namespace quern;
using namespace quern::cuda;

namespace {

/// Products of tiles alone, a block by itself.
constexpr const char* kProduct = "kernel f(a: bf16[M,K], b: bf16[K,N]) -> (c: bf16[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }";
/// Products of one block beside the scores of another.
constexpr const char* kAttention = R"(
kernel f<D: int = 64>(q: bf16[M,D], k: bf16[N,D], v: bf16[N,D]) -> (o: bf16[M,D]) {
  o[m,e] = sum[n](softmax[n where n <= m](sum[d](q[m,d] * k[n,d])) * v[n,e])
}
)";
/// Keys that are values, too: no block can be read ahead of the other products.
constexpr const char* kShared = R"(
kernel f<D: int = 64>(q: bf16[M,D], k: bf16[N,D]) -> (o: bf16[M,D]) {
  o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d])) * k[n,e])
}
)";

/// A bias that comes as tiles, too, and is read at its points.
constexpr const char* kBias = R"(
kernel f<D: int = 64>(q: bf16[M,D], k: bf16[N,D], v: bf16[N,D], bias: bf16[M,N]) -> (o: bf16[M,D]) {
  o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d]) + bias[m,n]) * v[n,e])
}
)";

/// Bytes that are widened on the way, beside wider ones.
constexpr const char* kNarrow = R"(
kernel f<D: int = 64>(q: f16[M,D], k: e4m3[N,D], v: e5m2[N,D]) -> (o: f16[M,D]) {
  o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d])) * v[n,e])
}
)";

/// Groups that share rows.
constexpr const char* kWide = R"(
kernel f<D: int = 512>(q: bf16[M,D], k: bf16[N,D], v: bf16[N,D]) -> (o: bf16[M,D]) {
  o[m,e] = sum[n](softmax[n where n <= m](sum[d](q[m,d] * k[n,d])) * v[n,e])
}
)";

struct Planned {
  tile::Module module;
  const tile::Kernel* kernel = nullptr;
  Arrangement arrangement;
  Schedule schedule;

  explicit Planned(const std::string& text) {
    const dsl::Source source("roles.quern", text);
    dsl::Diagnostics diagnostics;
    const dsl::ast::File parsed = dsl::parse(source, diagnostics);
    auto program = dsl::check(*dsl::find_kernel(parsed, "f", diagnostics), &parsed, source, {}, diagnostics);
    INFO(dsl::render(diagnostics, source));
    REQUIRE(program);
    const Target target = target_named("sm_90a").value();
    module = plan_for_cuda(std::move(*program), {target, {}});
    for (const tile::Kernel& k : module.kernels)
      if (k.groups > 0) kernel = &k;
    REQUIRE(kernel);
    arrangement = arrange(module.program, *kernel).value();
    std::string why;
    auto made = schedule_roles(module.program, *kernel, arrangement, target.shared_bytes, &why);
    INFO(why);
    REQUIRE(made);
    schedule = std::move(*made);
  }
  std::string fault(const Schedule& s) const { return verify(module.program, s, arrangement); }
};

std::vector<std::vector<Step>*> lists(Schedule& s) { return {&s.before, &s.first, &s.steady, &s.last, &s.after}; }

const char* name(Step::Kind kind) {
  switch (kind) {
    case Step::await: return "await";
    case Step::release: return "release";
    case Step::advance: return "advance";
    case Step::turn: return "turn";
    case Step::pass: return "pass";
    case Step::issue: return "issue";
    case Step::finish: return "finish";
    case Step::pack: return "pack";
    case Step::run: return "run";
  }
  return "";
}

/// Calls `change` for a copy of the schedule, for each of its steps of that kind.
template <class Change>
int each(const Planned& p, Step::Kind kind, const Change& change) {
  int seen = 0;
  Schedule original = p.schedule;
  for (std::size_t list = 0; list < lists(original).size(); ++list)
    for (std::size_t at = 0; at < lists(original)[list]->size(); ++at) {
      if ((*lists(original)[list])[at].kind != kind) continue;
      Schedule changed = p.schedule;
      INFO(name(kind) << " of list " << list << ", step " << at);
      change(*lists(changed)[list], at, changed);
      ++seen;
    }
  return seen;
}

}  // namespace

TEST_CASE("schedules of all kinds pass the check") {
  const Planned product(kProduct), attention(kAttention), shared(kShared), bias(kBias);
  CHECK(product.schedule.peeled);
  CHECK(std::any_of(product.schedule.rings.begin(), product.schedule.rings.end(), [](const Ring& r) { return r.held; }));
  CHECK(attention.schedule.peeled);
  CHECK(std::any_of(attention.schedule.rings.begin(), attention.schedule.rings.end(), [](const Ring& r) { return r.ahead; }));
  CHECK_FALSE(shared.schedule.peeled);
  CHECK(std::any_of(bias.schedule.steady.begin(), bias.schedule.steady.end(), [](const Step& s) { return !s.work.elements.empty(); }));
  const Planned narrow(kNarrow), wide(kWide);
  CHECK(wide.kernel->column_groups == 2);
  CHECK(wide.arrangement.rows() == 64);
  CHECK(wide.fault(wide.schedule).empty());
  CHECK(std::count_if(narrow.schedule.rings.begin(), narrow.schedule.rings.end(), [](const Ring& r) { return r.widened(); }) == 2);
  for (const Planned* p : {&product, &attention, &shared, &bias, &narrow}) CHECK(p->fault(p->schedule).empty());
}

TEST_CASE("a step that is missing or taken twice is reported") {
  for (const char* text : {kProduct, kAttention, kShared, kBias, kNarrow, kWide}) {
    const Planned p(text);
    CAPTURE(text);
    // Work on fragments is no part of the protocol, and waiting twice for products harms nothing.
    for (const Step::Kind kind : {Step::await, Step::release, Step::advance, Step::turn, Step::pass, Step::issue, Step::finish, Step::pack}) {
      const int seen = each(p, kind, [&](std::vector<Step>& steps, std::size_t at, const Schedule& changed) {
        const Step step = steps[at];
        steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(at));
        CHECK_FALSE(p.fault(changed).empty());
        if (kind == Step::finish) return;
        steps.insert(steps.begin() + static_cast<std::ptrdiff_t>(at), {step, step});
        CHECK_FALSE(p.fault(changed).empty());
      });
      const bool everywhere = kind == Step::await || kind == Step::release || kind == Step::advance || kind == Step::issue || kind == Step::finish;
      if (everywhere || text == kAttention) CHECK(seen > 0);
    }
  }
}

TEST_CASE("a stage that is given back too early is reported") {
  for (const char* text : {kProduct, kAttention, kShared, kBias, kNarrow, kWide}) {
    const Planned p(text);
    CAPTURE(text);
    const int seen = each(p, Step::release, [&](std::vector<Step>& steps, std::size_t at, const Schedule& changed) {
      // Before the last wait for products; a list without one releases what others have finished.
      std::size_t wait = at;
      while (wait > 0 && steps[wait].kind != Step::finish) --wait;
      if (steps[wait].kind != Step::finish) return;
      std::rotate(steps.begin() + static_cast<std::ptrdiff_t>(wait), steps.begin() + static_cast<std::ptrdiff_t>(at), steps.begin() + static_cast<std::ptrdiff_t>(at) + 1);
      CHECK(p.fault(changed).find("release") != std::string::npos);
      // Before anything at all.
      std::rotate(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(wait), steps.begin() + static_cast<std::ptrdiff_t>(wait) + 1);
      CHECK_FALSE(p.fault(changed).empty());
    });
    CHECK(seen > 0);
  }
}

TEST_CASE("what is wrong is said") {
  const Planned p(kAttention);
  const auto first = [](std::vector<Step>& steps, Step::Kind kind) { return std::find_if(steps.begin(), steps.end(), [&](const Step& s) { return s.kind == kind; }); };
  const auto without = [&](std::vector<Step> Schedule::*list, Step::Kind kind) {
    Schedule s = p.schedule;
    (s.*list).erase(first(s.*list, kind));
    return p.fault(s);
  };
  const auto says = [](const std::string& fault, const std::string& part) {
    INFO(fault);
    CHECK(fault.find(part) != std::string::npos);
  };
  says(without(&Schedule::first, Step::await), "with 1 blocks: products read tile");
  says(without(&Schedule::first, Step::await), "before it is awaited");
  says(without(&Schedule::steady, Step::pass), "with 2 blocks: a turn is not passed on");
  says(without(&Schedule::steady, Step::turn), "with 2 blocks: a turn is passed on that was not taken");
  says(without(&Schedule::first, Step::pack), "products read factors that were not packed");
  says(without(&Schedule::last, Step::finish), "released while products read it");
  Schedule s = p.schedule;
  s.first.push_back(*first(s.first, Step::pack));
  says(p.fault(s), "packed over others");
  s = p.schedule;
  s.after.insert(s.after.begin(), *first(s.steady, Step::issue));
  CHECK_FALSE(p.fault(s).empty());
  s = p.schedule;
  // A release that comes first lets the loading group write what products are yet to read.
  s = p.schedule;
  const auto release = first(s.first, Step::release), issue = first(s.first, Step::issue);
  std::rotate(issue, release, release + 1);
  says(p.fault(s), "after its release");
  // Bytes need a place of their own, and room for it.
  const Planned narrow(kNarrow);
  s = narrow.schedule;
  for (Ring& r : s.rings) r.raw_stages = 0;
  says(narrow.fault(s), "has no place for its bytes");
  // The next block is awaited before this one is given back.
  const Planned product(kProduct);
  s = product.schedule;
  for (Ring& r : s.rings) r.stages = 1;
  says(product.fault(s), "with 2 blocks: tile");
  says(product.fault(s), "are held");
}
