// The state of a program that grows: its sizes, tensors, scalars, statements, and the choices that are still open.
// The one idea: `Scope` holds the indices an expression may use; every producer of text takes one and keeps it valid.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dsl/ir/dtype.h"
#include "tools/fuzz/generate.h"
#include "tools/fuzz/random.h"

namespace quern::fuzz {

/// A size as the text writes it, with its value in this case. Two sizes are the same only if the text is.
struct Size {
  std::string text;
  std::int64_t value = 0;
  bool operator==(const Size& o) const { return text == o.text; }
};
using Shape = std::vector<Size>;

struct TensorInfo {
  std::string name;
  DType type = DType::f32;
  Shape shape;
  bool parameter = false, inout = false, output = false;
  bool used = false;
  std::optional<Size> fact;  // values in 0:fact
  bool nondecreasing = false;
};

struct IndexInfo {
  std::string name;
  Size extent;         // runs over 0:extent
  bool bare = false;   // some bare use gives its range
};

struct Scope {
  std::vector<IndexInfo*> indices;
  std::int64_t cost = 1;     // points of the loops around
  bool previous = false;     // inside a scan
  std::vector<IndexInfo*> mapped;  // bound by an axis map around
};

class Builder {
 public:
  Builder(std::uint64_t seed, GenerateOptions options) : rng(seed), options(options) {}

  Rng rng;
  GenerateOptions options;
  std::deque<TensorInfo> tensors;
  std::deque<IndexInfo> indices;

  // Names, sizes, tensors (builder.cpp).
  std::string fresh(const char* stem);
  Size symbol();                                        // a size of the kernel, old or new
  Size literal_size(std::int64_t value) { return {std::to_string(value), value}; }
  Size some_size(std::int64_t room);                    // a symbol or a literal, at most `room`
  IndexInfo* new_index(Size extent);
  TensorInfo& parameter(DType type, Shape shape);
  TensorInfo& temporary(DType type, Shape shape);
  std::string scalar_parameter();
  DType float_type();
  DType integer_type();
  Shape shape_of(const Scope& scope, std::initializer_list<int> which);
  void say(std::string statement) { statements.push_back(std::move(statement)); }
  void fill(const TensorInfo& tensor, std::string kind) { kinds[tensor.name] = std::move(kind); }
  std::string finish();
  static std::string list(const std::vector<std::string>& parts);

  // Index form (expressions.cpp).
  std::string real(Scope& scope, int depth);
  std::string integer(Scope& scope, int depth, DType type);
  std::string boolean(Scope& scope, int depth);
  std::string position(Scope& scope, int depth);        // an index: i64, any value
  std::string read(Scope& scope, DType type);           // of the given kind of element: float or that integer or bool
  std::string reduction(Scope& scope, int depth, const char* reducer, int body /* 0 real, 1 integer, 2 bool */, DType type);
  std::string axis_text(const IndexInfo& index);        // "k" or "k in 0:K"
  std::string target_text(const std::string& name, const std::vector<IndexInfo*>& left, bool declared);
  Scope new_scope(int rank);
  Scope with(const Scope& scope, IndexInfo* index);
  std::string mask(Scope& scope, int depth);            // the condition of a domain

  // Statements (statements.cpp, patterns.cpp, whole.cpp).
  void index_statement();
  void boolean_statement();
  void integer_statement();
  void scan_statement();
  void topk_statement();
  void scatter_statement();
  void inout_statement();
  void view_statement();
  void let_statement();
  void pattern_statement();
  void whole_statement();
  std::string whole(const Shape& shape, int depth);
  std::string whole_boolean(const Shape& shape, int depth);

 private:
  struct Symbol { Size size; bool compile_time = false; };
  std::vector<Symbol> symbols_;
  std::vector<std::string> scalars_;
  std::map<std::string, std::string> scalar_values_;
  std::vector<std::string> lets_;      // names of one-argument functions
  std::map<std::string, int> counters_;

 public:
  std::vector<std::string> statements;
  std::vector<std::string> functions() const { return lets_; }
  void add_function(std::string name) { lets_.push_back(std::move(name)); }
  std::map<std::string, std::string> kinds;
  std::vector<std::string> annotations;
  std::vector<std::string> type_parameters;
};

}  // namespace quern::fuzz
