// DLPack in and out. The memory is shared, never copied; whoever holds the last reference frees it.
#include <fmt/format.h>

#include <quern/tensor.h>

namespace quern {
inline namespace v0 {
namespace {

struct TypeRow {
  std::uint8_t code, bits;
};
// In the order of ElementType. Codes as numbers: an older dlpack.h of the user may lack the names of the 8-bit floats.
constexpr TypeRow kTypes[] = {{2, 64}, {2, 32}, {2, 16}, {4, 16}, {10, 8}, {12, 8}, {0, 64}, {0, 32}, {0, 16}, {0, 8}, {1, 8}, {6, 8}};

// Device types, as numbers for the same reason.
constexpr int kHost = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13;

ElementType type_from(const DLDataType& type) {
  if (type.lanes == 1)
    for (std::size_t i = 0; i < std::size(kTypes); ++i)
      if (kTypes[i].code == type.code && kTypes[i].bits == type.bits) return static_cast<ElementType>(i);
  throw Error(Code::unsupported, fmt::format("error: DLPack type {{code {}, bits {}, lanes {}}} has no counterpart; convert it first",
                                             type.code, type.bits, type.lanes));
}

Sizes sizes_from(const std::int64_t* values, std::int32_t count) {
  return Sizes(std::span<const std::int64_t>(values, static_cast<std::size_t>(count)));
}

TensorView view_from(const DLTensor& t, bool read_only) {
  const auto device = static_cast<int>(t.device.device_type);
  const bool gpu = device == kCuda || device == kCudaManaged;
  if (!gpu && device != kHost && device != kCudaHost)
    throw Error(Code::unsupported, fmt::format("error: a DLPack tensor on device type {}; host memory (1 and 3) and CUDA memory (2 and 13) are supported", device));
  if (gpu && (t.device.device_id < 0 || t.device.device_id > 0x7fff))
    throw Error(Code::invalid_argument, fmt::format("error: a DLPack tensor on GPU {}", t.device.device_id));
  const auto placed = [&](const TensorView& view) { return gpu ? view.on_gpu(t.device.device_id) : view; };
  if (t.ndim < 0 || (t.ndim > 0 && !t.shape))
    throw Error(Code::invalid_argument, fmt::format("error: a DLPack tensor with {} axes and {} shape", t.ndim, t.shape ? "a" : "no"));
  const ElementType type = type_from(t.dtype);
  void* data = t.data ? static_cast<char*>(t.data) + t.byte_offset : nullptr;
  const Sizes shape = sizes_from(t.shape, t.ndim);
  if (!t.strides) return placed(read_only ? TensorView(static_cast<const void*>(data), type, shape) : TensorView(data, type, shape));
  const Sizes strides = sizes_from(t.strides, t.ndim);
  return placed(read_only ? TensorView(static_cast<const void*>(data), type, shape, strides) : TensorView(data, type, shape, strides));
}

/// What an exported tensor carries: a reference to the memory, and arrays for shape and strides.
template <class Managed>
struct Exported {
  Managed managed;
  Tensor tensor;
  std::int64_t shape[max_rank], strides[max_rank];
};

template <class Managed>
Managed* exported(const Tensor& tensor) {
  auto* e = new Exported<Managed>{};
  e->tensor = tensor;
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    e->shape[axis] = tensor.shape()[axis];
    e->strides[axis] = tensor.strides()[axis];
  }
  DLTensor& t = e->managed.dl_tensor;
  t.data = tensor.count() == 0 ? nullptr : tensor.data();
  t.device.device_type = static_cast<decltype(t.device.device_type)>(tensor.view().memory() == Memory::gpu ? kCuda : kHost);
  t.device.device_id = tensor.view().gpu();
  t.ndim = tensor.rank();
  const TypeRow row = kTypes[static_cast<std::size_t>(tensor.type())];
  t.dtype = {row.code, row.bits, 1};
  t.shape = e->shape;
  t.strides = e->strides;
  t.byte_offset = 0;
  e->managed.manager_ctx = e;
  e->managed.deleter = [](Managed* self) { delete static_cast<Exported<Managed>*>(self->manager_ctx); };
  return &e->managed;
}

}  // namespace

TensorView::TensorView(const DLTensor& tensor, bool read_only) : TensorView(view_from(tensor, read_only)) {}

Tensor Tensor::from_dlpack(DLManagedTensorVersioned* tensor) {
  if (!tensor) throw Error(Code::invalid_argument, "error: from_dlpack(null)");
  if (tensor->version.major != 1)
    throw Error(Code::unsupported, fmt::format("error: DLPack major version {}; version 1 is understood", tensor->version.major));
  const bool read_only = (tensor->flags & DLPACK_FLAG_BITMASK_READ_ONLY) != 0;
  return wrap(TensorView(tensor->dl_tensor, read_only), [](void* p) {
    auto* t = static_cast<DLManagedTensorVersioned*>(p);
    if (t->deleter) t->deleter(t);
  }, tensor);
}

Tensor Tensor::from_dlpack(DLManagedTensor* tensor) {
  if (!tensor) throw Error(Code::invalid_argument, "error: from_dlpack(null)");
  return wrap(TensorView(tensor->dl_tensor), [](void* p) {
    auto* t = static_cast<DLManagedTensor*>(p);
    if (t->deleter) t->deleter(t);
  }, tensor);
}

DLManagedTensorVersioned* Tensor::to_dlpack() const {
  DLManagedTensorVersioned* t = exported<DLManagedTensorVersioned>(*this);
  t->version = {1, 1};
  t->flags = view_.read_only() ? DLPACK_FLAG_BITMASK_READ_ONLY : 0;
  return t;
}

DLManagedTensor* Tensor::to_dlpack_unversioned() const {
  if (view_.read_only())
    throw Error(Code::unsupported, "error: an unversioned DLPack tensor cannot say that it is read-only; use to_dlpack");
  return exported<DLManagedTensor>(*this);
}

}  // namespace v0
}  // namespace quern
