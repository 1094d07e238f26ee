// Expressions at the points of a nest. A sub-expression is evaluated once per combination of the unrolled coordinates
// that it depends on, in the outermost open scope (loop level) where all it needs is known; reads are guarded by the
// branches that they stand in. A value is scalar when it is the same in all lanes, else a vector.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "compiler/codegen/cpu/frame.h"
#include "compiler/passes/ranges.h"

namespace quern::cpu {

/// A value and the scope from which on it is known (0 = function entry).
struct Known {
  llvm::Value* value = nullptr;
  int scope = 0;
};

/// Copy number per dim of the nest: which of the unrolled iterations.
using Point = std::vector<std::uint8_t>;

/// One dim of the nest in the variant (full, remainder, masked tail) being emitted.
struct DimState {
  ir::IndexId index = 0;
  bool lane = false;
  int copies = 1;
  std::int64_t step = 1;      // between copies
  Known base;                 // index value of copy 0 (lane 0), once its loop is open
  std::vector<Known> masks;   // lane dim in a masked tail: active lanes per copy
  Known live;                 // and their number, i32
};

/// Linear form of an integer expression over the dims of the nest.
struct Linear {
  struct Term {
    std::int64_t times = 0;
    ir::Expr factor;          // uniform over the nest; none = 1
  };
  std::vector<std::optional<Term>> dims;
  struct Rest {
    std::int64_t times;
    ir::Expr e;
  };
  std::vector<Rest> rest;
  std::int64_t constant = 0;
};

class Evaluator {
 public:
  explicit Evaluator(Frame& frame);

  Frame& f;
  std::vector<DimState> dims;
  std::vector<ir::TensorId> written;  // targets of the nest: their reads are neither hoisted nor shared
  llvm::Value* previous = nullptr;
  llvm::Value* accumulators[2] = {nullptr, nullptr};

  // Scopes. `here` of the frame is the end of the innermost one.
  int open_scope(bool may_be_empty);   // a scope at f.here; may_be_empty: entered only when the new dims are not empty
  void close_scope();
  int innermost() const { return static_cast<int>(scopes_.size()) - 1; }
  /// The instruction that scopes end at was replaced (a loop opened or closed there).
  void moved(const llvm::Instruction* old, llvm::Instruction* end) {
    for (Scope& s : scopes_) {
      if (s.end == old) s.end = end;
    }
  }
  void at(int scope);                  // sets the builder there

  Known evaluate(ir::Expr e, const Point& p, int guard = 0);
  /// An i64 expression in the low 32 bits: what is linear in the lane number becomes a constant ramp and one broadcast.
  Known evaluate_i32(ir::Expr e, const Point& p, int guard);
  /// The scalar part of a linear form: everything but the lane number.
  Known linear_base(const Linear& form, const Point& p, int guard);
  /// As a vector of the kernel's lanes when the nest has a lane dim, else scalar.
  llvm::Value* widened(const Known& k);
  /// Guard for what stands under `condition` (or its negation), inside `parent`.
  int guard(int parent, ir::Expr condition, bool negated);
  /// Active lanes under a guard, tail mask included when `with_tail`; null = all. Scalar or vector i1.
  Known active(int guard, const Point& p, bool with_tail);
  /// Whether elements of the tensor lie side by side along dim d while lanes lie apart.
  bool turns_along(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, std::size_t d);
  void begin_update() { local_.clear(); }
  void begin_body() { forwarded_.clear(); }

  /// Stores `value` (of `type`) where `guard` and the tail mask allow; `combine`: into what is there (scatter).
  void store(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, const Point& p, Known value, DType type,
             int guard, bool checked, std::optional<ir::Reducer> combine);
  /// Stores the copies of one dim, transposed in registers, when the target allows it; `point` is that of copy 0.
  int transposing_dim(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, const Point& p);
  void store_transposed(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, const Point& p, const std::vector<Known>& values,
                        DType type);
  /// Whether lanes write apart: the target's address moves by a fixed step from lane to lane.
  bool lanes_write_apart(const std::vector<ir::Expr>& subscripts);
  bool depends_on_lane(ir::Expr e);
  std::uint32_t dependence(ir::Expr e);  // bit per dim
  Linear linear(ir::Expr e);
  bool pure_linear_in_lane(ir::Expr e);
  int lane_dim = -1;
  int lanes = 1;

