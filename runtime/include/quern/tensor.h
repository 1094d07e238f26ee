// Tensors as arguments: `TensorView` points at memory of any owner, with shape and strides in elements; `Tensor` owns its
// memory, aligned and on huge pages when large. Both exchange with DLPack, and any type with the interface of
// std::mdspan converts to a view.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <quern/dlpack.h>
#include <quern/error.h>

namespace quern {
inline namespace v0 {

enum class ElementType : std::uint8_t { f64, f32, f16, bf16, e4m3, e5m2, i64, i32, i16, i8, u8, boolean };

inline constexpr ElementType f64 = ElementType::f64, f32 = ElementType::f32, f16 = ElementType::f16,
                             bf16 = ElementType::bf16, e4m3 = ElementType::e4m3, e5m2 = ElementType::e5m2,
                             i64 = ElementType::i64, i32 = ElementType::i32, i16 = ElementType::i16,
                             i8 = ElementType::i8, u8 = ElementType::u8, boolean = ElementType::boolean;

/// Where elements lie. `gpu` memory is that of a CUDA GPU; the host does not read or write it (see <quern/gpu.h>).
enum class Memory : std::uint8_t { host, gpu };

QUERN_API const char* name(ElementType type) noexcept;
QUERN_API std::size_t size_of(ElementType type) noexcept;

/// The element type that a C++ type is stored as. Specialise `element_type_of` for a 16- or 8-bit float type of your own.
template <class T> struct element_type_of {};
template <> struct element_type_of<double> { static constexpr ElementType value = ElementType::f64; };
template <> struct element_type_of<float> { static constexpr ElementType value = ElementType::f32; };
template <> struct element_type_of<std::int64_t> { static constexpr ElementType value = ElementType::i64; };
template <> struct element_type_of<std::int32_t> { static constexpr ElementType value = ElementType::i32; };
template <> struct element_type_of<std::int16_t> { static constexpr ElementType value = ElementType::i16; };
template <> struct element_type_of<std::int8_t> { static constexpr ElementType value = ElementType::i8; };
template <> struct element_type_of<std::uint8_t> { static constexpr ElementType value = ElementType::u8; };
template <> struct element_type_of<bool> { static constexpr ElementType value = ElementType::boolean; };
#ifdef __FLT16_MANT_DIG__
template <> struct element_type_of<_Float16> { static constexpr ElementType value = ElementType::f16; };
#endif

template <class T>
concept Element = requires { { element_type_of<std::remove_cv_t<T>>::value } -> std::convertible_to<ElementType>; };

inline constexpr int max_rank = 16;

/// Up to 16 sizes or strides, kept in place.
class Sizes {
 public:
  Sizes() noexcept {}  // NOLINT: the unused tail stays unset on purpose, views are copied on the hot path
  Sizes(std::initializer_list<std::int64_t> values) : Sizes(std::span<const std::int64_t>(values.begin(), values.size())) {}
  QUERN_API Sizes(std::span<const std::int64_t> values);
  Sizes(const std::vector<std::int64_t>& values) : Sizes(std::span<const std::int64_t>(values)) {}
  Sizes(const Sizes& o) noexcept { copy(o); }
  Sizes& operator=(const Sizes& o) noexcept { copy(o); return *this; }

  int size() const noexcept { return size_; }
  const std::int64_t* data() const noexcept { return values_; }
  const std::int64_t* begin() const noexcept { return values_; }
  const std::int64_t* end() const noexcept { return values_ + size_; }
  std::int64_t operator[](int axis) const noexcept { return values_[axis]; }
  std::int64_t& operator[](int axis) noexcept { return values_[axis]; }
  QUERN_API void push_back(std::int64_t value);
  friend bool operator==(const Sizes& a, const Sizes& b) noexcept {
    if (a.size_ != b.size_) return false;
    for (int i = 0; i < a.size_; ++i)
      if (a.values_[i] != b.values_[i]) return false;
    return true;
  }

 private:
  void copy(const Sizes& o) noexcept {
    size_ = o.size_;
    for (int i = 0; i < size_; ++i) values_[i] = o.values_[i];
  }
  int size_ = 0;
  std::int64_t values_[max_rank];
};

/// What std::mdspan looks like: extents, strides and a pointer.
template <class M>
concept MdspanLike = requires(const M& m) {
  { m.data_handle() };
  { M::rank() } -> std::convertible_to<std::size_t>;
  { m.extent(std::size_t{0}) } -> std::convertible_to<std::int64_t>;
  { m.stride(std::size_t{0}) } -> std::convertible_to<std::int64_t>;
  requires std::is_pointer_v<std::remove_cvref_t<decltype(m.data_handle())>>;
};

class QUERN_API TensorView {
 public:
  TensorView() noexcept = default;
  /// Dense, row-major.
  TensorView(void* data, ElementType type, Sizes shape);
  TensorView(const void* data, ElementType type, Sizes shape);
  /// Strides count elements; negative and zero ones are fine for inputs.
  TensorView(void* data, ElementType type, Sizes shape, Sizes strides);
  TensorView(const void* data, ElementType type, Sizes shape, Sizes strides);

  template <class T> requires Element<T>
  TensorView(T* data, Sizes shape) : TensorView(data, element_type_of<std::remove_cv_t<T>>::value, shape) {}
  template <class T> requires Element<T>
  TensorView(T* data, Sizes shape, Sizes strides)
      : TensorView(data, element_type_of<std::remove_cv_t<T>>::value, shape, strides) {}

  /// A vector, array or span: one axis, or `shape`, whose product must be the number of elements.
  template <class T, std::size_t N> requires Element<T>
  TensorView(std::span<T, N> values)
      : TensorView(values.data(), {static_cast<std::int64_t>(values.size())}) {}
  template <class T, std::size_t N> requires Element<T>
  TensorView(std::span<T, N> values, Sizes shape) : TensorView(values.data(), shape) {
    require_count(static_cast<std::int64_t>(values.size()));
  }
  template <class T> requires(Element<T> && !std::same_as<T, bool>)
  TensorView(std::vector<T>& values) : TensorView(std::span<T>(values)) {}
  template <class T> requires(Element<T> && !std::same_as<T, bool>)
  TensorView(const std::vector<T>& values) : TensorView(std::span<const T>(values)) {}
  template <class T> requires(Element<T> && !std::same_as<T, bool>)
  TensorView(std::vector<T>& values, Sizes shape) : TensorView(std::span<T>(values), shape) {}
  template <class T> requires(Element<T> && !std::same_as<T, bool>)
  TensorView(const std::vector<T>& values, Sizes shape) : TensorView(std::span<const T>(values), shape) {}

  template <MdspanLike M> requires Element<std::remove_pointer_t<decltype(std::declval<const M&>().data_handle())>>
  TensorView(const M& m) : TensorView(m.data_handle(), extents_of(m), strides_of(m)) {}

  /// Borrows a DLPack tensor in host or CUDA memory; throws Code::unsupported for another device or element type.
  explicit TensorView(const DLTensor& tensor, bool read_only = false);

  ElementType type() const noexcept { return type_; }
  void* data() const noexcept { return data_; }
  bool read_only() const noexcept { return read_only_; }
  Memory memory() const noexcept { return memory_; }
  /// The number of the GPU whose memory this is; 0 for host memory.
  int gpu() const noexcept { return gpu_; }
  /// The same view, saying that its pointer is of GPU `number`: TensorView(pointer, quern::f32, {M, N}).on_gpu(0).
  TensorView on_gpu(int number) const {
    TensorView view = *this;
    view.memory_ = Memory::gpu;
    view.gpu_ = static_cast<std::int16_t>(number);
    return view;
  }
  int rank() const noexcept { return shape_.size(); }
  const Sizes& shape() const noexcept { return shape_; }
  const Sizes& strides() const noexcept { return strides_; }
  std::int64_t extent(int axis) const noexcept { return shape_[axis]; }
  std::int64_t stride(int axis) const noexcept { return strides_[axis]; }
  /// Number of elements; throws Code::overflow when it does not fit in 64 bits.
  std::int64_t count() const;

  // Views of views: no element is moved.
  TensorView transposed(std::initializer_list<int> axes) const;
  TensorView reversed(int axis) const;
  /// Elements begin, begin + step, ... < end of one axis.
  TensorView slice(int axis, std::int64_t begin, std::int64_t end, std::int64_t step = 1) const;

  /// One element of host memory, converted; for tests, printing and filling, not for speed.
  double get(std::initializer_list<std::int64_t> at) const;
  void set(std::initializer_list<std::int64_t> at, double value) const;

 private:
  void require_count(std::int64_t available) const;
  template <class M> static Sizes extents_of(const M& m) {
    Sizes s;
    for (std::size_t i = 0; i < M::rank(); ++i) s.push_back(static_cast<std::int64_t>(m.extent(i)));
    return s;
  }
  template <class M> static Sizes strides_of(const M& m) {
    Sizes s;
    for (std::size_t i = 0; i < M::rank(); ++i) s.push_back(static_cast<std::int64_t>(m.stride(i)));
    return s;
  }

  void* data_ = nullptr;
  ElementType type_ = ElementType::f32;
  bool read_only_ = false;
  Memory memory_ = Memory::host;
  std::int16_t gpu_ = 0;
  Sizes shape_;
  Sizes strides_;
};

/// Owns dense row-major memory (64-byte aligned), or keeps somebody else's alive. Copies share it; `clone` copies elements.
class QUERN_API Tensor {
 public:
  Tensor() noexcept = default;
  /// Elements are unset.
  Tensor(ElementType type, Sizes shape);
  static Tensor zeros(ElementType type, Sizes shape);
  /// A copy of `values`.
  template <class T> requires Element<T>
  static Tensor from(std::span<T> values, Sizes shape) {
    return copy_of(TensorView(std::span<const std::remove_cv_t<T>>(values), shape));
  }
  template <class T> requires Element<T>
  static Tensor from(const std::vector<T>& values, Sizes shape) {
    return copy_of(TensorView(values, shape));
  }
  /// A dense copy of any view, in host memory (from a GPU: waits for the copy).
  static Tensor copy_of(const TensorView& view);
  /// Memory of another owner; `release` is called when the last reference goes.
  static Tensor wrap(const TensorView& view, void (*release)(void*), void* owner);
  /// Takes the tensor over: its deleter runs when the last reference goes.
  static Tensor from_dlpack(DLManagedTensorVersioned* tensor);
  static Tensor from_dlpack(DLManagedTensor* tensor);

  explicit operator bool() const noexcept { return static_cast<bool>(owner_); }
  const TensorView& view() const noexcept { return view_; }
  operator const TensorView&() const noexcept { return view_; }
  ElementType type() const noexcept { return view_.type(); }
  int rank() const noexcept { return view_.rank(); }
  const Sizes& shape() const noexcept { return view_.shape(); }
  const Sizes& strides() const noexcept { return view_.strides(); }
  std::int64_t count() const { return view_.count(); }
  void* data() const noexcept { return view_.data(); }
  /// The elements as T; throws Code::type_mismatch when that is not what they are, or when they are not dense.
  template <class T> requires Element<T>
  std::span<T> as() const {
    return {static_cast<T*>(dense(element_type_of<std::remove_cv_t<T>>::value)), static_cast<std::size_t>(count())};
  }
  double get(std::initializer_list<std::int64_t> at) const { return view_.get(at); }
  void set(std::initializer_list<std::int64_t> at, double value) const { view_.set(at, value); }
  Tensor clone() const { return copy_of(view_); }

  /// A DLPack tensor that shares the memory; the receiver calls its deleter.
  DLManagedTensorVersioned* to_dlpack() const;
  DLManagedTensor* to_dlpack_unversioned() const;

 private:
  void* dense(ElementType type) const;
  TensorView view_;
  std::shared_ptr<void> owner_;
};

}  // namespace v0
}  // namespace quern
