// One description of the fields for both directions: `Out` appends them, `In` fills them. Integers are 7 bits a byte.
#include "runtime/aot/image.h"

#include <unordered_map>

#include <quern/error.h>

namespace quern::runtime::aot {
namespace {

constexpr std::uint64_t kVersion = 4;  // 4: maps may have their fastest axis twice

/// Changes when an operator is added or moved: images name operators by number.
constexpr std::uint64_t operator_fingerprint() {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char* c :
#define QUERN_OP(name, arity, rule, spelling) #name "|"
       {
#include "dsl/ir/operators.def"
       })
    for (; *c; ++c) hash = (hash ^ static_cast<unsigned char>(*c)) * 0x100000001b3ull;
  return hash;
}

constexpr std::size_t kElementwise = 0
#define QUERN_OP(name, arity, rule, spelling) +1
#include "dsl/ir/operators.def"
    ;

class Out {
 public:
  static constexpr bool writing = true;
  std::string bytes;
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    bytes += static_cast<char>(value);
  }
  void text(const std::string& value) {
    number(value.size());
    bytes += value;
  }
};

class In {
 public:
  static constexpr bool writing = false;
  explicit In(std::span<const char> bytes) : bytes_(bytes) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value;
  }
  std::string text() {
    const std::uint64_t size = number();
    return {take(size), size};
  }
  /// A count of things that take a byte each at least.
  std::size_t count() {
    const std::uint64_t n = number();
    if (n > bytes_.size()) damaged();
    return n;
  }
  bool done() const { return bytes_.empty(); }
  [[noreturn]] static void damaged() { throw Error(Code::internal, "error: the kernel's description in this program is damaged"); }

 private:
  const char* take(std::uint64_t n) {
    if (n > bytes_.size()) damaged();
    const char* at = bytes_.data();
    bytes_ = bytes_.subspan(n);
    return at;
  }
  std::span<const char> bytes_;
};

std::uint64_t folded(std::int64_t v) { return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63); }
std::int64_t unfolded(std::uint64_t v) { return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1); }

/// Fields in their order, once for both directions. Expressions are numbered as they are met, operands first.
template <class Stream>
class Fields {
 public:
  explicit Fields(Stream& stream) : stream_(stream) {}

