// Which of a view's strides code may rely on. See device.h.
#include "runtime/device.h"
#include "runtime/overlap.h"

namespace quern::runtime {

Layout layout_of(const TensorView& view) {
  if (is_dense(view)) return {true, -1};
  return {false, unit_axis(view)};
}

}  // namespace quern::runtime
