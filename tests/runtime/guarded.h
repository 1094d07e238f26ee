// Memory for tensors with nothing mapped before or after it: a kernel that reads or writes one byte outside dies there
// and then. Usable by every suite. Elements end at the upper guard (`at_end`) or begin at the lower one.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

#include <quern/tensor.h>

namespace quern_test {

class Guarded {
 public:
  Guarded(quern::ElementType type, quern::Sizes shape, bool at_end = true, unsigned char poison = 0xff) : type_(type), shape_(shape) {
    std::size_t count = 1;
    for (std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    bytes_ = count * quern::size_of(type);
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    inside_ = (bytes_ + page - 1) / page * page;
    if (inside_ == 0) inside_ = page;
    mapped_ = inside_ + 2 * page;
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + page, inside_, PROT_READ | PROT_WRITE) != 0) throw std::runtime_error("mmap");
    std::memset(base_ + page, poison, inside_);
    data_ = at_end ? base_ + page + inside_ - bytes_ : base_ + page;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }

  /// Fills with the elements of a dense tensor of the same shape.
  Guarded& fill(const quern::Tensor& from) {
    const quern::Tensor dense = from.clone();
    if (bytes_) std::memcpy(data_, dense.data(), bytes_);
    return *this;
  }
  void* data() const { return data_; }
  quern::TensorView view() const { return quern::TensorView(data_, type_, shape_); }
  quern::TensorView input() const { return quern::TensorView(static_cast<const void*>(data_), type_, shape_); }
  template <class T>
  T* as() const { return static_cast<T*>(data_); }

 private:
  quern::ElementType type_;
  quern::Sizes shape_;
  std::size_t bytes_ = 0, inside_ = 0, mapped_ = 0;
  char* base_ = nullptr;
  void* data_ = nullptr;
};

}  // namespace quern_test
