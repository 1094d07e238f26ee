// Numbers and texts to bytes and back, for what is kept on disk. A reader never goes beyond its bytes: it notes the fault and
// gives zeros from there on.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace quern::runtime {

class ByteWriter {
 public:
  void number(std::int64_t n) {
    for (int shift = 0; shift < 64; shift += 8) bytes_ += static_cast<char>(static_cast<std::uint64_t>(n) >> shift);
  }
  void text(std::string_view t) {
    number(static_cast<std::int64_t>(t.size()));
    bytes_.append(t);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  std::int64_t number() {
    if (bytes_.size() < 8) return fail();
    std::uint64_t n = 0;
    for (int i = 7; i >= 0; --i) n = n << 8 | static_cast<unsigned char>(bytes_[static_cast<std::size_t>(i)]);
    bytes_.remove_prefix(8);
    return static_cast<std::int64_t>(n);
  }
  /// In [0, most).
  std::size_t count(std::size_t most) {
    const std::int64_t n = number();
    if (n < 0 || static_cast<std::uint64_t>(n) >= most) return static_cast<std::size_t>(fail());
    return static_cast<std::size_t>(n);
  }
  std::string_view text() {
    const std::size_t size = count(bytes_.size() + 1);
    if (failed_) return {};
    const std::string_view t = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return t;
  }
  /// All was there and nothing is left.
  bool complete() const { return !failed_ && bytes_.empty(); }
  bool failed() const { return failed_; }

 private:
  std::int64_t fail() {
    failed_ = true;
    bytes_ = {};
    return 0;
  }
  std::string_view bytes_;
  bool failed_ = false;
};

}  // namespace quern::runtime
