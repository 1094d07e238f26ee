// The passes of every back end, then tiles for blocks of threads: a warp plays the part of a vector of 32 lanes. Where the
// target has products of warp groups, kernels that fit get roles: the largest blocks that registers and shared memory hold.
#include "compiler/codegen/cuda/plan_cuda.h"

#include <algorithm>
#include <optional>

#include "compiler/codegen/cuda/arrange.h"
#include "compiler/codegen/cuda/roles.h"
#include "compiler/compile.h"

namespace quern::cuda {
namespace {

using compiler::RoleShape;

/// Shapes in the order of preference. Three groups hide each other's work on scores best; products want wide results.
std::vector<RoleShape> shapes_for(const tile::Kernel& kernel) {
  int blocked = 0;
  for (const tile::GridDim& g : kernel.grid) blocked += g.step > 1;
  if (blocked > 1) return {{2, 64, 256}, {2, 64, 192}, {2, 64, 128}, {1, 64, 256}, {1, 64, 128}};
  std::vector<RoleShape> shapes;
  for (const std::int64_t block : {128, 112, 96, 80}) shapes.push_back({3, block, 0});
  for (const std::int64_t block : {176, 160, 144, 128, 112, 96, 80, 64, 48}) shapes.push_back({2, block, 0});
  for (const std::int64_t block : {128, 96, 64, 48, 32}) shapes.push_back({1, block, 0});
  return shapes;
}

/// Where results are wider than a group's registers: groups with the same rows and a part of the columns each. The fewest that hold them.
std::vector<RoleShape> wide_shapes_for(const ir::Program& program, tile::Kernel kernel) {
  std::vector<RoleShape> shapes;
  for (const int groups : {2, 3}) {
    kernel.groups = kernel.column_groups = groups;
    if (!arrange(program, kernel)) continue;
    for (const std::int64_t block : {96, 80, 64, 48, 32, 16}) shapes.push_back({groups, block, 0, groups});
  }
  return shapes;
}

/// What registers_for_scores says, if the kernel fits.
std::optional<int> fits(const ir::Program& program, const tile::Kernel& kernel, const Target& target) {
  if (kernel.groups == 0) return std::nullopt;
  const auto arrangement = arrange(program, kernel);
  if (!arrangement) return std::nullopt;
  const auto schedule = schedule_roles(program, kernel, *arrangement, target.shared_bytes, nullptr);
  if (!schedule) return std::nullopt;
  const int scores = registers_for_scores(program, *schedule, *arrangement);
  return registers_held(*arrangement) + scores <= registers_allowed(kernel.groups) ? std::optional(scores) : std::nullopt;
}

/// By kernel: blocks for roles, where they are possible.
std::map<std::size_t, RoleShape> choose_roles(const ir::Program& program, compiler::PlanInput plan, const Target& target) {
  const tile::Module plain = compiler::lower_to_tiles(program, plan);
  std::map<std::size_t, RoleShape> chosen;
  for (std::size_t k = 0; k < plain.kernels.size(); ++k) {
    std::vector<RoleShape> shapes;
    if (arrange(plain.program, plain.kernels[k])) shapes = shapes_for(plain.kernels[k]);
    for (const RoleShape& wide : wide_shapes_for(plain.program, plain.kernels[k])) shapes.push_back(wide);
    for (const RoleShape& shape : shapes) {
      plan.roles = {{k, shape}};
      const tile::Module trial = compiler::lower_to_tiles(program, plan);
      if (trial.kernels.size() == plain.kernels.size() && trial.kernels[k].groups == 0) break;  // its plan asks for none
      if (trial.kernels.size() != plain.kernels.size()) continue;
      const auto scores = fits(trial.program, trial.kernels[k], target);
      if (!scores) continue;
      chosen[k] = shape;
      // Values from memory leave no registers for references.
      chosen[k].references = *scores < kScoresFromMemory;
      break;
    }
  }
  return chosen;
}

}  // namespace

tile::Module plan_for_cuda(ir::Program program, const CudaOptions& options, const compiler::PassOptions& passes) {
  return lower_for_cuda(compiler::settle(std::move(program), passes), options, passes);
}

tile::Module lower_for_cuda(ir::Program program, const CudaOptions& options, const compiler::PassOptions& passes) {
  compiler::CompileOptions compile;
  compile.passes = passes;
  compile.plan.gpu = true;
  compile.plan.layouts = options.layouts;
  compile.plan.target.vector_bytes = 128;
  compile.plan.target.registers = 32;
  if (options.target.sm == 90 && options.target.accelerated && !passes.off.contains("warp_roles")) compile.plan.roles = choose_roles(program, compile.plan, options.target);
  return compiler::lower(std::move(program), compile);
}

}  // namespace quern::cuda
