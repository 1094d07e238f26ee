// Views and owning tensors: construction, views of views, element access. DLPack stands in dlpack.cpp.
#include <quern/gpu.h>
#include <quern/tensor.h>

#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "dsl/ir/dtype.h"
#include "runtime/memory.h"
#include "runtime/strided.h"

namespace quern {

namespace runtime {

Sizes dense_strides(const Sizes& shape) {
  Sizes strides = shape;
  std::uint64_t step = 1;
  for (int axis = shape.size() - 1; axis >= 0; --axis) {
    strides[axis] = static_cast<std::int64_t>(step);
    step *= static_cast<std::uint64_t>(shape[axis] > 1 ? shape[axis] : 1);
  }
  return strides;
}

void copy_dense(const TensorView& v, void* to) {
  const auto size = static_cast<std::int64_t>(size_of(v.type()));
  const std::int64_t count = v.count();
  if (count == 0) return;
  // Runs of neighbours at once: the innermost axes that lie dense.
  int outer = v.rank();
  std::int64_t run = 1;
  while (outer > 0 && (v.extent(outer - 1) == 1 || v.stride(outer - 1) == run)) run *= v.extent(--outer);
  char* out = static_cast<char*>(to);
  const char* from = static_cast<const char*>(v.data());
  std::int64_t at[max_rank] = {};
  for (std::int64_t done = 0; done < count; done += run) {
    std::memcpy(out, from, static_cast<std::size_t>(run * size));
    out += run * size;
    for (int axis = outer - 1; axis >= 0; --axis) {
      from += v.stride(axis) * size;
      if (++at[axis] < v.extent(axis)) break;
      from -= v.stride(axis) * v.extent(axis) * size;
      at[axis] = 0;
    }
  }
}

void copy_strided(const TensorView& from, const TensorView& to) {
  const auto size = static_cast<std::int64_t>(size_of(from.type()));
  const std::int64_t count = from.count();
  const char* read = static_cast<const char*>(from.data());
  char* write = static_cast<char*>(to.data());
  std::int64_t at[max_rank] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(write, read, static_cast<std::size_t>(size));
    for (int axis = from.rank() - 1; axis >= 0; --axis) {
      read += from.stride(axis) * size;
      write += to.stride(axis) * size;
      if (++at[axis] < from.extent(axis)) break;
      read -= from.stride(axis) * from.extent(axis) * size;
      write -= to.stride(axis) * from.extent(axis) * size;
      at[axis] = 0;
    }
  }
}

}  // namespace runtime

