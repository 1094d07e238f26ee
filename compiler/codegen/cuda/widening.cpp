// Operand tiles of one-byte values in kernels with roles: products multiply 16-bit operands, and every e4m3 or e5m2 value
// is an f16 (and bf16) value. One warp of the loading group starts copies to places for bytes, the other three bring what
// has arrived to its operand tile with two bytes a value; what is no box they read from memory themselves.
#include <algorithm>

#include <fmt/format.h>

#include "compiler/codegen/cuda/kernel_printer.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;

namespace {

constexpr int kWideningBarrier = 14;  // the named barrier of the three warps

/// Template arguments of the prelude's functions: from e5m2 or e4m3, to bf16 or f16.
std::string forms(const Ring& r, DType to) { return fmt::format("{}, {}", r.from == DType::e5m2, to == DType::bf16); }

}  // namespace

bool KernelPrinter::widens() const {
  return std::any_of(schedule_->rings.begin(), schedule_->rings.end(), [](const Ring& r) { return r.widened(); });
}

/// A place for bytes holds pieces of so many columns: one copy each.
std::int64_t KernelPrinter::raw_columns(const Ring& r) {
  std::int64_t pieces = std::min<std::int64_t>(r.pieces, 4);
  while (r.pieces % pieces) --pieces;
  return pieces * 64;
}

void KernelPrinter::place_raw(const Ring& r, std::int64_t& raw, std::int64_t& barriers) {
  line(fmt::format("const unsigned raw_ring{0} = base + {1}, raw_full{0} = base + {2}, raw_empty{0} = base + {3};  // as it arrives, {4} stages", r.tile, raw, barriers,
                   barriers + 8 * r.raw_stages, r.raw_stages));
  raw += r.raw_bytes() * r.raw_stages;
  barriers += 16 * r.raw_stages;
  widens_operands = true;
}

/// The loading warp starts the copy of a tile.
void KernelPrinter::fill_raw(const Ring& r) {
  if (!r.copy->note.empty()) line(comment(r.copy->note));
  open("");
  scopes_.emplace_back();
  open(fmt::format("if ({})", comes_in_boxes(r)));
  open("if (thread % 128 == 0)");
  scopes_.emplace_back();
  line(fmt::format("quern_mbarrier_wait(raw_empty{0} + 8 * raw{0}, raw_phase{0} ^ 1);", r.tile));
  const std::int64_t columns = raw_columns(r);
  const std::string coordinates = box_coordinates(r, fmt::format(" + {} * i", columns));
  line(fmt::format("quern_mbarrier_expect(raw_full{0} + 8 * raw{0}, {1});", r.tile, r.raw_bytes()));
  line("#pragma unroll");
  line(fmt::format("for (int i = 0; i < {0}; ++i) quern_tensor_load(raw_ring{1} + raw{1} * {2} + i * {3}, words.maps[{4}], raw_full{1} + 8 * raw{1}{5});", r.pieces * 64 / columns,
                   r.tile, r.raw_bytes(), r.rows * columns, &r - schedule_->rings.data(), coordinates));
  scopes_.pop_back();
  close();
  line(fmt::format("if (++raw{0} == {1}) raw{0} = 0, raw_phase{0} ^= 1;", r.tile, r.raw_stages));
  close();
  scopes_.pop_back();
  close();
}

void KernelPrinter::widening_role() {
  each_fill(false, [&](const Ring& r) { if (r.widened()) widen(r); });
}

/// From the bytes of a tile to the tile.
void KernelPrinter::widen(const Ring& r) {
  const OperandTile& tile = arranged_->operands.at(r.tile);
  const DType type = program_.tensors[r.tile].type;
  constexpr int kThreads = 32 * kWideningWarps;
  if (!r.copy->note.empty()) line(comment(r.copy->note));
  open("");
  scopes_.emplace_back();
  const std::string to = fmt::format("(unsigned short*)(shared + (ring{0} - base) + stage{0} * {1})", r.tile, r.bytes());
  line(fmt::format("quern_mbarrier_wait(empty{0} + 8 * stage{0}, phase{0} ^ 1);", r.tile));
  open(fmt::format("if ({})", comes_in_boxes(r)));
  line(fmt::format("quern_mbarrier_wait(raw_full{0} + 8 * raw{0}, raw_phase{0});", r.tile));
  line(fmt::format("quern_widen_tile<{0}, {1}, {2}, {3}, {4}>({5}, shared + (raw_ring{6} - base) + raw{6} * {7}, thread % 128 - 32);", forms(r, type), r.rows, r.pieces * 64,
                   raw_columns(r), kThreads, to, r.tile, r.raw_bytes()));
  line("__syncwarp();");
  line(fmt::format("if (lane == 0) quern_mbarrier_arrive(raw_empty{0} + 8 * raw{0});", r.tile));
  line(fmt::format("if (++raw{0} == {1}) raw{0} = 0, raw_phase{0} ^= 1;", r.tile, r.raw_stages));
  close();
  open("else");
  scopes_.emplace_back();
  const Node source = pool_[copied_read(pool_, *r.copy)];
  const auto from = static_cast<TensorId>(source.payload);
  const Dim* dims[2] = {&dim_of(*r.copy, tile.dims[0]), &dim_of(*r.copy, tile.dims[1])};
  std::string limit[2];
  for (int k = 0; k < 2; ++k) {
    limit[k] = limit_text(*dims[k], k == 0 ? tile.rows : tile.columns);
    if (limit[k].empty()) limit[k] = std::to_string(k == 0 ? tile.rows : tile.columns);
  }
  const std::int64_t units = r.pieces * 8;
  line("#pragma unroll 1");
  open(fmt::format("for (int unit = thread % 128 - 32; unit < {}; unit += {})", r.rows * units, kThreads));
  scopes_.emplace_back();
  line(fmt::format("const int d{} = unit / {}, d{} = unit % {} * 8;", dims[0]->index, units, dims[1]->index, units));
  for (const Dim* d : dims) {
    line(fmt::format("const long long x{} = {} + d{};", d->index, value(d->begin), d->index));
    indices_[d->index] = fmt::format("x{}", d->index);
    local_begin_[d->index] = d->begin;
  }
  line(fmt::format("quern_widen_8<{0}>({1} + quern_swizzled({2}, d{3}, d{4}), {5} + ({6}), {7}, d{3} < {8} ? {9} - d{4} : 0);", forms(r, type), to, r.rows, dims[0]->index,
                   dims[1]->index, tensor_pointer(from), offset_text(from, source.args), stride(from, source.args.size() - 1), limit[0], limit[1]));
  for (const Dim* d : dims) forget(*d);
  scopes_.pop_back();
  close();
  scopes_.pop_back();
  close();
  line("quern_async_fence();");
  line(fmt::format("quern_barrier_sync({}, {});", kWideningBarrier, kThreads));
  line(fmt::format("if (thread % 128 == 32) quern_mbarrier_arrive(full{0} + 8 * stage{0});", r.tile));
  line(fmt::format("if (++stage{0} == {1}) stage{0} = 0, phase{0} ^= 1;", r.tile, r.stages));
  scopes_.pop_back();
  close();
}

}  // namespace quern::cuda