  template <class T>
  void operator()(T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      if constexpr (Stream::writing) stream_.text(value);
      else value = stream_.text();
    } else if constexpr (std::is_enum_v<T>) {
      auto raw = static_cast<std::int64_t>(value);
      (*this)(raw);
      if constexpr (std::is_same_v<T, DType>)
        if (raw < 0 || raw >= static_cast<std::int64_t>(kDTypeCount)) In::damaged();
      value = static_cast<T>(raw);
    } else if constexpr (std::is_same_v<T, ir::Expr>) {
      expression(value);
    } else if constexpr (std::is_integral_v<T>) {
      if constexpr (Stream::writing) stream_.number(folded(static_cast<std::int64_t>(value)));
      else value = static_cast<T>(unfolded(stream_.number()));
    } else {
      fields(value);
    }
  }
  template <class T, class A>
  void operator()(std::vector<T, A>& list) {
    if constexpr (Stream::writing) stream_.number(list.size());
    else list.resize(stream_.count());
    for (T& value : list) (*this)(value);
  }
  template <class T>
  void operator()(std::optional<T>& value) {
    bool there = value.has_value();
    (*this)(there);
    if (!there) {
      value.reset();
      return;
    }
    if (!value) value.emplace();
    (*this)(*value);
  }

 private:
  /// Of bindings to every field of a structure: one that gets another field does not compile before it is here, too.
  template <class... T>
  void all(T&... values) {
    ((*this)(values), ...);
  }
  void fields(Image& image) { (*this)(image.cases); }
  void fields(Case& c) {
    (*this)(c.program);
    (*this)(c.variants);
  }
  void fields(Variant& v) {
    (*this)(v.target);
    (*this)(v.layouts);
    (*this)(v.program);
    (*this)(v.workspace);
    (*this)(v.may_share);
    (*this)(v.plan);
    (*this)(v.run);
    (*this)(v.gpu);
    program_ = &v.program;  // launches are over its expressions, which keep their numbers
    (*this)(v.launches);
    (*this)(v.cubin);
    (*this)(v.cubin_bytes);
  }
  void fields(Layout& l) {
    (*this)(l.dense);
    (*this)(l.unit_axis);
  }
  void fields(quern::cuda::Target& t) {
    (*this)(t.sm);
    (*this)(t.accelerated);
    (*this)(t.multiprocessors);
    (*this)(t.shared_bytes);
  }
  void fields(quern::cuda::Word& w) {
    auto& [kind, id, axis] = w;
    all(kind, id, axis);
  }
  void fields(quern::cuda::KernelLaunch& l) {
    auto& [entry, threads, tasks, blocks_per_multiprocessor, shared_bytes, slab_bytes, zeroed_bytes, words, maps] = l;
    all(entry, threads, tasks, blocks_per_multiprocessor, shared_bytes, slab_bytes, zeroed_bytes, words, maps);
  }
  void fields(quern::cuda::TensorMap& m) {
    auto& [tensor, axes, box, element_bytes, swizzled] = m;
    all(tensor, axes, box, element_bytes, swizzled);
  }
  void fields(ir::Symbol& s) {
    (*this)(s.name);
    (*this)(s.type);
    (*this)(s.compile_time);
    (*this)(s.value);
  }
  void fields(ir::Scalar& s) {
    (*this)(s.name);
    (*this)(s.type);
    (*this)(s.default_value);
  }
  void fields(ir::Tensor& t) {
    (*this)(t.name);
    (*this)(t.type);
    (*this)(t.shape);
    (*this)(t.role);
    (*this)(t.entry);
    (*this)(t.nondecreasing);
  }
  void fields(ir::Requirement& r) { (*this)(r.condition); }
  void fields(ir::Program& p) {
    program_ = &p;
    numbers_.clear();
    made_.assign(1, ir::Expr{});
    (*this)(p.name);
    (*this)(p.annotations.trusted);
    (*this)(p.symbols);
    (*this)(p.scalars);
    (*this)(p.tensors);
    (*this)(p.parameters);
    (*this)(p.outputs);
    (*this)(p.scalar_parameters);
    (*this)(p.parameter_order);
    (*this)(p.requirements);
  }

  /// 0: none. A number met before: that expression. The next number: its node follows, behind its operands.
  void expression(ir::Expr& e) {
    if constexpr (Stream::writing) {
      if (!e) return stream_.number(0);
      if (const auto found = numbers_.find(e.id); found != numbers_.end()) return stream_.number(found->second);
      const ir::Node& node = program_->pool[e];
      stream_.number(kNew);
      stream_.number(node.args.size());
      for (ir::Expr arg : node.args) expression(arg);
      ir::Node rest = node;
      leaf(rest);
      const std::uint64_t number = numbers_.size() + kNew + 1;
      numbers_.emplace(e.id, number);
    } else {
      const std::uint64_t number = stream_.number();
      if (number == 0) {
        e = {};
      } else if (number == kNew) {
        ir::Node node;
        node.args.resize(stream_.count());
        if (++depth_ > 1000) In::damaged();
        for (ir::Expr& arg : node.args) expression(arg);
        --depth_;
        leaf(node);
        if (!sound(node)) In::damaged();
        e = program_->pool.intern(std::move(node));
        made_.push_back(e);
      } else if (number - kNew < made_.size()) {
        e = made_[number - kNew];
      } else {
        In::damaged();
      }
    }
  }
  void leaf(ir::Node& node) {
    (*this)(node.op);
    (*this)(node.type);
    (*this)(node.flags);
    (*this)(node.payload);
  }

  /// What evaluating it takes for granted.
  bool sound(const ir::Node& node) const {
    const auto count = node.args.size(), at = static_cast<std::size_t>(node.payload);
    for (const ir::Expr arg : node.args)
      if (!arg) return false;
    switch (node.op) {
      case ir::Op::constant: return count == 0;
      case ir::Op::symbol: return count == 0 && at < program_->symbols.size();
      case ir::Op::scalar: return count == 0 && at < program_->scalars.size();
      case ir::Op::cast: return count == 1;
      default: return ir::is_elementwise(node.op) && static_cast<std::size_t>(node.op) - static_cast<std::size_t>(ir::Op::neg) < kElementwise && count == static_cast<std::size_t>(ir::info(node.op).arity);
    }
  }

  static constexpr std::uint64_t kNew = 1;
  Stream& stream_;
  ir::Program* program_ = nullptr;
  std::unordered_map<std::uint32_t, std::uint64_t> numbers_;  // writing
  std::vector<ir::Expr> made_{ir::Expr{}};                   // reading
  int depth_ = 0;
};

}  // namespace

namespace {

template <class T>
std::string write(const T& value) {
  Out out;
  out.number(kVersion);
  out.number(operator_fingerprint());
  T copy = value;  // the fields are described once, for writing into them
  Fields<Out> fields(out);
  fields(copy);
  return std::move(out.bytes);
}

template <class T>
T read(std::span<const char> bytes) {
  In in(bytes);
  if (in.number() != kVersion || in.number() != operator_fingerprint())
    throw Error(Code::unsupported, "error: this kernel was compiled ahead of time by another version of quern; compile it again with the installed one");
  T value;
  Fields<In> fields(in);
  fields(value);
  if (!in.done()) In::damaged();
  return value;
}

}  // namespace

std::string write_variant(const Variant& variant) { return write(variant); }
Variant read_variant(std::span<const char> bytes) { return read<Variant>(bytes); }

std::string write_image(const Image& image) { return write(image); }
Image read_image(std::span<const char> bytes) { return read<Image>(bytes); }

}  // namespace quern::runtime::aot
