// The checker's working state while it turns one kernel into index IR, and the operations that every statement form is
// built from: look up a name, make an index, check an expression, read, reduce, map, define.
// The one idea: each operation returns an explicitly typed, range-proved IR expression, or reports and returns an empty one;
// an empty value passes through everything silently, so one mistake gives one message.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>

#include "dsl/check/arith.h"
#include "dsl/check/proofs.h"
#include "dsl/check/sizes.h"
#include "dsl/syntax/ast.h"
#include "dsl/text/source.h"

namespace quern::dsl {

// --- what a name can mean --------------------------------------------------------------------------------------------

struct TensorName {
  ir::TensorId tensor = 0;
  bool defined = true;  // a declared output before its statement: false
};
/// `view v[i, j] = x[...]`: reading v[a, b] is the value with i, j replaced.
struct ViewName {
  std::vector<ir::IndexId> indices;
  Typed value;
};
/// A `let` with parameters, and the names it sees: those of its kernel or, outside a kernel, none but other functions.
struct FunctionName {
  const ast::Let* let = nullptr;
};
struct SymbolName {
  ir::SymbolId symbol = 0;
};
struct ScalarName {
  ir::ScalarId scalar = 0;
};
struct TypeName {
  DType type = DType::f32;
};
/// A scalar `let`, or the argument of a function.
struct ValueName {
  Typed value;
};
/// A name whose definition was wrong: uses of it are silent.
struct BrokenName {};
using Meaning = std::variant<TensorName, ViewName, FunctionName, SymbolName, ScalarName, TypeName, ValueName, BrokenName>;

struct Entry {
  Meaning meaning;
  Span span;                // of the definition
  bool outside = false;     // a function of the file: the kernel's own names hide it
};

/// An index in scope.
struct Binder {
  std::string name;
  ir::IndexId id = 0;
  enum Kind : std::uint8_t { free, reduced, mapped } kind = free;
  Span span;
};

enum class Policy : std::uint8_t { proof, pad, clamp, wrap };

/// Where a bare use puts an index: axis `axis` of `name`, which has `size` entries there.
struct RangeUse {
  ir::Expr size;
  std::string name;     // of the tensor or view
  int axis = 0;
  Span item, read;      // the subscript, the whole read
  const ast::Subscript* subscript = nullptr;
  bool declared = false;    // an axis of a declared output
  bool excused = false;     // under pad, clamp or wrap: another size is no clash
  std::string other{};      // a pair: the name beside it
  bool first = false;       // a pair: whether it is the first
  ir::Expr begin{}, end{};  // a range written on an axis map
};

class Elaborator {
 public:
  Elaborator(ir::Program& program, const Source& source, Diagnostics& diagnostics)
      : source(source), diagnostics(diagnostics), program(program), pool(program.pool), sizes(program), proofs(program, sizes),
        arith{program.pool, diagnostics} {}

  const Source& source;
  Diagnostics& diagnostics;
  ir::Program& program;
  ir::ExprPool& pool;
  Sizes sizes;
  Proofs proofs;
  Arith arith;

  // --- names (names.cpp) ---
  /// Null when nothing has this name.
  const Entry* find(const std::string& name) const;
  const Binder* find_index(const std::string& name) const;
  /// False, with a message, when the name is taken.
  bool declare(const ast::Name& name, Meaning meaning);
  void redefine(const std::string& name, Meaning meaning);
  /// Reports an unknown name with the nearest known one.
  void report_unknown(const std::string& name, Span at);
  std::string fresh_name(std::string_view stem) const;

