// Reads sections, places those that are loaded, relocates, protects. See load_object.h.
#include "compiler/codegen/cpu/load_object.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>

namespace quern::cpu {
namespace {

/// What is wrong with the object. Never leaves this file.
struct Damage {
  const char* what;
};

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;

std::uint64_t round_up(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

class Object {
 public:
  explicit Object(std::string_view bytes) : bytes_(bytes) {
    const auto header = at<Elf64_Ehdr>(0);
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_type != ET_REL || header.e_machine != EM_X86_64 || header.e_shentsize != sizeof(Elf64_Shdr))
      throw Damage{"not an x86-64 relocatable object"};
    for (std::uint64_t i = 0; i < header.e_shnum; ++i) sections_.push_back(at<Elf64_Shdr>(header.e_shoff, i));
    for (const Elf64_Shdr& s : sections_)
      if (s.sh_type == SHT_SYMTAB) symbols_ = &s;
    if (!symbols_ || symbols_->sh_link >= sections_.size()) throw Damage{"no symbols"};
    contents(*symbols_);
    contents(sections_[symbols_->sh_link]);
  }

  const std::vector<Elf64_Shdr>& sections() const { return sections_; }

  std::string_view contents(const Elf64_Shdr& section) const {
    if (section.sh_offset > bytes_.size() || section.sh_size > bytes_.size() - section.sh_offset) throw Damage{"a section beyond the end"};
    return bytes_.substr(section.sh_offset, section.sh_size);
  }
  std::size_t symbol_count() const { return symbols_->sh_size / sizeof(Elf64_Sym); }
  Elf64_Sym symbol(std::uint64_t i) const {
    if (i >= symbol_count()) throw Damage{"a symbol that does not exist"};
    return at<Elf64_Sym>(symbols_->sh_offset, i);
  }
  std::string_view name(const Elf64_Sym& symbol) const {
    const std::string_view names = contents(sections_[symbols_->sh_link]);
    if (symbol.st_name >= names.size()) throw Damage{"a name beyond the end"};
    const std::size_t end = names.find('\0', symbol.st_name);
    if (end == std::string_view::npos) throw Damage{"a name without an end"};
    return names.substr(symbol.st_name, end - symbol.st_name);
  }
  /// Element `i` of a table of T at byte `offset` of the file.
  template <class T>
  T at(std::uint64_t offset, std::uint64_t i = 0) const {
    T value;
    const std::uint64_t size = bytes_.size();
    if (offset > size || i > size / sizeof(T) || (i + 1) * sizeof(T) > size - offset) throw Damage{"a table beyond the end"};
    std::memcpy(&value, bytes_.data() + offset + i * sizeof(T), sizeof(T));
    return value;
  }

 private:
  std::string_view bytes_;
  std::vector<Elf64_Shdr> sections_;
  const Elf64_Shdr* symbols_ = nullptr;
};

/// Where the loaded sections stand: code first, constants from the next page on.
struct Layout {
  std::vector<std::optional<std::uint64_t>> place;  // by section
  std::uint64_t code_bytes = 0, bytes = 0;
};

Layout lay_out(const Object& object) {
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  Layout layout;
  layout.place.resize(object.sections().size());
  std::uint64_t end = 0;
  for (const bool code : {true, false}) {
    for (std::size_t i = 0; i < object.sections().size(); ++i) {
      const Elf64_Shdr& s = object.sections()[i];
      if (!(s.sh_flags & SHF_ALLOC) || s.sh_size == 0 || static_cast<bool>(s.sh_flags & SHF_EXECINSTR) != code) continue;
      if (s.sh_type == SHT_X86_64_UNWIND || s.sh_type == SHT_NOTE) continue;
      if (s.sh_flags & SHF_WRITE) throw Damage{"writable data"};
      if (s.sh_type != SHT_PROGBITS) throw Damage{"a section of a kind that is not known"};
      const std::uint64_t align = s.sh_addralign == 0 ? 1 : s.sh_addralign;
      if (align > page || (align & (align - 1)) != 0) throw Damage{"an alignment beyond a page"};
      object.contents(s);
      end = round_up(end, align);
      layout.place[i] = end;
      end += s.sh_size;
      if (end > kMostBytes) throw Damage{"more than 1 GiB of code"};
    }
    end = round_up(end, page);
    if (code) layout.code_bytes = end;
  }
  layout.bytes = end;
  return layout;
}

std::uint64_t offset_of(const Object& object, const Layout& layout, const Elf64_Sym& symbol) {
  if (symbol.st_shndx >= layout.place.size() || !layout.place[symbol.st_shndx]) throw Damage{"a symbol outside the object"};
  if (symbol.st_value > object.sections()[symbol.st_shndx].sh_size) throw Damage{"a symbol beyond its section"};
  return *layout.place[symbol.st_shndx] + symbol.st_value;
}

void relocate(const Object& object, const Layout& layout, char* memory) {
  for (const Elf64_Shdr& table : object.sections()) {
    if (table.sh_type == SHT_REL) throw Damage{"relocations of a kind that is not known"};
    if (table.sh_type != SHT_RELA) continue;
    if (table.sh_info >= layout.place.size()) throw Damage{"relocations of a section that does not exist"};
    if (!layout.place[table.sh_info]) continue;
    const std::uint64_t section = *layout.place[table.sh_info], size = object.sections()[table.sh_info].sh_size;
    object.contents(table);
    for (std::uint64_t i = 0; i < table.sh_size / sizeof(Elf64_Rela); ++i) {
      const auto r = object.at<Elf64_Rela>(table.sh_offset, i);
      const auto value = static_cast<std::int64_t>(offset_of(object, layout, object.symbol(ELF64_R_SYM(r.r_info))));
      const auto from = static_cast<std::int64_t>(section + r.r_offset);
      const auto kind = ELF64_R_TYPE(r.r_info);
      const std::uint64_t width = kind == R_X86_64_64 || kind == R_X86_64_PC64 ? 8 : 4;
      if (r.r_offset > size || size - r.r_offset < width) throw Damage{"a relocation beyond its section"};
      std::int64_t target = 0;
      if (__builtin_add_overflow(value, r.r_addend, &target)) throw Damage{"a distance beyond 64 bits"};
      switch (kind) {
        case R_X86_64_PC32:
        case R_X86_64_PLT32: {
          const std::int64_t distance = target - from;
          if (distance != static_cast<std::int32_t>(distance)) throw Damage{"a distance beyond 32 bits"};
          const auto word = static_cast<std::int32_t>(distance);
          std::memcpy(memory + from, &word, sizeof word);
          break;
        }
        case R_X86_64_PC64: {
          const std::int64_t word = target - from;
          std::memcpy(memory + from, &word, sizeof word);
          break;
        }
        case R_X86_64_64: {
          const auto word = reinterpret_cast<std::uint64_t>(memory) + static_cast<std::uint64_t>(target);
          std::memcpy(memory + from, &word, sizeof word);
          break;
        }
        default: throw Damage{"a relocation of a kind that is not known"};
      }
    }
  }
}

char* function(const Object& object, const Layout& layout, char* memory, const std::string& wanted) {
  for (std::size_t i = 0; i < object.symbol_count(); ++i) {
    const Elf64_Sym symbol = object.symbol(i);
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || object.name(symbol) != wanted) continue;
    const std::uint64_t offset = offset_of(object, layout, symbol);
    if (offset >= layout.code_bytes) throw Damage{"a function that is not code"};
    return memory + offset;
  }
  throw Damage{"a function is missing"};
}

}  // namespace

