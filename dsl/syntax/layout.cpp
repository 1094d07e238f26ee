// Greedy line breaking at the loosest possible place.
#include "dsl/syntax/layout.h"

#include <algorithm>
#include <vector>

namespace quern::dsl::layout {
namespace {

struct Piece {
  std::string_view text;
  int tightness;  // of the break in front of it
};

std::vector<Piece> pieces(std::string_view text) {
  std::vector<Piece> result;
  int tightness = 0;
  while (true) {
    const std::size_t at = text.find(kBreak);
    result.push_back({text.substr(0, at), tightness});
    if (at == std::string_view::npos || at + 1 >= text.size()) return result;
    tightness = static_cast<unsigned char>(text[at + 1]);
    text.remove_prefix(at + 2);
  }
}

}  // namespace

std::string possible_break(int depth, int strength) {
  if (depth <= 0) return {};
  return {kBreak, static_cast<char>(static_cast<unsigned char>(std::min(depth, 31) * 8 + strength))};
}

std::string without_breaks(std::string_view text) {
  std::string out;
  for (const Piece& piece : pieces(text)) out += piece.text;
  return out;
}

std::string break_lines(std::string_view text, std::size_t indent) {
  const std::vector<Piece> all = pieces(text);
  std::string out(indent, ' ');
  std::size_t width = indent;
  std::size_t first = 0;
  while (true) {
    std::size_t rest = 0;
    for (std::size_t i = first; i < all.size(); ++i) rest += all[i].text.size();
    if (width + rest <= kWidth || first + 1 == all.size()) {
      for (std::size_t i = first; i < all.size(); ++i) out += all[i].text;
      return out;
    }
    // The best break among those whose line still fits; the first one when none does.
    std::size_t best = first + 1;
    std::size_t end = width + all[first].text.size();
    for (std::size_t i = first + 1; i < all.size() && end <= kWidth; ++i) {
      if (all[i].tightness <= all[best].tightness) best = i;
      end += all[i].text.size();
    }
    for (std::size_t i = first; i < best; ++i) out += all[i].text;
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += '\n';
    width = indent + 4;
    out.append(width, ' ');
    first = best;
  }
}

}  // namespace quern::dsl::layout
