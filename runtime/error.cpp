// The exception type of the public API and the names of its codes.
#include <quern/error.h>

#include <fmt/format.h>

namespace quern {
inline namespace v0 {

Error::Error(Code code, std::string message, std::source_location where)
    : code_(code), message_(std::move(message)), where_(where) {
  text_ = where.line() != 0 ? fmt::format("{}:{}: {}", where.file_name(), where.line(), message_) : message_;
}
Error::Error(const Error&) = default;
Error& Error::operator=(const Error&) = default;
Error::~Error() = default;

const char* name(Code code) noexcept {
  switch (code) {
    case Code::ok: return "ok";
    case Code::invalid_program: return "invalid_program";
    case Code::invalid_argument: return "invalid_argument";
    case Code::type_mismatch: return "type_mismatch";
    case Code::shape_mismatch: return "shape_mismatch";
    case Code::overlap: return "overlap";
    case Code::overflow: return "overflow";
    case Code::data: return "data";
    case Code::unsupported: return "unsupported";
    case Code::out_of_memory: return "out_of_memory";
    case Code::not_prepared: return "not_prepared";
    case Code::io: return "io";
    case Code::internal: return "internal";
    case Code::device_lost: return "device_lost";
  }
  return "unknown";
}

}  // namespace v0
}  // namespace quern