LoadedCpu::~LoadedCpu() {
  if (memory_) munmap(memory_, bytes_);
}

std::unique_ptr<LoadedCpu> load_object(std::string_view bytes, const std::string& plan_symbol, const std::vector<std::string>& run_symbols,
                                       std::string* error) {
  try {
    const Object object(bytes);
    const Layout layout = lay_out(object);
    if (layout.code_bytes == 0) throw Damage{"no code"};
    std::unique_ptr<LoadedCpu> loaded(new LoadedCpu);
    void* memory = mmap(nullptr, layout.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      *error = "no memory for code";
      return nullptr;
    }
    loaded->memory_ = memory;
    loaded->bytes_ = layout.bytes;
    char* base = static_cast<char*>(memory);
    for (std::size_t i = 0; i < layout.place.size(); ++i)
      if (layout.place[i]) {
        const std::string_view contents = object.contents(object.sections()[i]);
        std::memcpy(base + *layout.place[i], contents.data(), contents.size());
      }
    relocate(object, layout, base);
    loaded->plan_ = reinterpret_cast<PlanFunction>(function(object, layout, base, plan_symbol));
    for (const std::string& symbol : run_symbols) loaded->run_.push_back(reinterpret_cast<RunFunction>(function(object, layout, base, symbol)));
    if (mprotect(base, layout.code_bytes, PROT_READ | PROT_EXEC) != 0 ||
        (layout.bytes > layout.code_bytes && mprotect(base + layout.code_bytes, layout.bytes - layout.code_bytes, PROT_READ) != 0)) {
      *error = "the system does not let code be made executable";
      return nullptr;
    }
    return loaded;
  } catch (const Damage& damage) {
    *error = std::string("the object cannot be loaded: ") + damage.what;
    return nullptr;
  }
}

}  // namespace quern::cpu
