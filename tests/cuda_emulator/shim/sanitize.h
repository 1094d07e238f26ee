// What the compiler's checks of array bounds and of alignment call when they fail: the launch ends with the line.
#pragma once

namespace quern_emulated {

struct Place {
  const char* file;
  unsigned line, column;
};
struct Type {
  unsigned short kind, info;
  char name[1];
};
struct BadIndex {
  Place place;
  const Type* array;
};
struct BadAddress {
  Place place;
  const Type* type;
  unsigned char log_alignment, kind;
};

/// Message without a library: pieces one after another.
struct Message {
  char text[256];
  unsigned length = 0;
  Message& add(const char* s) {
    while (*s && length + 1 < sizeof text) text[length++] = *s++;
    text[length] = 0;
    return *this;
  }
  Message& add(long n) {
    char digits[24];
    int i = 23;
    digits[i] = 0;
    const bool minus = n < 0;
    unsigned long m = minus ? 0ul - static_cast<unsigned long>(n) : static_cast<unsigned long>(n);
    do digits[--i] = static_cast<char>('0' + m % 10);
    while (m /= 10);
    if (minus) digits[--i] = '-';
    return add(digits + i);
  }
};

}  // namespace quern_emulated

extern "C" {
inline __attribute__((used, visibility("hidden"))) void __ubsan_handle_out_of_bounds_abort(quern_emulated::BadIndex* data, unsigned long index) {
  quern_emulated::Message m;
  m.add("index ").add(static_cast<long>(index)).add(" is outside of ").add(data->array->name);
  quern_emulated::fail(m.text, static_cast<int>(data->place.line));
}
inline __attribute__((used, visibility("hidden"))) void __ubsan_handle_type_mismatch_v1_abort(quern_emulated::BadAddress* data, unsigned long address) {
  quern_emulated::Message m;
  m.add("an address that is ").add(static_cast<long>(address % (1ul << data->log_alignment))).add(" beyond a multiple of ");
  m.add(1l << data->log_alignment).add(" bytes is used as ").add(data->type->name);
  quern_emulated::fail(m.text, static_cast<int>(data->place.line));
}
}