inline namespace v0 {

using runtime::dense_strides;

static_assert(static_cast<int>(ElementType::boolean) == static_cast<int>(DType::boolean) &&
              static_cast<int>(ElementType::e4m3) == static_cast<int>(DType::e4m3) &&
              static_cast<int>(ElementType::u8) == static_cast<int>(DType::u8));

namespace {

DType internal(ElementType type) { return static_cast<DType>(type); }

std::string text_of(const Sizes& sizes) { return fmt::format("[{}]", fmt::join(sizes.begin(), sizes.end(), ",")); }

void check(const Sizes& shape, const Sizes& strides) {
  for (std::int64_t extent : shape)
    if (extent < 0) throw Error(Code::invalid_argument, fmt::format("error: negative size in shape {}", text_of(shape)));
  if (shape.size() != strides.size())
    throw Error(Code::invalid_argument, fmt::format("error: shape {} has {} axes, strides {} have {}", text_of(shape),
                                                    shape.size(), text_of(strides), strides.size()));
}

}  // namespace

const char* name(ElementType type) noexcept { return quern::name(internal(type)).data(); }
std::size_t size_of(ElementType type) noexcept { return quern::size_of(internal(type)); }

Sizes::Sizes(std::span<const std::int64_t> values) {
  if (values.size() > static_cast<std::size_t>(max_rank))
    throw Error(Code::invalid_argument, fmt::format("error: {} axes; at most {} are supported", values.size(), max_rank));
  size_ = static_cast<int>(values.size());
  for (int i = 0; i < size_; ++i) values_[i] = values[static_cast<std::size_t>(i)];
}

void Sizes::push_back(std::int64_t value) {
  if (size_ == max_rank) throw Error(Code::invalid_argument, fmt::format("error: more than {} axes", max_rank));
  values_[size_++] = value;
}

TensorView::TensorView(void* data, ElementType type, Sizes shape)
    : data_(data), type_(type), shape_(shape), strides_(dense_strides(shape)) {
  check(shape_, strides_);
}
TensorView::TensorView(const void* data, ElementType type, Sizes shape)
    : TensorView(const_cast<void*>(data), type, shape) { read_only_ = true; }
TensorView::TensorView(void* data, ElementType type, Sizes shape, Sizes strides)
    : data_(data), type_(type), shape_(shape), strides_(strides) {
  check(shape_, strides_);
}
TensorView::TensorView(const void* data, ElementType type, Sizes shape, Sizes strides)
    : TensorView(const_cast<void*>(data), type, shape, strides) { read_only_ = true; }

std::int64_t TensorView::count() const {
  std::int64_t total = 1;
  for (std::int64_t extent : shape_)
    if (extent == 0) return 0;
  for (std::int64_t extent : shape_)
    if (__builtin_mul_overflow(total, extent, &total))
      throw Error(Code::overflow, fmt::format("error: shape {} has more than 2^63 - 1 elements", text_of(shape_)));
  return total;
}

void TensorView::require_count(std::int64_t available) const {
  if (const std::int64_t wanted = count(); wanted != available)
    throw Error(Code::invalid_argument, fmt::format("error: shape {} needs {} elements, {} were given", text_of(shape_),
                                                    wanted, available));
}

TensorView TensorView::transposed(std::initializer_list<int> axes) const {
  TensorView result = *this;
  std::uint32_t seen = 0;
  int to = 0;
  for (int from : axes) {
    if (from < 0 || from >= rank() || (seen >> from & 1u))
      throw Error(Code::invalid_argument, fmt::format("error: transposed({}) of a tensor with {} axes", fmt::join(axes, ","), rank()));
    seen |= 1u << from;
    result.shape_[to] = shape_[from];
    result.strides_[to++] = strides_[from];
  }
  if (to != rank())
    throw Error(Code::invalid_argument, fmt::format("error: transposed({}) of a tensor with {} axes", fmt::join(axes, ","), rank()));
  return result;
}

TensorView TensorView::reversed(int axis) const {
  if (axis < 0 || axis >= rank()) throw Error(Code::invalid_argument, fmt::format("error: reversed({}) of a tensor with {} axes", axis, rank()));
  TensorView result = *this;
  if (count() > 0)
    result.data_ = static_cast<char*>(data_) + (shape_[axis] - 1) * strides_[axis] * static_cast<std::int64_t>(size_of(type_));
  result.strides_[axis] = -strides_[axis];
  return result;
}

TensorView TensorView::slice(int axis, std::int64_t begin, std::int64_t end, std::int64_t step) const {
  if (axis < 0 || axis >= rank() || begin < 0 || end < begin || end > shape_[axis] || step < 1)
    throw Error(Code::invalid_argument, fmt::format("error: slice {}:{}:{} of axis {} of a tensor of shape {}", begin, end, step, axis, text_of(shape_)));
  TensorView result = *this;
  if (data_) result.data_ = static_cast<char*>(data_) + begin * strides_[axis] * static_cast<std::int64_t>(size_of(type_));
  result.shape_[axis] = (end - begin + step - 1) / step;
  result.strides_[axis] = strides_[axis] * step;
  return result;
}

namespace {
char* element(const TensorView& v, std::initializer_list<std::int64_t> at) {
  if (v.memory() != Memory::host) throw Error(Code::invalid_argument, fmt::format("error: get or set on a tensor in the memory of GPU {}; copy it with to_host", v.gpu()));
  std::int64_t offset = 0;
  int axis = 0;
  bool inside = static_cast<int>(at.size()) == v.rank();
  for (std::int64_t i : at) {
    if (!inside || i < 0 || i >= v.extent(axis)) {
      inside = false;
      break;
    }
    offset += i * v.stride(axis++);
  }
  if (!inside)
    throw Error(Code::invalid_argument, fmt::format("error: no element [{}] in a tensor of shape {}", fmt::join(at, ","), text_of(v.shape())));
  return static_cast<char*>(v.data()) + offset * static_cast<std::int64_t>(size_of(v.type()));
}
}  // namespace

double TensorView::get(std::initializer_list<std::int64_t> at) const { return load_as_f64(internal(type_), element(*this, at)); }
void TensorView::set(std::initializer_list<std::int64_t> at, double value) const {
  if (read_only_) throw Error(Code::invalid_argument, "error: set on a read-only view");
  store_from_f64(internal(type_), element(*this, at), value);
}

Tensor::Tensor(ElementType type, Sizes shape) {
  TensorView view(static_cast<void*>(nullptr), type, shape);
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(view.count(), static_cast<std::int64_t>(size_of(type)), &bytes))
    throw Error(Code::overflow, fmt::format("error: {}{} takes more than 2^63 - 1 bytes", quern::name(type), text_of(shape)));
  void* memory = runtime::allocate(static_cast<std::size_t>(bytes));
  if (!memory) throw Error(Code::out_of_memory, fmt::format("error: no memory for {}{} ({} bytes)", quern::name(type), text_of(shape), bytes));
  owner_ = std::shared_ptr<void>(memory, [bytes](void* p) { runtime::release(p, static_cast<std::size_t>(bytes)); });
  view_ = TensorView(memory, type, shape);
}

