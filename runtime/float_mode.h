// The floating-point mode of a thread while kernels run: rounding to nearest, denormals kept, nothing trapped, whatever
// the program has set for itself. Restored when the object goes.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace quern::runtime {

class FloatMode {
 public:
#if defined(__SSE2__)
  FloatMode() : saved_(_mm_getcsr()) {
    if ((saved_ & ~kFlags) != kDefault) _mm_setcsr(kDefault | (saved_ & kFlags));
  }
  ~FloatMode() {
    if ((saved_ & ~kFlags) != kDefault) _mm_setcsr(saved_);
  }
  /// For a thread of our own: stays.
  static void set_default() { _mm_setcsr(kDefault); }

 private:
  static constexpr unsigned kFlags = 0x3f, kDefault = 0x1f80;
  unsigned saved_;
#else
  FloatMode() {}
  ~FloatMode() {}
  static void set_default() {}
#endif
 public:
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;
};

}  // namespace quern::runtime
