// Arrays for a person to look at: type, shape and the first and last values of each axis, aligned; and the first few
// values for JSON.
#pragma once

#include <string>

#include "tools/command/session.h"
#include "tools/npy/npy.h"

namespace quern::command {

/// "f32[2,3]"
std::string type_and_shape(DType type, const npy::Shape& shape);

/// Several lines, ending in a newline. Long axes are shown by their first and last three.
std::string preview(const npy::Array& array);

/// At most `count` values in row-major order; what JSON has no number for is a string ("nan", "inf", "-inf").
Json first_values(const npy::Array& array, std::int64_t count);

}  // namespace quern::command
