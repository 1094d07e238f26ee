// Fused groups: the equations that become one kernel, with their indices made common.
// In:  the flat form (passes.h): each equation has one form only.
// Out: groups in the order in which they run; in a group, equal loops have equal index ids ("classes"), so that "which
//      stages share this loop" is a set question.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::compiler {

enum class Form : std::uint8_t { pointwise, reduce, scan, topk, sort, scatter };

/// One equation of a group, over the group's indices.
struct Stage {
  Form form = Form::pointwise;
  std::size_t equation = 0;             // in Program::equations
  std::vector<ir::TensorId> targets;    // two for topk
  std::vector<ir::IndexId> free;        // indices of the target (scatter: the points), scan and sort axis included
  std::vector<ir::IndexId> axes;        // reduced, scanned, sorted; topk: {x, j}
  std::vector<ir::Expr> subscripts;     // of the target
  ir::Expr body;                        // scalar expression without binding forms
  ir::Expr domain;                      // none = everywhere
  ir::Reducer reducer = ir::Reducer::sum;  // Form::reduce
  bool is_search = false;               // Form::reduce: the first point of the axis where `domain` holds, or its end (tile.h)
  ir::AssignOp op = ir::AssignOp::set;     // Form::scatter
  ir::Expr init;                        // Form::scan
  bool argsort = false;                 // Form::sort
  bool checked = false;                 // Form::scatter
  bool stored = false;                  // a target is an output or is read by another group
  std::vector<ir::TensorId> stored_targets;

  bool is_free(ir::IndexId index) const;
  bool reduces(ir::IndexId index) const;    // Form::reduce over it
  bool has(ir::IndexId index) const;        // among free or axes
  bool stores(ir::TensorId target) const;
  /// Scan, sort and top-k run along it as a whole.
  bool is_sequential(ir::IndexId index) const;
};

struct Group {
  std::vector<Stage> stages;            // definitions before uses
  std::vector<ir::IndexId> grid;        // indices common to all stages: blocks of them are independent
  std::vector<std::pair<ir::Expr, ir::IndexId>> rising;  // reads of bounds that a search found, and the index they rise along
  std::vector<std::string> why;         // for `explain`
};

/// Puts equations together whose intermediates need no storage, or are better kept close. Requires the flat form.
/// Ensures: every equation is in exactly one group; groups are in dependency order; a temp read by another group, or by
/// its own at other points than those it was computed at, is `stored`.
/// Readers of the targets in `apart` come in other groups.
std::vector<Group> fuse_equations(ir::Program& program, const std::set<ir::TensorId>& apart = {});

/// A reduction whose operands are each used for many results (a contraction, all-pairs distances): two free indices of
/// the result each occur in one operand and are missing in another. Not what has a value from this program at each of its points.
bool has_reuse(const ir::Program& program, const Stage& stage);

/// So cheap that each task may compute it again: whether a domain has a point.
bool is_replicable(const ir::Program& program, const Stage& stage);

/// Visits every node below `root` once.
void for_each_node(const ir::ExprPool& pool, ir::Expr root, const std::function<void(ir::Expr, const ir::Node&)>& visit);
/// Visits every read in the expressions of a stage (repeats possible across expressions).
void for_each_read(const ir::ExprPool& pool, const Stage& stage, const std::function<void(ir::Expr, const ir::Node&)>& visit);

}  // namespace quern::compiler
