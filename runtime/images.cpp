// See images.h.
#include "runtime/images.h"

#include <fmt/format.h>

#include "runtime/cache.h"
#include "runtime/disk/entry.h"
#include "runtime/disk/process_store.h"

namespace quern::runtime {
namespace {

std::shared_ptr<const void> from_disk(disk::Store& store, const std::string& key, const ImageMaker& maker, bool frozen) {
  try {
    const disk::Found found = store.read(key);
    if (found.how != disk::Found::How::hit) return nullptr;
    std::string error;
    auto image = maker.load(found.payload, &error);
    if (image && (frozen || !maker.outdated || maker.outdated(image.get()).empty())) return image;
    store.forget(key);
  } catch (const std::bad_alloc&) {
    // No memory for the file: compiling may still do.
  }
  return nullptr;
}

/// Compiled, loaded and stored.
KernelCache::Made compiled(const std::string& key, const std::string& kernel, const ImageMaker& maker, const disk::ProcessStore& process) {
  const std::string bytes = maker.compile();
  std::string error;
  auto made = maker.load(bytes, &error);
  if (!made) throw Error(Code::internal, fmt::format("error: internal fault while loading kernel '{}': {}", kernel, error));
  try {
    if (process.store) process.store->write(key, kernel, bytes);
  } catch (const std::bad_alloc&) {
    // The kernel is there; only the next process has to compile again.
  }
  return {std::move(made), true};
}

}  // namespace

std::shared_ptr<const void> image_of(const Signature& signature, const std::string& kernel, const ImageMaker& maker, Source* source) {
  const std::string key = signature.bytes();
  CacheCounters uncounted;
  Source from = Source::memory;
  auto image = KernelCache::images_of_process().get(key, [&]() -> KernelCache::Made {
    const disk::ProcessStore& process = disk::process_store();
    if (process.store)
      if (auto found = from_disk(*process.store, key, maker, process.mode == CacheMode::frozen)) {
        from = Source::disk;
        return {std::move(found), false};
      }
    if (process.mode == CacheMode::frozen)
      throw Error(Code::not_prepared, fmt::format("error: kernel '{}' is not in the cache, which is frozen: no entry {} in '{}'{}", kernel, disk::digest_of(key),
                                                  process.store ? process.store->folder() : "(no folder)",
                                                  process.store && !process.store->warning().empty() ? "; " + process.store->warning() : ""));
    from = Source::compiler;
    return compiled(key, kernel, maker, process);
  }, uncounted);
  if (source) *source = from;
  return image;
}

void forget_image(const Signature& signature, const std::shared_ptr<const void>& image) {
  const std::string key = signature.bytes();
  // Somebody else's newer one stays.
  if (!KernelCache::images_of_process().forget(key, image)) return;
  if (const disk::ProcessStore& process = disk::process_store(); process.store) process.store->forget(key);
}

std::shared_ptr<const void> image_anew(const Signature& signature, const std::string& kernel, const ImageMaker& maker,
                                       const std::shared_ptr<const void>& refused, const std::string& why) {
  const disk::ProcessStore& process = disk::process_store();
  if (process.mode == CacheMode::frozen) throw Error(Code::not_prepared, why + "; it stands in the cache, which is frozen");
  forget_image(signature, refused);
  const std::string key = signature.bytes();
  CacheCounters uncounted;
  return KernelCache::images_of_process().get(key, [&] {
    auto made = compiled(key, kernel, maker, process);
    ++KernelCache::of_process().totals().compiles;
    return made;
  }, uncounted);
}

}  // namespace quern::runtime
