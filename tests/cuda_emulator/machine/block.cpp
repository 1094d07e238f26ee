// The meeting places of a block, and what is said when somebody does not come.
#include "tests/cuda_emulator/machine/block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "dsl/ir/dtype.h"

namespace quern::emulator {

using quern_emulated::Barrier;
using quern_emulated::Execute;
using quern_emulated::Machine;

Block::Block(int threads_of_block, Order order, std::uint64_t seed, const std::vector<std::string>& lines)
    : count_(threads_of_block),
      order_(order),
      random_(seed * 2 + 1),
      lines_(lines),
      stacks_(static_cast<std::size_t>(threads_of_block)),
      threads_(static_cast<std::size_t>(threads_of_block)),
      ready_(static_cast<std::size_t>(threads_of_block + 63) / 64),
      mbarriers_(*this),
      boxes_(*this),
      products_(*this, (threads_of_block + 31) / 32) {
  block_size = {static_cast<unsigned>(threads_of_block), 1, 1};
  wait = [](Machine* m, const char* name, int id, int threads, int predicate, int line) {
    return of(m)->wait_at(name, id, threads, predicate, line, true);
  };
  arrive = [](Machine* m, int id, int threads, int line) { of(m)->wait_at("bar.arrive", id, threads, 0, line, false); };
  meet = [](Machine* m, const char* name, unsigned mask, void* mine, Execute execute, int line) {
    of(m)->meet_lanes(name, mask, mine, execute, line);
  };
  lanes_alive = [](Machine* m) {
    Block& b = *of(m);
    const int first = b.running_ / 32 * 32;
    unsigned mask = 0;
    for (int t = first; t < first + 32 && t < b.count_; ++t)
      if (b.threads_[static_cast<std::size_t>(t)].state != State::ended) mask |= 1u << (t - first);
    return mask;
  };
  yield = [](Machine* m, int) { of(m)->give_way(); };
  fail = [](Machine* m, const char* what, int line) { of(m)->stop(what, line); };
  copy_issue = [](Machine* m, void* to, const void* from, int bytes, int) {
    Block& b = *of(m);
    std::memset(to, 0xff, 16);  // until it has been waited for there is nothing to read here
    b.threads_[static_cast<std::size_t>(b.running_)].copies.back().push_back({to, from, bytes});
  };
  copy_commit = [](Machine* m) {
    Block& b = *of(m);
    b.threads_[static_cast<std::size_t>(b.running_)].copies.emplace_back();
  };
  copy_wait = [](Machine* m, int groups_left) { of(m)->copy_wait_for(groups_left); };
  mbarrier_init = [](Machine* m, unsigned barrier, unsigned count, int line) { of(m)->require(of(m)->mbarriers_.init(barrier, count), line); };
  mbarrier_arrive = [](Machine* m, unsigned barrier, unsigned bytes, int line) {
    bool ended = false;
    of(m)->require(of(m)->mbarriers_.arrive(barrier, bytes, &ended), line);
    if (ended) of(m)->wake(barrier);
  };
  mbarrier_wait = [](Machine* m, unsigned barrier, unsigned parity, int line) { of(m)->wait_at_mbarrier(barrier, parity, line); };
  box_issue = [](Machine* m, const quern_emulated::BoxCopy& copy, int line) {
    bool ignored = false;
    of(m)->require(of(m)->mbarriers_.passed(copy.barrier, 0, &ignored), line);
    of(m)->require(of(m)->boxes_.issue(copy), line);
  };
  product_issue = [](Machine* m, const quern_emulated::GroupProduct& p, int line) { of(m)->require(of(m)->products_.issue(of(m)->running_ / 32, p, line), line); };
  product_commit = [](Machine* m) { of(m)->products_.commit(of(m)->running_ / 32); };
  product_wait = [](Machine* m, int groups_left, int line) { of(m)->require(of(m)->products_.wait(of(m)->running_ / 32, groups_left), line); };
  load = [](int type, const void* at) { return load_as_f64(static_cast<DType>(type), at); };
  store = [](int type, void* at, double value) { store_from_f64(static_cast<DType>(type), at, value); };
}

void Block::enter(void* self) {
  Fiber::has_entered();
  Block& b = *static_cast<Block*>(self);
  b.come_back();
  b.kernel_(b.words_);
  b.threads_[static_cast<std::size_t>(b.running_)].state = State::ended;
  b.set_ready(b.running_, false);
  b.give_way();
}

std::string Block::run(std::uint32_t index, void (*kernel)(const void*), const void* words) {
  kernel_ = kernel;
  words_ = words;
  block = {index, 0, 0};
  error_.clear();
  scheduler_.is_thread();
  for (NamedBarrier& b : barriers_) b = {};
  mbarriers_.clear();
  boxes_.clear();
  products_.clear();
  for (int t = 0; t < count_; ++t) {
    Thread& thread_of = threads_[static_cast<std::size_t>(t)];
    thread_of.state = State::ready;
    thread_of.copies.assign(1, {});
    thread_of.fiber.start(stacks_.top(static_cast<std::size_t>(t)), &enter, this);
    set_ready(t, true);
  }
  running_ = next();
  Fiber::switch_to(scheduler_, threads_[static_cast<std::size_t>(running_)].fiber);
  // Back here: everybody has ended, nobody can go on, or something is wrong.
  if (!error_.empty()) return error_;
  bool all_ended = true;
  for (const Thread& t : threads_) all_ended &= t.state == State::ended;
  if (!all_ended) return fmt::format("block {}: nobody can go on: {}", block.x, who_waits_where());
  const std::string rest = left();
  return rest.empty() ? rest : fmt::format("block {}: {}", block.x, rest);
}

std::string Block::left() const {
  for (int id = 0; id < 16; ++id)
    if (barriers_[id].arrived > 0) return fmt::format("it ends with {} of {} threads arrived at barrier {}", barriers_[id].arrived, barriers_[id].expected, id);
  if (boxes_.count() > 0) return fmt::format("it ends with {} tensor copies under way", boxes_.count());
  const std::string bytes = mbarriers_.left();
  return bytes.empty() ? products_.left() : bytes;
}

void Block::set_ready(int t, bool ready) {
  std::uint64_t& word = ready_[static_cast<std::size_t>(t) / 64];
  const std::uint64_t bit = std::uint64_t{1} << (t % 64);
  word = ready ? word | bit : word & ~bit;
}

std::uint64_t Block::random() {
  random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
  return random_;
}

int Block::next_after_copies() {
  // As late as can be, in the random order also earlier; not when nobody is left to wait for them.
  if (boxes_.count() > 0 && std::all_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state == State::ended; })) return -1;
  const bool early = order_ == Order::random && boxes_.count() > 0 && random() % 8 == 0;
  int to = early ? -1 : next();
  while (to < 0 && boxes_.count() > 0) {
    const std::size_t last = boxes_.count() - 1;
    const TensorCopies::Arrival came = boxes_.deliver(order_ == Order::ascending ? 0 : order_ == Order::descending ? last : random() % (last + 1));
    bool ended = false;
    require(mbarriers_.deliver(came.barrier, came.bytes, &ended), 0);
    if (ended) wake(came.barrier);
    to = next();
  }
  return to;
}