  // --- indices (names.cpp, ranges.cpp) ---
  /// In scope until `pop_indices`; a reduced or mapped one is also known not to be empty.
  ir::IndexId push_index(std::string name, ir::Expr begin, ir::Expr end, Binder::Kind kind, Span at);
  void push_binder(Binder binder) { binders_.push_back(std::move(binder)); proofs.assume_index(binders_.back().id); }
  std::size_t index_mark() const { return binders_.size(); }
  void pop_indices(std::size_t mark) { binders_.resize(mark); }
  /// An index that no name refers to: for forms made by translation.
  ir::IndexId fresh_index(std::string name, ir::Expr begin, ir::Expr end) { return program.add_index(std::move(name), begin, end); }
  /// Bare uses of `name` in an expression, in order of the text.
  std::vector<RangeUse> bare_uses(const std::string& name, const std::vector<const ast::Expr*>& where);
  /// The range that bare uses give; reports two sizes or none. `what` is shown when there is none.
  bool range_from_uses(const ast::Name& name, const std::vector<RangeUse>& uses, ir::Expr& begin, ir::Expr& end);

  // --- expressions (expressions.cpp, calls.cpp, forms.cpp, reads.cpp) ---
  Typed expression(const ast::Expr& e);
  /// An i64 value: subscripts, sizes with indices.
  ir::Expr index_expression(const ast::Expr& e);
  /// Built of sizes and integers alone.
  ir::Expr size_expression(const ast::Expr& e);
  /// One end of an explicit range, or a size.
  bool range(const ast::Range& r, ir::Expr& begin, ir::Expr& end);
  /// A bool expression, empty when it is not.
  ir::Expr condition(const ast::Expr& e, std::string_view what);

  struct Place {
    std::string name;         // as the text names what is read
    Span span;
    std::vector<Span> items;  // of the subscripts, or empty
  };
  /// Element of a tensor or view; each subscript is proved to be in range, or the policy is applied.
  Typed read(const Meaning& what, std::vector<ir::Expr> subscripts, const Place& place, Policy policy = Policy::proof, Typed fill = {});
  /// Shape of a tensor or view.
  std::vector<ir::Expr> shape(const Meaning& what) const;

  Typed product(const Typed& a, const Typed& b, Span at);
  Typed choose(ir::Expr condition, const Typed& a, const Typed& b, Span at);
  Typed reduce(ir::Reducer reducer, std::vector<ir::IndexId> axes, const Typed& body, ir::Expr domain, Span at);
  Typed axis_map(ir::AxisMap map, ir::IndexId axis, const Typed& body, ir::Expr domain, Span at);

  // --- definitions (define.cpp) ---
  /// target[indices] = body for a name that is a declared output, an inout parameter or new (then a temp is made).
  /// `subscripts` are over `indices`; a temp takes their extents as its shape.
  bool define(const ast::Name& target, const std::vector<ir::IndexId>& indices, std::vector<ir::Expr> subscripts,
              std::vector<ir::Expr> shape, const Typed& body, Span at);
  /// A top-k: two targets (the second may be null) with the same subscripts.
  bool define_topk(const ast::Name& values, const ast::Name* positions, const std::vector<ir::IndexId>& indices,
                   std::vector<ir::Expr> subscripts, std::vector<ir::Expr> shape, const Typed& value, Span at);
  /// The K largest along `bound`, listed by `listed` (which runs over 0:K).
  Typed topk(ir::IndexId bound, ir::IndexId listed, const Typed& body, ir::Expr domain, Span at);
  /// Declared shape of a name that can still be assigned: an output, an inout parameter. Null: a new name.
  const std::vector<ir::Expr>* declared_shape(const std::string& name) const;
  /// Marks a name whose definition failed, so that uses of it are silent.
  void give_up(const ast::Name& target);
  /// Adds `condition` to what a call must satisfy, unless every call does; later proofs may use it.
  void require(ir::Expr condition, Span at);

  // --- statements (statements.cpp, and whole_tensor.cpp for statements without brackets) ---
  void statement(const ast::Statement& s);
  void index_statement(const ast::Assign& assign, Span at);
  void whole_tensor_statement(const ast::Assign& assign, Span at);
  /// Whether a statement without brackets on its left holds whole tensors, slices, einsum or such on its right.
  bool has_whole_tensors(const ast::Expr& e) const;

  /// Guards that hold where the present expression is evaluated.
  class Guard {
   public:
    Guard(Elaborator& elaborator, ir::Expr condition, bool truth = true);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Elaborator& elaborator_;
    Proofs::Mark mark_;
    std::size_t guards_;
  };

