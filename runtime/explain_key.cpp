// See explain_key.h.
#include "runtime/explain_key.h"

#include <algorithm>

#include <fmt/format.h>

#include "dsl/ir/print_program.h"
#ifdef QUERN_CUDA
#include "runtime/cuda/gpu_image.h"
#endif
#include "runtime/disk/entry.h"
#include "runtime/disk/process_store.h"
#include "runtime/lowered.h"
#include "runtime/signature.h"
#include "runtime/tuned.h"

namespace quern::runtime {
namespace {

std::string shown(const SignatureField& field) {
  return field.name == "program" ? fmt::format("{} ({} bytes)", disk::digest_of(field.value), field.value.size()) : field.value;
}

/// Where two keys differ; one line a field.
std::string differences(const std::vector<SignatureField>& mine, const std::vector<SignatureField>& other, std::size_t* count) {
  std::string text;
  *count = 0;
  const auto differ = [&](const std::string& name, const std::string& here, const std::string& there) {
    ++*count;
    text += fmt::format("    {}\n      here   {}\n      there  {}\n", name, here, there);
  };
  for (const SignatureField& f : mine) {
    const auto same = std::find_if(other.begin(), other.end(), [&](const SignatureField& o) { return o.name == f.name; });
    if (same == other.end()) differ(f.name, shown(f), "no such field");
    else if (same->value != f.value) differ(f.name, shown(f), shown(*same));
  }
  for (const SignatureField& f : other)
    if (std::none_of(mine.begin(), mine.end(), [&](const SignatureField& m) { return m.name == f.name; })) differ(f.name, "no such field", shown(f));
  return text;
}

/// The entry that differs in the fewest fields, one of the same program before all others.
std::string nearest(disk::Store& store, const Signature& signature) {
  std::string best, name;
  std::size_t fewest = ~std::size_t{0}, entries = 0;
  for (const disk::Listed& listed : store.list()) {
    ++entries;
    std::size_t count = 0;
    const std::vector<SignatureField> fields = read_signature(listed.key);
    const std::string text = differences(signature.fields, fields, &count);
    const bool other_program = fields.empty() || fields.back().name != "program" || fields.back().value != signature.fields.back().value;
    if (other_program) count += 1000;
    if (count >= fewest) continue;
    fewest = count;
    best = text;
    name = fmt::format("{} (made for kernel '{}')", listed.digest, listed.name);
  }
  if (entries == 0) return "  the cache is empty\n";
  if (fewest >= 1000) return fmt::format("  none of its {} entries is of this program\n", entries);
  return fmt::format("  entry {} is of this program and differs in\n{}", name, best);
}

/// Why an entry that is there is not used, "" = it is; who made it into `maker` where the entry says so.
std::string unused([[maybe_unused]] Device device, [[maybe_unused]] const ir::Program& settled, [[maybe_unused]] const disk::Found& found,
                   [[maybe_unused]] bool frozen, [[maybe_unused]] std::string* maker) {
#ifdef QUERN_CUDA
  if (device != Device::cuda) return {};
  std::string error;
  const auto image = gpu::unpack(found.payload, Binding(settled), &error);
  if (!image) return error;
  const gpu::NvrtcFile& by = image->compiled.made_by;
  if (!by.path.empty()) *maker = fmt::format(", by NVRTC {}.{} ({})", by.major, by.minor, by.path);
  return frozen ? "" : gpu::outdated(by);
#else
  return {};
#endif
}

}  // namespace

std::string explain_key(Device device, const CompileRequest& asked) {
  if (device == Device::interpreter) return "the interpreter compiles nothing: there is no key\n";
  Options chosen;
  const CompileRequest request = as_chosen(device, asked, chosen);
  const std::shared_ptr<const ir::Program> settled = settled_program(request);
  const Signature signature = signature_of(device, *settled, request);
  const std::string key = signature.bytes();
  std::string text = fmt::format("key {} of kernel {}\n", disk::digest_of(key), settled->name);
  for (const SignatureField& field : signature.fields) text += fmt::format("  {:<16} {}\n", field.name, shown(field));
  if (const std::optional<Choice> choice = choice_for(device, asked))
    text += fmt::format("  passes are off by choice of `quern tune`: {:.2f} us for {:.2f} us, {}\n", choice->seconds * 1e6, choice->as_it_is * 1e6, choice->measured);
  text += "  which is, with the names of this text\n";
  const std::string program = ir::print_program(*settled);
  for (std::size_t at = 0; at < program.size();) {
    const std::size_t end = std::min(program.find('\n', at), program.size());
    text += fmt::format("    {}\n", program.substr(at, end - at));
    at = end + 1;
  }
  const disk::ProcessStore& process = disk::process_store();
  if (!process.store) return text + fmt::format("no cache: {}\n", process.problem.empty() ? "it is off" : process.problem);
  const disk::Found found = process.store->read(key);
  switch (found.how) {
    case disk::Found::How::hit: {
      std::string maker;
      const std::string why_not = unused(device, *settled, found, process.mode == CacheMode::frozen, &maker);
      if (!why_not.empty()) return text + fmt::format("miss: the entry is left aside: {}\n", why_not);
      return text + fmt::format("hit: {} bytes in '{}', made for kernel '{}'{}\n", found.payload.size(), process.store->folder(), found.name, maker);
    }
    case disk::Found::How::none: return text + fmt::format("miss: no such entry in '{}'{}\n{}", process.store->folder(), found.why.empty() ? "" : "; " + found.why, nearest(*process.store, signature));
    case disk::Found::How::damaged: return text + fmt::format("miss: the entry was damaged ({}) and is gone\n", found.why);
    default: return text + fmt::format("miss: {}\n", found.why.empty() ? process.store->warning() : found.why);
  }
}

}  // namespace quern::runtime
