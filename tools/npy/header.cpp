// The header of a .npy file: magic, version, length, then a Python dictionary with exactly the keys 'descr',
// 'fortran_order' and 'shape'. A reader of just that dictionary: literals, one tuple of integers, trailing commas.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <limits>
#include <optional>

#include "tools/npy/npy.h"

namespace quern::npy {
namespace {

constexpr std::size_t kMaxRank = 32;
constexpr std::size_t kMaxHeader = 1 << 20;

class Dictionary {
 public:
  explicit Dictionary(std::string_view text) : text_(text) {}

  Header read() {
    Header header;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !has_descr) {
        has_descr = true;
        set_type(header);
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        header.fortran_order = boolean();
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        header.shape = shape();
      } else {
        fail(fmt::format("the key '{}' stands there {}", key,
                         key == "descr" || key == "fortran_order" || key == "shape" ? "twice" : "unexpectedly"));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    if (at_ + 1 != text_.size() || text_[at_] != '\n') fail("more text after the dictionary");
    if (!has_descr || !has_order || !has_shape) {
      fail(fmt::format("the key '{}' is missing", !has_descr ? "descr" : !has_order ? "fortran_order" : "shape"));
    }
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("damaged .npy header: {} (at byte {} of the dictionary)", what, at_));
  }
  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool accept(char c) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(fmt::format("'{}' expected", c));
  }
  bool accept_word(std::string_view word) {
    skip_spaces();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  std::string quoted() {
    skip_spaces();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) fail("a quoted name expected");
    const char quote = text_[at_++];
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos || end - at_ > 64) fail("a quoted name that does not end");
    std::string result;
    for (char c : text_.substr(at_, end - at_)) result += c >= ' ' && c <= '~' ? c : '?';
    at_ = end + 1;
    return result;
  }
  bool boolean() {
    if (accept_word("True")) return true;
    if (accept_word("False")) return false;
    fail("True or False expected");
  }
  Shape shape() {
    Shape result;
    expect('(');
    while (!accept(')')) {
      result.push_back(integer());
      if (result.size() > kMaxRank) fail(fmt::format("more than {} axes", kMaxRank));
      if (!accept(',')) {
        // Python writes a tuple of one as (3,).
        if (result.size() == 1) fail("',' expected after the only extent");
        expect(')');
        break;
      }
    }
    return result;
  }
  std::int64_t integer() {
    skip_spaces();
    const std::size_t begin = at_;
    std::int64_t value = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      if (__builtin_mul_overflow(value, std::int64_t{10}, &value) ||
          __builtin_add_overflow(value, std::int64_t{text_[at_] - '0'}, &value)) {
        fail("an extent of 2^63 or more");
      }
      ++at_;
    }
    if (at_ == begin) fail("an extent expected");
    return value;
  }
  void set_type(Header& header) {
    skip_spaces();
    if (at_ < text_.size() && text_[at_] == '[') {
      throw Error("this .npy file holds records (a structured dtype), not a plain array");
    }
    const std::string descr = quoted();
    struct Row {
      std::string_view code;
      DType type;
    };
    static constexpr Row kRows[] = {{"f8", DType::f64}, {"f4", DType::f32}, {"f2", DType::f16},
                                    {"i8", DType::i64}, {"i4", DType::i32}, {"i2", DType::i16},
                                    {"i1", DType::i8},  {"u1", DType::u8},  {"b1", DType::boolean}};
    if (descr.size() == 3) {
      for (const Row& row : kRows) {
        if (descr.substr(1) != row.code) continue;
        const bool single_byte = size_of(row.type) == 1;
        const char order = descr[0];
        if (order == '<' || order == '=' || (order == '|' && single_byte) || order == '>') {
          header.type = row.type;
          header.big_endian = order == '>' && !single_byte;
          return;
        }
      }
    }
    throw Error(fmt::format("elements of NumPy type '{}' are not supported; known are float64 float32 float16 int64 "
                            "int32 int16 int8 uint8 bool (save bf16 and fp8 as float32)",
                            descr));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Header parse_header(std::span<const std::byte> start, std::uint64_t file_size) {
  const auto byte = [&](std::size_t i) { return std::to_integer<std::uint32_t>(start[i]); };
  static constexpr char kMagic[] = "\x93NUMPY";
  if (start.size() < 10 || std::memcmp(start.data(), kMagic, 6) != 0) {
    throw Error(start.size() >= 2 && byte(0) == 'P' && byte(1) == 'K'
                    ? "this is a .npz archive; save each array to its own .npy file"
                    : "not a .npy file: it does not begin with \\x93NUMPY");
  }
  const std::uint32_t major = byte(6), minor = byte(7);
  if (major < 1 || major > 3 || minor != 0) throw Error(fmt::format("unknown .npy format {}.{}", major, minor));
  std::size_t begin = 10;
  std::size_t length = byte(8) | byte(9) << 8;
  if (major >= 2) {
    if (start.size() < 12) throw Error("the .npy file ends inside its header");
    length |= static_cast<std::size_t>(byte(10)) << 16 | static_cast<std::size_t>(byte(11)) << 24;
    begin = 12;
  }
  if (length > kMaxHeader) throw Error(fmt::format("a .npy header of {} bytes", length));
  if (length > start.size() - begin) throw Error("the .npy file ends inside its header");

  const std::string_view text(reinterpret_cast<const char*>(start.data()) + begin, length);
  Header header = Dictionary(text).read();
  header.data_begin = begin + length;
  const std::uint64_t count = static_cast<std::uint64_t>(element_count(header.shape, size_of(header.type)));
  const std::uint64_t wanted = count * size_of(header.type), present = file_size - header.data_begin;
  if (wanted != present) {
    throw Error(fmt::format("{}[{}] takes {} bytes, but {} follow the header", name(header.type),
                            fmt::join(header.shape, ", "), wanted, present));
  }
  return header;
}

}  // namespace quern::npy
