// Every kernel of examples/ at awkward sizes: around those of warps and blocks, and each one 0.
#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "tests/catch.h"
#include "tests/cuda_programs/emulated_device.h"
#include "tests/programs/programs.h"
#include "tools/fuzz/front.h"

using namespace quern;

namespace {

/// The sizes of a case that its kernel's tensors have; compile-time ones too.
std::vector<std::string> sizes_of(const test::ExampleFile& file, const fuzz::Case& which) {
  std::vector<std::string> names;
  const fuzz::Checked checked = fuzz::check_case(file.text, which);
  if (!checked.program) return names;
  for (const ir::Symbol& s : checked.program->symbols) {
    const auto setting = which.settings.find(s.name);
    if (setting == which.settings.end() || s.type == DType::boolean) continue;
    std::int64_t value = 0;
    const std::string& text = setting->second;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{}) names.push_back(s.name);
  }
  return names;
}

struct Count {
  int agreed = 0, refused = 0;
};

/// A combination of sizes that the program refuses is no fault; the first cases of all kernels run.
void agree_or_refuse(const test::ExampleFile& file, const fuzz::Case& which, Count& count) {
  const fuzz::Verdict verdict = fuzz::judge(file.text, which, test::emulated());
  // With a size of 0 there may be no index to give, and a size that is its factor has no value.
  const auto says = [&](const char* part) { return verdict.outcome == fuzz::Outcome::fault && verdict.message.find(part) != std::string::npos; };
  const bool refused = verdict.outcome == fuzz::Outcome::refused || verdict.outcome == fuzz::Outcome::invalid || says("which has 0 entries") || says("has no value");
  (refused ? count.refused : count.agreed) += 1;
  INFO(file.name << ".quern, kernel " << which.kernel << ", case " << which.text());
  INFO(fuzz::name(verdict.outcome) << ": " << verdict.message);
  CHECK((refused || verdict.outcome == fuzz::Outcome::agree));
}

template <class Function>
void for_each_kernel(Function f) {
  for (const test::ExampleFile& file : test::examples()) {
    std::set<std::string> seen;
    for (const fuzz::Case& which : file.cases)
      if (seen.insert(which.kernel).second) f(file, which);
  }
}

}  // namespace

TEST_CASE("every kernel at sizes around those of warps and blocks") {
  // Two sizes are large, the others small: a block costs milliseconds here, whatever it has to do.
  constexpr std::array<int, 3> large = {17, 33, 65};
  Count count;
  std::size_t turn = 0;
  for_each_kernel([&](const test::ExampleFile& file, fuzz::Case which) {
    const std::vector<std::string> sizes = sizes_of(file, which);
    for (std::size_t i = 0; i < sizes.size(); ++i)
      which.settings[sizes[i]] = std::to_string(i + 2 >= sizes.size() ? large[(turn + i) % large.size()] : 1 + 2 * (i % 2));
    ++turn;
    agree_or_refuse(file, which, count);
  });
  INFO(count.agreed << " agreed, " << count.refused << " refused");
  CHECK(count.agreed > 3 * count.refused);
}

TEST_CASE("every kernel with each of its sizes 0") {
  Count count;
  for_each_kernel([&](const test::ExampleFile& file, fuzz::Case which) {
    const std::vector<std::string> sizes = sizes_of(file, which);
    for (std::size_t i = 0; i < sizes.size(); ++i) which.settings[sizes[i]] = std::to_string(3 + i);
    for (const std::string& zero : sizes) {
      fuzz::Case one = which;
      one.settings[zero] = std::string(1, '0');
      agree_or_refuse(file, one, count);
    }
  });
  INFO(count.agreed << " agreed, " << count.refused << " refused");
  CHECK(count.agreed > 2 * count.refused);
}
