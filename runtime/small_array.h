// An array that lives on the stack up to N elements and on the heap beyond: a call allocates nothing for ordinary programs.
#pragma once

#include <cstddef>
#include <memory>

namespace quern::runtime {

template <class T, std::size_t N>
class SmallArray {
 public:
  SmallArray() noexcept {}
  explicit SmallArray(std::size_t size) { resize(size); }
  SmallArray(const SmallArray&) = delete;
  SmallArray& operator=(const SmallArray&) = delete;

  /// Elements are value-initialised; called once.
  void resize(std::size_t size) {
    size_ = size;
    if (size > N) heap_ = std::make_unique<T[]>(size);
    for (std::size_t i = 0; i < size; ++i) data()[i] = T{};
  }
  std::size_t size() const { return size_; }
  T* data() { return heap_ ? heap_.get() : inline_; }
  const T* data() const { return heap_ ? heap_.get() : inline_; }
  T& operator[](std::size_t i) { return data()[i]; }
  const T& operator[](std::size_t i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

 private:
  std::size_t size_ = 0;
  std::unique_ptr<T[]> heap_;
  T inline_[N];
};

}  // namespace quern::runtime