  /// Counts one step of work; false (reported once) when the kernel has become too large.
  bool spend(Span at);

  std::unordered_map<ir::TensorId, ir::TensorId> new_values;  // of inout parameters: entry tensor -> new values, not yet assigned

  bool trusted = false;
  bool precise = false;
  std::unordered_map<std::string, Entry> names;
  std::vector<std::string> name_order;  // for suggestions, in order of definition

 private:
  friend class Guard;
  friend struct UseCollector;

  // A function call hides the caller's indices and adds its arguments.
  struct Frame {
    std::map<std::string, Entry> arguments;
    std::size_t first_binder = 0;
    const ast::Let* function = nullptr;
  };

  Typed number(const ast::Number& n, Span at);
  Typed name_use(const std::string& name, Span at);
  Typed binary(const ast::Binary& b, Span at);
  Typed call(const ast::Call& c, Span at);
  Typed elementwise(ir::Op op, const ast::Call& c, Span at);
  Typed inlined(const FunctionName& f, const ast::Call& c, Span at);
  Typed policy_call(Policy policy, const ast::Call& c, Span at);
  Typed subscript(const ast::Subscript& s, Span at, Policy policy, Typed fill = {});
  Typed axis_form(const ast::AxisForm& f, Span at);
  Typed scan_form(const ast::AxisForm& f, Span at);
  Typed map_form(const ast::AxisForm& f, Span at);
  Typed reduce_form(const ast::AxisForm& f, Span at);
  void topk_statement(const ast::Assign& assign, const ast::AxisForm& form, Span at);
  ir::Expr pair_index(const ast::Pair& pair, ir::Expr size, Span at);
  bool bind_axis(const ast::Axis& axis, const std::vector<const ast::Expr*>& bodies, Binder::Kind kind);
  ir::Expr round_factors(ir::Expr body, const std::vector<ir::IndexId>& axes);
  ir::Expr support_of(const ast::Expr& e);
  bool in_range(ir::Expr subscript, ir::Expr size, bool with_data);
  bool involves_broken(ir::Expr e) const;
  void report_out_of_range(ir::Expr subscript, ir::Expr size, int axis, const Place& place, bool scatter = false);
  void let_statement(const ast::Let& let);
  void require_statement(const ast::Require& r, Span at);
  void view_statement(const ast::View& view, Span at);
  void scatter_statement(const ast::Assign& assign, Span at);
  // The left side of an index statement: its indices, in scope from then on.
  struct Left {
    std::vector<ir::IndexId> indices;
    std::vector<ir::Expr> subscripts, shape;
  };
  bool left_side(const ast::Target& target, const std::vector<const ast::Expr*>& bodies, Left& left);
  bool left_index(const ast::Name& name, const ast::Range* written, std::vector<RangeUse> uses, Left& left);
  bool assignable(const ast::Name& target);
  std::optional<ir::TensorId> target_tensor(const ast::Name& target, DType type, const std::vector<ir::Expr>& shape, Span at);
  ir::Expr stored_as(const Typed& body, DType type, const std::string& target, Span at);

  std::vector<Binder> binders_;
  std::vector<Frame> frames_;
  std::vector<ir::Expr> guards_;
  std::set<std::uint32_t> exchanged_;              // reads for which an exchange of subscripts was proposed
  std::set<ir::IndexId> broken_indices_;           // their range is a guess: nothing is proved about them
  std::unordered_map<ir::TensorId, std::pair<std::vector<ir::IndexId>, ir::Expr>> support_;  // of temps
  Typed previous_;                                 // `prev`, inside a scan
  std::vector<Typed> forms_in_scan_;               // what binds an axis there, with its place
  bool size_mode_ = false;                         // inside a size
  bool index_mode_ = false;                        // inside a subscript
  std::string left_text_;                          // the target of the present statement, for messages
  int depth_ = 0;
  std::size_t steps_ = 0;
  bool too_large_ = false;
};

}  // namespace quern::dsl
