// What can go wrong, as one exception type or as a returned value. A message names the place, the parameter and the sizes,
// and says what to change.
#pragma once

#include <exception>
#include <source_location>
#include <string>
#include <utility>
#include <variant>

#include <quern/export.h>

namespace quern {
inline namespace v0 {

enum class Code : int {
  ok = 0,
  invalid_program = 1,    // the text does not check; the message holds every diagnostic
  invalid_argument = 2,   // a wrong name, a missing argument, a null pointer, an option that does not exist
  type_mismatch = 3,      // an element type other than the declared one
  shape_mismatch = 4,     // ranks, sizes or a `require` that do not hold
  overlap = 5,            // an output shares memory with another argument where that is not safe
  overflow = 6,           // a product of sizes or strides beyond 64 bits
  data = 7,               // the data broke a declared fact: an index out of range, an order that does not hold
  unsupported = 8,        // not on this device or in this build
  out_of_memory = 9,
  not_prepared = 10,      // `launch` met a signature that `prepare` has not seen
  io = 11,                // a file could not be read
  internal = 12,          // a fault of the library
  device_lost = 13,       // a GPU failed (an illegal address); this process cannot use it any more
};

class QUERN_API Error : public std::exception {
 public:
  Error(Code code, std::string message, std::source_location where = {});
  Error(const Error&);
  Error& operator=(const Error&);
  ~Error() override;

  Code code() const noexcept { return code_; }
  /// The whole message, opened by the C++ file and line of the program's string.
  const char* what() const noexcept override { return text_.c_str(); }
  /// The message alone.
  const std::string& message() const noexcept { return message_; }
  const std::source_location& where() const noexcept { return where_; }

 private:
  Code code_;
  std::string message_;
  std::string text_;
  std::source_location where_;
};

/// The name of a code as it is written here: "shape_mismatch".
QUERN_API const char* name(Code code) noexcept;

/// A value or an Error, for those who do not use exceptions. `value()` throws the error when there is one.
template <class T>
class Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }
  T& value() & { return ok() ? *std::get_if<0>(&state_) : throw *std::get_if<1>(&state_); }
  T&& value() && { return ok() ? std::move(*std::get_if<0>(&state_)) : throw *std::get_if<1>(&state_); }
  const T& value() const& { return ok() ? *std::get_if<0>(&state_) : throw *std::get_if<1>(&state_); }
  T& operator*() noexcept { return *std::get_if<0>(&state_); }
  const T& operator*() const noexcept { return *std::get_if<0>(&state_); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }
  const Error& error() const noexcept { return *std::get_if<1>(&state_); }
  Code code() const noexcept { return ok() ? Code::ok : error().code(); }

 private:
  std::variant<T, Error> state_;
};

/// Success or an Error.
class Status {
 public:
  Status() = default;
  Status(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }
  const Error& error() const noexcept { return *std::get_if<1>(&state_); }
  Code code() const noexcept { return ok() ? Code::ok : error().code(); }

 private:
  std::variant<std::monostate, Error> state_;
};

}  // namespace v0
}  // namespace quern