  llvm::Value* iota(llvm::Type* element);
  llvm::Value* broadcast(llvm::Value* v);

 private:
  struct Scope {
    llvm::Instruction* end;
    int load_floor;  // reads needed inside must not move out of this scope
    std::vector<std::string> keys;
  };
  struct Guard {
    int parent;
    ir::Expr condition;
    bool negated;
    std::uint32_t dependence;
    bool has_lane;
  };
  /// Where a tensor element is, over the lanes.
  struct Address {
    enum class Kind { uniform, unit, strided, scattered } kind = Kind::uniform;
    Known pointer;            // of lane 0
    Count step;               // strided: elements between lanes
    Known offsets;            // scattered: i64 elements per lane
    Known ok;                 // checked: in range, i1 scalar or vector
    int along = -1;           // strided: a dim with as many copies as lanes and elements side by side, to transpose with
  };

  std::vector<Scope> scopes_;
  std::vector<Guard> guards_;
  std::unordered_map<std::string, Known> memo_;
  std::unordered_map<std::uint64_t, std::vector<std::pair<Point, Known>>> local_;
  struct Forwarded {
    ir::TensorId tensor;
    std::vector<ir::Expr> subscripts;
    Point point;
    Known value;
  };
  std::vector<Forwarded> forwarded_;  // what this pass through the body has stored
  std::unordered_map<std::uint32_t, std::uint32_t> dependence_;
  std::unordered_map<std::uint32_t, std::uint8_t> traits_;

  std::string key(std::uint64_t what, std::uint32_t guard, std::uint32_t mask, const Point& p) const;
  void remember(const std::string& k, const Known& v);
  std::uint8_t traits(ir::Expr e);  // 1 = contains a read, 2 = changes within the nest, 4 = contains a read that needs its guard
  bool needs_guard(ir::Expr read);
  std::optional<compiler::Ranges> ranges_;  // made when first asked for
  Known compute(ir::Expr e, const Point& p, int guard);
  Known compute_index(ir::IndexId id, const Point& p);
  Known compare_linear(ir::Expr e, const Point& p, int guard, bool* done);
  Known load(ir::Expr e, const Point& p, int guard);
  /// A tile of lanes x lanes elements, rows by lane, columns by the copies of `a.along` (a is the address of copy 0).
  std::vector<llvm::Value*> load_transposed(const Address& a, llvm::Type* element, llvm::Align align, const Known& tail, int scope);
  llvm::Value* gather(llvm::VectorType* type, llvm::Value* pointers, llvm::Align align, llvm::Value* mask);
  llvm::Value* row_is_live(int lane);
  llvm::Value* row_pointer(const Address& a, llvm::Type* element, int lane);
  Address address(ir::TensorId tensor, const std::vector<ir::Expr>& subscripts, const Point& p, int guard, bool checked);
  /// Tests one subscript; returns it made safe and adds to `ok`.
  Known check(ir::TensorId tensor, std::size_t axis, ir::Expr subscript, const Point& p, int guard, Known* ok);
  struct Step {  // elements per index step: constant plus value
    std::int64_t constant = 0;
    Known value;
  };
  Step scaled(const Count& stride, std::int64_t times, ir::Expr factor, const Point& p);
  Known operate(ir::Op op, DType type, std::vector<Known> args);
  /// What the same operands have made once, wherever it still holds. `kind` tells the makers apart.
  template <class Make>
  Known made_once(std::uint64_t kind, std::initializer_list<Known> operands, Make make);
  Known splat(const Known& k);
  Known element_pointer(llvm::Type* element, const Known& pointer, const Known& offset);
};

}  // namespace quern::cpu