Tensor Tensor::zeros(ElementType type, Sizes shape) {
  Tensor t(type, shape);
  std::memset(t.data(), 0, static_cast<std::size_t>(t.count()) * size_of(type));
  return t;
}

Tensor Tensor::copy_of(const TensorView& view) {
  Tensor t(view.type(), view.shape());
  if (view.memory() == Memory::host) runtime::copy_dense(view, t.data());
  else copy_elements(view, t);
  return t;
}

void copy_elements(const TensorView& from, const TensorView& to) {
  if (from.type() != to.type())
    throw Error(Code::type_mismatch, fmt::format("error: copy_elements from {} to {}", quern::name(from.type()), quern::name(to.type())));
  if (from.shape() != to.shape())
    throw Error(Code::shape_mismatch, fmt::format("error: copy_elements from shape {} to {}", text_of(from.shape()), text_of(to.shape())));
  if (to.read_only()) throw Error(Code::invalid_argument, "error: copy_elements to a read-only view");
  if (from.count() == 0) return;
  if (!from.data() || !to.data()) throw Error(Code::invalid_argument, "error: copy_elements with a null data pointer");
  if (from.memory() == Memory::host && to.memory() == Memory::host) runtime::copy_strided(from, to);
  else runtime::copy_with_gpu(from, to);
}

Tensor Tensor::wrap(const TensorView& view, void (*release)(void*), void* owner) {
  Tensor t;
  t.view_ = view;
  t.owner_ = std::shared_ptr<void>(owner, [release](void* p) { if (release) release(p); });
  return t;
}

void* Tensor::dense(ElementType type) const {
  if (type != view_.type())
    throw Error(Code::type_mismatch, fmt::format("error: the tensor holds {}, not {}", quern::name(view_.type()), quern::name(type)));
  if (view_.memory() != Memory::host) throw Error(Code::type_mismatch, fmt::format("error: the tensor is in the memory of GPU {}; copy it with to_host", view_.gpu()));
  const Sizes wanted = dense_strides(view_.shape());
  for (int axis = 0; axis < rank(); ++axis)
    if (view_.extent(axis) > 1 && view_.stride(axis) != wanted[axis] && view_.count() > 0)
      throw Error(Code::type_mismatch, fmt::format("error: strides {} of shape {} are not dense; clone() the tensor first",
                                                   text_of(strides()), text_of(shape())));
  return view_.data();
}

}  // namespace v0
}  // namespace quern