int Block::next() {
  const int words = static_cast<int>(ready_.size());
  if (order_ == Order::descending) {
    for (int w = words - 1; w >= 0; --w)
      if (const std::uint64_t bits = ready_[static_cast<std::size_t>(w)]) return w * 64 + 63 - std::countl_zero(bits);
    return -1;
  }
  int from = 0;
  if (order_ == Order::random) {
    from = static_cast<int>(random() % static_cast<std::uint64_t>(count_));
  }
  for (int k = 0; k <= words; ++k) {
    const int w = (from / 64 + k) % words;
    std::uint64_t bits = ready_[static_cast<std::size_t>(w)];
    if (k == 0) bits &= ~std::uint64_t{0} << (from % 64);
    if (bits) return w * 64 + std::countr_zero(bits);
  }
  return -1;
}

void Block::give_way() {
  Fiber& from = threads_[static_cast<std::size_t>(running_)].fiber;
  const int to = next_after_copies();
  const int self = running_;
  if (to != self) {
    running_ = to;
    Fiber::switch_to(from, to < 0 ? scheduler_ : threads_[static_cast<std::size_t>(to)].fiber);
  }
  come_back();
}

void Block::come_back() {
  thread.x = static_cast<unsigned>(running_);
  lane = static_cast<unsigned>(running_) % 32;
  ++clock;
}

void Block::blame(const std::string& what, int line) {
  error_ = fmt::format("block {}, thread {}{}: {}{}", block.x, running_, line > 0 ? fmt::format(", line {}", line) : "", what, text_of(line));
}

void Block::stop(std::string&& what, int line) {
  {
    const std::string taken = std::move(what);  // this stack is left for good, nothing on it is destroyed
    blame(taken, line);
  }
  Fiber lost;
  Fiber::switch_to(lost, scheduler_);
  __builtin_unreachable();
}

void Block::require(std::string&& wrong, int line) {
  if (!wrong.empty()) stop(std::move(wrong), line);
}

void Block::wait_at_mbarrier(unsigned barrier, unsigned parity, int line) {
  for (;;) {
    bool passed = false;
    require(mbarriers_.passed(barrier, parity, &passed), line);
    if (passed) return;
    Thread& self = threads_[static_cast<std::size_t>(running_)];
    self.state = State::at_mbarrier;
    self.what = "quern_mbarrier_wait";
    self.line = line;
    self.mbarrier = barrier;
    self.parity = parity;
    set_ready(running_, false);
    give_way();
  }
}

void Block::wake(unsigned barrier) {
  for (int t = 0; t < count_; ++t) {
    Thread& other = threads_[static_cast<std::size_t>(t)];
    if (other.state != State::at_mbarrier || other.mbarrier != barrier) continue;
    other.state = State::ready;
    set_ready(t, true);
  }
}

Barrier Block::wait_at(const char* name, int id, int wanted, int predicate, int line, bool stay) {
  Thread& self = threads_[static_cast<std::size_t>(running_)];
  if (id < 0 || id > 15) stop(fmt::format("{}: there is no barrier {}, only 0 to 15", name, id), line);
  if (wanted < 0 || wanted % 32 != 0) stop(fmt::format("{}: {} threads are not whole warps", name, wanted), line);
  if (wanted > count_) stop(fmt::format("{}: waits for {} threads, the block has {}", name, wanted, count_), line);
  const int expected = wanted == 0 ? count_ : wanted;
  NamedBarrier& barrier = barriers_[id];
  if (barrier.arrived == 0) barrier = {0, expected, line, 0};
  if (barrier.expected != expected)
    stop(fmt::format("{}: threads wait at barrier {} for {} and for {} threads", name, id, barrier.expected, expected), line);
  if (wanted == 0 && barrier.line != line) {
    std::string message = fmt::format("{}: others wait at line {}, where not all threads pass:{}", name, barrier.line, text_of(barrier.line));
    stop(std::move(message), line);
  }
  barrier.count += predicate != 0;
  const int id_of_self = running_;
  if (stay) {
    self.state = State::at_barrier;
    self.what = name;
    self.line = line;
    self.barrier = id;
    set_ready(id_of_self, false);
  }
  if (++barrier.arrived == expected) {
    for (int t = 0; t < count_; ++t) {
      Thread& other = threads_[static_cast<std::size_t>(t)];
      if (other.state != State::at_barrier || other.barrier != id) continue;
      other.state = State::ready;
      other.result = {barrier.count, expected};
      set_ready(t, true);
    }
    barrier = {};
  }
  if (!stay) return {};
  give_way();
  return self.result;
}

void Block::meet_lanes(const char* name, unsigned mask, void* mine, Execute execute, int line) {
  const int first = running_ / 32 * 32;
  const unsigned bit = 1u << (running_ - first);
  if (!(mask & bit)) stop(fmt::format("{}: the lane is not in its own mask {:#x}", name, mask), line);
  Thread& self = threads_[static_cast<std::size_t>(running_)];
  self.state = State::at_meeting;
  self.what = name;
  self.line = line;
  self.mask = mask;
  self.mine = mine;
  self.execute = execute;
  set_ready(running_, false);
  bool complete = true;
  void* lanes[32] = {};
  for (int i = 0; i < 32 && complete; ++i) {
    if (!(mask >> i & 1)) continue;
    if (first + i >= count_) {
      complete = false;
      break;
    }
    const Thread& other = threads_[static_cast<std::size_t>(first + i)];
    complete = other.state == State::at_meeting && other.mask == mask && other.execute == execute;
    if (complete && other.line != line) {
      std::string message = fmt::format("{}: lane {} of the same warp is at line {}:{}", name, i, other.line, text_of(other.line));
      stop(std::move(message), line);
    }
    lanes[i] = other.mine;
  }
  if (complete) {
    execute(lanes, mask);
    for (int i = 0; i < 32; ++i)
      if (mask >> i & 1) {
        threads_[static_cast<std::size_t>(first + i)].state = State::ready;
        set_ready(first + i, true);
      }
  }
  give_way();
}

void Block::copy_wait_for(int groups_left) {
  auto& groups = threads_[static_cast<std::size_t>(running_)].copies;
  const auto committed = static_cast<int>(groups.size()) - 1;
  for (int g = 0; g < committed - groups_left; ++g)
    for (const Copy& c : groups[static_cast<std::size_t>(g)]) {
      std::memcpy(c.to, c.from, static_cast<std::size_t>(c.bytes));
      std::memset(static_cast<char*>(c.to) + c.bytes, 0, static_cast<std::size_t>(16 - c.bytes));
    }
  if (committed > groups_left) groups.erase(groups.begin(), groups.begin() + (committed - groups_left));
}

std::string Block::text_of(int line) const {
  if (line < 1 || static_cast<std::size_t>(line) > lines_.size()) return {};
  const std::string& text = lines_[static_cast<std::size_t>(line) - 1];
  const std::size_t start = text.find_first_not_of(' ');
  return start == std::string::npos ? "" : "\n    " + text.substr(start);
}

std::string Block::who_waits_where() const {
  std::map<std::string, std::vector<int>> places;
  for (int t = 0; t < count_; ++t) {
    const Thread& thread_of = threads_[static_cast<std::size_t>(t)];
    std::string place;
    switch (thread_of.state) {
      case State::ended: place = "have ended"; break;
      case State::ready: place = "can go on"; break;
      case State::at_barrier:
        place = fmt::format("wait at line {} ({}, barrier {}){}", thread_of.line, thread_of.what, thread_of.barrier, text_of(thread_of.line));
        break;
      case State::at_mbarrier:
        place = fmt::format("wait at line {} for the phase of parity {} of {} ({}){}", thread_of.line, thread_of.parity, mbarriers_.name(thread_of.mbarrier),
                            mbarriers_.state(thread_of.mbarrier), text_of(thread_of.line));
        break;
      case State::at_meeting:
        place = fmt::format("wait at line {} ({}) for the lanes {:#x}{}", thread_of.line, thread_of.what, thread_of.mask, text_of(thread_of.line));
        break;
    }
    places[place].push_back(t);
  }
  std::string out;
  for (const auto& [place, who] : places) {
    out += out.empty() ? "\n  threads " : "\n  threads ";
    for (std::size_t i = 0, shown = 0; i < who.size(); ++shown) {
      std::size_t j = i;
      while (j + 1 < who.size() && who[j + 1] == who[j] + 1) ++j;
      if (shown == 12) {
        out += ", ...";
        break;
      }
      out += shown ? ", " : "";
      out += j > i ? fmt::format("{}-{}", who[i], who[j]) : fmt::format("{}", who[i]);
      i = j + 1;
    }
    out += " " + place;
  }
  return out;
}

}  // namespace quern::emulator
