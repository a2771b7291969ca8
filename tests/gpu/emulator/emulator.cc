// SPDX-License-Identifier: Apache-2.0
// Runs generated CUDA kernels on the host, for machines without a GPU: stands in for libcuda, NVRTC, cuBLASLt and cuDNN
// (scripts/gpu_emulate). Sources are translated to C++, compiled by the system's compiler and run one block, or cluster, at a
// time; every CUDA thread is a coroutine. Copies (cp.async) and wgmma products happen as late as their waits allow, so that a
// missing wait or a buffer that is filled too early gives wrong numbers. Not emulated: memory order between blocks, timing.
// The libraries find no algorithms, so that every op runs on own kernels.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "backends/cuda/api.h"
#include "byte_machine.h"
#include "emulated.h"

namespace {

using namespace tfengine::cuda;
using emulated::Index;

// --- threads as coroutines ---

extern "C" void emulator_switch(void** save, void* load);
asm(R"(
.globl emulator_switch
emulator_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");

struct Barrier {
  int waiting = 0;
  unsigned generation = 0;
};
struct Block;
struct Warp {
  Barrier barrier;
  int alive = 0;
  uint64_t values[32][8];
};
struct Thread {
  void* stack_pointer = nullptr;
  bool done = false;
  Block* block = nullptr;
  Warp* warp = nullptr;
  int lane = 0;
  Index id;
  std::vector<std::function<void()>> copies, products;            // not yet committed
  std::vector<std::function<void()>> stores;                      // of tensors
  std::vector<std::vector<std::function<void()>>> copy_groups, product_groups;
};
// A barrier in shared memory. What the tensor memory accelerator brings is written when somebody waits for it.
struct MemoryBarrier {
  unsigned count = 0, missing = 0, phase = 0;
  long long bytes = 0;  // that are still to come
  std::vector<std::function<void()>> copies;
};
struct Block {
  Barrier barrier;
  int alive = 0;
  Index id;
  std::map<unsigned, MemoryBarrier> barriers;
  std::map<unsigned, Barrier> groups;  // of a warp group each
  std::vector<char> shared;
  std::vector<Warp> warps;
  std::vector<Thread> threads;
};
struct Cluster {
  Barrier barrier;
  int alive = 0;
  std::vector<Block> blocks;
};

constexpr size_t kStack = 128 << 10;

std::mutex run_mu;  // one launch at a time
Thread* now = nullptr;
Cluster* cluster = nullptr;
Index grid_size;
void* scheduler = nullptr;
void (*entry)(void**) = nullptr;
void** arguments = nullptr;
std::vector<char*> stacks;
std::map<CUfunction, int> cluster_rows;  // where the source says so

void Yield() { emulator_switch(&now->stack_pointer, scheduler); }

void Await(Barrier& b, const int& alive) {
  const unsigned mine = b.generation;
  if (++b.waiting == alive) {
    b.waiting = 0;
    ++b.generation;
    return;
  }
  while (b.generation == mine) Yield();
}
void Left(Barrier& b, int alive) {
  if (alive == 0 || b.waiting != alive) return;
  b.waiting = 0;
  ++b.generation;
}

void ThreadMain() {
  entry(arguments);
  now->done = true;
  Left(now->warp->barrier, --now->warp->alive);
  Left(now->block->barrier, --now->block->alive);
  Left(cluster->barrier, --cluster->alive);
  for (;;) Yield();
}

float HalfToFloat(uint16_t h) {
  _Float16 f;
  std::memcpy(&f, &h, 2);
  return static_cast<float>(f);
}
float BfloatToFloat(uint16_t b) {
  const uint32_t u = static_cast<uint32_t>(b) << 16;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
float Wide(uint16_t v, bool half) { return half ? HalfToFloat(v) : BfloatToFloat(v); }

// What stands in a tensor map.
struct EncodedMap {
  uint64_t address, strides[3];
  uint32_t dims[4], box[4];
  uint8_t rank, element, swizzle, windows, steps[4];
  int16_t lower[2], upper[2];
};
static_assert(sizeof(EncodedMap) <= 128);

char* SharedAt(unsigned address) { return cluster->blocks[address >> 24].shared.data() + (address & 0xffffff); }

void Flush(std::vector<std::vector<std::function<void()>>>& groups, int keep) {
  while (static_cast<int>(groups.size()) > keep) {
    for (auto& f : groups.front()) f();
    groups.erase(groups.begin());
  }
}

class Machine : public emulated::Machine {
 public:
  const Index& thread() override { return now->id; }
  const Index& block() override { return now->block->id; }
  const Index& grid() override { return grid_size; }
  char* shared() override { return now->block->shared.data(); }
  unsigned shared_address(const void* p) override {
    return static_cast<unsigned>(static_cast<const char*>(p) - now->block->shared.data()) | static_cast<unsigned>(now->block - cluster->blocks.data()) << 24;
  }
  void sync_block() override { Await(now->block->barrier, now->block->alive); }
  void sync_cluster() override { Await(cluster->barrier, cluster->alive); }
  void sync_warp() override { Await(now->warp->barrier, now->warp->alive); }
  int lane() override { return now->lane; }
  uint64_t shuffle(uint64_t v, int lane) override {
    Warp& w = *now->warp;
    w.values[now->lane][0] = v;
    Await(w.barrier, w.alive);
    const uint64_t r = w.values[lane & 31][0];
    Await(w.barrier, w.alive);
    return r;
  }
  void copy16(unsigned to, const void* from, int bytes) override {
    char* target = SharedAt(to);
    now->copies.push_back([=] {
      std::memset(target, 0, 16);
      std::memcpy(target, from, static_cast<size_t>(bytes));
    });
  }
  void commit_copies() override {
    now->copy_groups.push_back(std::move(now->copies));
    now->copies.clear();
  }
  void await_copies(int keep) override { Flush(now->copy_groups, keep); }
  void load_matrix(uint32_t* r, int count, bool transposed, unsigned address) override {
    Warp& w = *now->warp;
    w.values[now->lane][0] = address;
    Await(w.barrier, w.alive);
    for (int m = 0; m < count; ++m) {
      uint16_t pair[2];
      for (int e = 0; e < 2; ++e) {
        const int row = transposed ? now->lane % 4 * 2 + e : now->lane / 4, column = transposed ? now->lane / 4 : now->lane % 4 * 2 + e;
        std::memcpy(&pair[e], SharedAt(static_cast<unsigned>(w.values[m * 8 + row][0])) + column * 2, 2);
      }
      r[m] = pair[0] | static_cast<uint32_t>(pair[1]) << 16;
    }
    Await(w.barrier, w.alive);
  }
  void multiply(float* c, const uint32_t* a, const uint32_t* b, bool half) override {
    Warp& w = *now->warp;
    for (int i = 0; i < 4; ++i) w.values[now->lane][i] = a[i];
    for (int i = 0; i < 2; ++i) w.values[now->lane][4 + i] = b[i];
    Await(w.barrier, w.alive);
    auto at = [&](int lane, int which, int e) { return Wide(static_cast<uint16_t>(w.values[lane][which] >> (16 * e)), half); };
    for (int e = 0; e < 4; ++e) {
      const int row = now->lane / 4, column = now->lane % 4 * 2 + e % 2;  // of the upper or lower half
      float sum = c[e];
      for (int k = 0; k < 16; ++k)
        sum += at(row * 4 + k % 8 / 2, k / 8 * 2 + e / 2, k % 2) * at(column * 4 + k % 8 / 2, 4 + k / 8, k % 2);
      c[e] = sum;
    }
    Await(w.barrier, w.alive);
  }
  void multiply_group(float* const* d, int count, const emulated::GroupProduct& p) override {
    const std::vector<float*> sums(d, d + count);
    const int row = now->id.x / 32 % 4 * 16 + now->lane / 4, column = now->lane % 4 * 2;
    const unsigned rank = static_cast<unsigned>(now->block - cluster->blocks.data()) << 24;
    std::array<std::array<float, 16>, 2> lines{};  // of a, if it is in registers: the thread's two rows
    if (p.in_registers) {
      Warp& w = *now->warp;
      for (int i = 0; i < 4; ++i) w.values[now->lane][i] = p.fragment[i];
      Await(w.barrier, w.alive);
      for (int r = 0; r < 2; ++r)
        for (int k = 0; k < 16; ++k)
          lines[r][k] = Wide(static_cast<uint16_t>(w.values[now->lane / 4 * 4 + k % 8 / 2][k / 8 * 2 + r] >> (16 * (k % 2))), p.half);
      Await(w.barrier, w.alive);
    }
    now->products.push_back([=] {
      // Groups of 8 rows of 128 or 64 bytes; `lead`: from 64 columns to the next, where rows hold the terms' lines.
      auto element = [&](uint64_t descriptor, int line, int column, int lead) {
        const int group = static_cast<int>((descriptor >> 32 & 0x3fff) << 4);
        const bool wide = descriptor >> 62 == 1;
        unsigned address = static_cast<unsigned>((descriptor & 0x3fff) << 4) + static_cast<unsigned>(line / 8 * group + line % 8 * (wide ? 128 : 64) + column / 64 * lead + column % 64 * 2);
        address ^= (address >> 7 & (wide ? 7 : 3)) << 4;
        uint16_t v;
        std::memcpy(&v, SharedAt(address | rank), 2);
        return Wide(v, p.half);
      };
      const int lead = static_cast<int>((p.b >> 16 & 0x3fff) << 4);
      for (int i = 0; i < count; ++i) {
        const int half_row = i % 4 / 2, n = i / 4 * 8 + column + i % 2;
        float& sum = *sums[static_cast<size_t>(i)];
        if (!p.add) sum = 0;
        for (int k = 0; k < 16; ++k)
          sum += (p.in_registers ? lines[half_row][k] : element(p.a, row + half_row * 8, k, 0)) * (p.transposed ? element(p.b, k, n, lead) : element(p.b, n, k, 0));
      }
    });
  }
  void commit_products() override {
    now->product_groups.push_back(std::move(now->products));
    now->products.clear();
  }
  void await_products(int keep) override { Flush(now->product_groups, keep); }
  unsigned remote(unsigned address, unsigned rank) override { return (address & 0xffffff) | rank << 24; }
  void send(unsigned to, const void* from, unsigned bytes, unsigned barrier) override {
    MemoryBarrier& known = BarrierAt(barrier);
    std::memcpy(SharedAt(to), from, bytes);
    known.bytes -= bytes;
    Advance(known);
  }
  void load_remote(float* to, unsigned address) override { std::memcpy(to, SharedAt(address), 16); }
  void copy(unsigned to, const void* from, int bytes, int size) override {
    char* target = SharedAt(to);
    now->copies.push_back([=] {
      std::memset(target, 0, static_cast<size_t>(size));
      std::memcpy(target, from, static_cast<size_t>(bytes));
    });
  }
  void store(unsigned to, const void* words, int bytes) override { std::memcpy(SharedAt(to), words, static_cast<size_t>(bytes)); }
  void multiply_bytes(void* c, const uint32_t* a, const uint32_t* b, bool floats) override {
    Warp& w = *now->warp;
    for (int i = 0; i < 4; ++i) w.values[now->lane][i] = a[i];
    for (int i = 0; i < 2; ++i) w.values[now->lane][4 + i] = b[i];
    Await(w.barrier, w.alive);
    auto at = [&](int lane, int which, int k) { return static_cast<uint8_t>(w.values[lane][which] >> 8 * (k % 4)); };
    for (int e = 0; e < 4; ++e)
      for (int k = 0; k < 32; ++k)
        emulated::AddProduct(static_cast<char*>(c) + 4 * e, at(now->lane / 4 * 4 + k % 16 / 4, k / 16 * 2 + e / 2, k), at((now->lane % 4 * 2 + e % 2) * 4 + k % 16 / 4, 4 + k / 16, k), floats);
    Await(w.barrier, w.alive);
  }
  void multiply_bytes_group(void* const* d, int n, const emulated::GroupProduct& p, bool floats) override {
    const std::vector<void*> sums(d, d + n / 2);
    const int row = static_cast<int>(now->id.x / 32 % 4 * 16) + now->lane / 4, column = now->lane % 4 * 2;
    const unsigned rank = static_cast<unsigned>(now->block - cluster->blocks.data()) << 24;
    std::array<std::array<uint8_t, 32>, 2> lines = {};  // of a in registers: this thread's row and the eighth below
    if (p.in_registers) {
      Warp& w = *now->warp;
      for (int i = 0; i < 4; ++i) w.values[now->lane][i] = p.fragment[i];
      Await(w.barrier, w.alive);
      for (size_t half = 0; half < 2; ++half)
        for (size_t k = 0; k < 32; ++k) lines[half][k] = static_cast<uint8_t>(w.values[static_cast<size_t>(now->lane / 4 * 4) + k % 16 / 4][k / 16 * 2 + half] >> 8 * (k % 4));
      Await(w.barrier, w.alive);
    }
    now->products.push_back([=] {
      auto element = [&](uint64_t descriptor, int line, int k) {
        const unsigned stride = static_cast<unsigned>(descriptor >> 32 & 0x3fff) << 4;  // of 8 rows
        unsigned address = (static_cast<unsigned>(descriptor & 0x3fff) << 4) + static_cast<unsigned>(line / 8) * stride + static_cast<unsigned>(line % 8) * (stride / 8) + static_cast<unsigned>(k);
        address ^= (address >> 7 & (descriptor >> 62 == 1 ? 7 : 3)) << 4;
        return static_cast<uint8_t>(*SharedAt(address | rank));
      };
      for (int i = 0; i < n / 2; ++i) {
        void* sum = sums[static_cast<size_t>(i)];
        const int half = i % 4 / 2;
        if (!p.add) std::memset(sum, 0, 4);
        for (int k = 0; k < 32; ++k)
          emulated::AddProduct(sum, p.in_registers ? lines[static_cast<size_t>(half)][static_cast<size_t>(k)] : element(p.a, row + half * 8, k), element(p.b, i / 4 * 8 + column + i % 2, k), floats);
      }
    });
  }
  void init_barrier(unsigned at, unsigned count) override {
    MemoryBarrier& b = BarrierAt(at);
    b.count = b.missing = count;
  }
  void arrive(unsigned at, unsigned count, unsigned bytes) override {
    MemoryBarrier& b = BarrierAt(at);
    b.bytes += bytes;
    b.missing -= count;
    Advance(b);
  }
  void await_phase(unsigned at, unsigned parity) override {
    MemoryBarrier& b = BarrierAt(at);
    for (;;) {
      if ((b.phase & 1) != parity) return;
      std::vector<std::function<void()>> due;
      std::swap(due, b.copies);
      for (auto& copy : due) copy();
      Advance(b);
      if ((b.phase & 1) == parity) Yield();
    }
  }
  bool is_phase_over(unsigned at, unsigned parity) override {
    if ((BarrierAt(at).phase & 1) != parity) return true;
    Yield();
    return false;
  }
  void load_tensor(unsigned to, const void* map, unsigned barrier, const int* place, const int* offset) override {
    EncodedMap m;
    std::memcpy(&m, map, sizeof(m));
    const std::array<int, 4> at = {place[0], place[1], place[2], m.rank == 4 ? place[3] : 0};
    const std::array<int, 2> shift = {offset[0], offset[1]};
    MemoryBarrier& b = BarrierAt(barrier);
    b.copies.push_back([=, &b] { b.bytes -= Move(m, to, at, shift, false); });
  }
  void load_bytes(unsigned to, const void* from, unsigned bytes, unsigned barrier) override {
    MemoryBarrier& b = BarrierAt(barrier);
    b.copies.push_back([=, &b] {
      std::memcpy(SharedAt(to), from, bytes);
      b.bytes -= bytes;
    });
  }
  void store_tensor(const void* map, unsigned from, const int* place) override {
    EncodedMap m;
    std::memcpy(&m, map, sizeof(m));
    const std::array<int, 4> at = {place[0], place[1], place[2], place[3]};
    now->stores.push_back([=] { Move(m, from, at, {}, true); });
  }
  void store_bytes(void* to, unsigned from, unsigned bytes) override {
    now->stores.push_back([=] { std::memcpy(to, SharedAt(from), bytes); });
  }
  void await_stores() override {
    for (auto& store : now->stores) store();
    now->stores.clear();
  }
  void sync_group(unsigned id, int threads) override { Await(now->block->groups[id], threads); }

 private:
  static MemoryBarrier& BarrierAt(unsigned at) { return cluster->blocks[at >> 24].barriers[at & 0xffffff]; }
  static void Advance(MemoryBarrier& b) {
    if (b.missing > 0 || b.bytes != 0) return;
    b.missing = b.count;
    ++b.phase;
  }
  // Moves a box to shared memory, or from there; returns its bytes.
  static long long Move(const EncodedMap& m, unsigned to, const std::array<int, 4>& at, const std::array<int, 2>& shift, bool back) {
    const int line = static_cast<int>(m.box[0]) * m.element;
    const auto wide = static_cast<int>(m.box[1]), high = static_cast<int>(m.box[2]), rows = m.windows ? wide : wide * high * static_cast<int>(m.rank == 4 ? m.box[3] : 1);
    int x = at[1], y = at[2], image = at[3];
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < static_cast<int>(m.box[0]); ++i) {
        const std::array<long long, 4> place = m.windows ? std::array<long long, 4>{at[0] + i, x + shift[0], y + shift[1], image}
                                                         : std::array<long long, 4>{at[0] + i, at[1] + r % wide, at[2] + r / wide % high, at[3] + r / wide / high};
        bool inside = true;
        long long from = place[0] * m.element;
        for (int d = 0; d < m.rank; ++d) {
          inside = inside && place[static_cast<size_t>(d)] >= 0 && place[static_cast<size_t>(d)] < static_cast<long long>(m.dims[d]);
          if (d > 0) from += place[static_cast<size_t>(d)] * static_cast<long long>(m.strides[d - 1]);
        }
        unsigned address = to + static_cast<unsigned>(r * line + i * m.element);
        address ^= (address >> 7 & (m.swizzle == CU_TENSOR_MAP_SWIZZLE_128B ? 7u : 3u)) << 4;
        char* const global = reinterpret_cast<char*>(m.address) + from;
        if (inside && back) std::memcpy(global, SharedAt(address), m.element);
        if (inside && !back) std::memcpy(SharedAt(address), global, m.element);
        if (!inside && !back) std::memset(SharedAt(address), 0, m.element);
      }
      x += m.steps[1];
      if (x > static_cast<int>(m.dims[1]) - 1 + m.upper[0]) x = m.lower[0], y += m.steps[2];
      if (y > static_cast<int>(m.dims[2]) - 1 + m.upper[1]) y = m.lower[1], ++image;
    }
    return static_cast<long long>(rows) * line;
  }
};
Machine machine;

void RunBlocks(std::vector<Block>& blocks) {
  std::vector<Thread*> threads;
  for (Block& b : blocks)
    for (Thread& t : b.threads) threads.push_back(&t);
  while (stacks.size() < threads.size()) stacks.push_back(static_cast<char*>(mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)));
  for (size_t i = 0; i < threads.size(); ++i) {
    void** top = reinterpret_cast<void**>(stacks[i] + kStack);
    top[-1] = nullptr;
    top[-2] = reinterpret_cast<void*>(&ThreadMain);
    for (int r = 3; r <= 8; ++r) top[-r] = nullptr;
    threads[i]->stack_pointer = top - 8;
  }
  for (bool left = true; left;) {
    left = false;
    for (Thread* t : threads) {
      if (t->done) continue;
      left = true;
      now = t;
      emulator_switch(&scheduler, t->stack_pointer);
    }
  }
}

// --- translation ---

// The end of what opens at `at`: one behind the matching bracket. Strings are skipped.
size_t Matching(const std::string& s, size_t at) {
  int depth = 0;
  bool quoted = false;
  for (; at < s.size(); ++at) {
    if (quoted) {
      if (s[at] == '\\') ++at;
      else if (s[at] == '"') quoted = false;
      continue;
    }
    if (s[at] == '"') quoted = true;
    if (s[at] == '(') ++depth;
    if (s[at] == ')' && --depth == 0) return at + 1;
  }
  return std::string::npos;
}

// `asm(...)` → a call of the machine with the operands' expressions.
std::string TranslateAsm(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      parts.back() += c;
      parts.back() += text[++i];
      continue;
    }
    if (c == '"') quoted = !quoted;
    if (!quoted) depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
    if (!quoted && depth == 0 && c == ':' && parts.size() < 4) parts.emplace_back();
    else parts.back() += c;
  }
  std::vector<std::string> operands;
  for (size_t p = 1; p < std::min<size_t>(parts.size(), 3); ++p)
    for (size_t at = 0; (at = parts[p].find('(', at)) != std::string::npos;) {
      const size_t end = Matching(parts[p], at);
      operands.push_back(parts[p].substr(at, end - at));
      at = end;
    }
  const std::string& code = parts[0];
  auto has = [&](const char* word) { return code.find(word) != std::string::npos; };
  std::string all;
  for (const std::string& o : operands) all += (all.empty() ? "" : ", ") + o;
  if (const std::string call = emulated::TranslateBytes(code, all); !call.empty()) return call;
  if (has("cvt.f32.f16")) return "emulated::to_float(" + all + ")";
  if (has("cvt.rn.f16x2.f32")) return "emulated::to_pair<emulated::to_half>(" + all + ")";
  if (has("cvt.rn.bf16x2.f32")) return "emulated::to_pair<emulated::to_bfloat>(" + all + ")";
  if (has("cvt.rn.f16.f32")) return "emulated::to_half(" + all + ")";
  if (has("cvt.rn.bf16.f32")) return "emulated::to_bfloat(" + all + ")";
  if (has("griddepcontrol") || has("fence.") || code == "\"\" ") return "(void)0";
  if (has("mbarrier.init")) return "machine->init_barrier(" + all + ")";
  if (has("mbarrier.arrive.expect_tx")) return "machine->arrive(" + operands[0] + ", 1, " + operands[1] + ")";
  if (has("mbarrier.arrive")) return "machine->arrive(" + all + ", 0)";
  if (has("mbarrier.test_wait")) return "emulated::test_phase(machine, " + all + ")";
  if (has("mbarrier.try_wait")) return "machine->await_phase(" + all + ")";
  if (has("bar.sync")) return "machine->sync_group(" + all + ")";
  if (has("cp.async.bulk.commit_group")) return "(void)0";
  if (has("cp.async.bulk.wait_group")) return "machine->await_stores()";
  if (has("multicast::cluster")) return "emulated::load_tensor_for_both(machine, " + all + ")";
  if (has("cp.async.bulk.tensor.4d.global")) return "emulated::store_box(machine, " + all + ")";
  if (has("cp.async.bulk.tensor.3d.global")) return "emulated::store_tensor(machine, " + all + ")";
  if (has("cp.async.bulk.global")) return "machine->store_bytes(" + all + ")";
  if (has("cp.async.bulk.shared")) return "machine->load_bytes(" + all + ")";
  if (has("cp.async.bulk.tensor")) return std::string(has("im2col") ? "emulated::load_windows(machine, " : has("tensor.4d") ? "emulated::load_box(machine, " : "emulated::load_tensor(machine, ") + all + ")";
  if (has("cp.async.cg")) return "machine->copy16(" + all + (operands.size() == 2 ? ", 16)" : ")");
  if (has("cp.async.commit_group")) return "machine->commit_copies()";
  if (has("cp.async.wait_group")) return "machine->await_copies(" + (operands.empty() ? code.substr(code.find("wait_group") + 11, 1) : all) + ")";
  if (has("ldmatrix")) return std::string("emulated::load_matrix(machine, ") + (has(".trans") ? "true, " : "false, ") + all + ")";
  if (has("wgmma.mma_async")) return std::string("emulated::multiply_group(machine, ") + (has(".f32.f16") ? "true, " : "false, ") + (has("p, 1, 1, 1;") ? "true, " : "false, ") + all + ")";
  if (has("wgmma.commit_group") || has("wgmma.wait_group")) {
    const size_t wait = code.find("wait_group.sync.aligned ");
    std::string calls = has("wgmma.commit_group") ? "machine->commit_products()" : "";
    if (wait != std::string::npos) calls += (calls.empty() ? "" : ", ") + ("machine->await_products(" + (code[wait + 24] == '%' ? all : code.substr(wait + 24, 1)) + ")");
    return calls;
  }
  if (has("MMA") || has("mma.sync")) return "emulated::multiply(machine, IS_HALF, " + all + ")";
  if (has("barrier.cluster")) return "machine->sync_cluster()";
  if (has("st.async")) return std::string("emulated::send(machine, ") + all + ")";
  if (has("mapa")) return "emulated::remote(machine, " + all + ")";
  if (has("ld.shared::cluster")) return "emulated::load_remote(machine, " + all + ")";
  if (has("max.NaN.f32")) return "emulated::positive(" + all + ")";
  if (has("max.NaN") || has("min.NaN")) return std::string("emulated::bound(IS_HALF, ") + (has("max.NaN") ? "true, " : "false, ") + all + ")";
  if (has("max.")) return "emulated::most(IS_HALF, " + all + ")";
  if (has("ex2.approx")) return "emulated::power_of_2(" + all + ")";
  return "#error unknown instruction: " + code;
}

std::string Translate(std::string s) {
  std::string out;
  static const std::regex kAsm(R"(\basm( volatile)?\()"), kDynamic(R"(extern __shared__ (__align__\(\d+\) )?(\w+) (\w+)\[\];)"),
      kShared(R"(__shared__ (__align__\((\d+)\) )?)"), kBounds(R"(__launch_bounds__\([^)]*\))");
  s = std::regex_replace(s, kDynamic, "$2* $3 = ($2*)machine->shared();");
  s = std::regex_replace(s, kShared, "alignas(16) static ");
  s = std::regex_replace(s, kBounds, "");
  for (std::smatch m; std::regex_search(s, m, kAsm);) {
    const size_t at = static_cast<size_t>(m.position()), open = at + static_cast<size_t>(m.length()) - 1, end = Matching(s, open);
    out += s.substr(0, at) + TranslateAsm(s.substr(open + 1, end - open - 2));
    s = s.substr(end);
  }
  out += s;
  const int rows = emulated::RowsOfCluster(out);
  const bool bfloat = out.find("#define T bf16") != std::string::npos;
  return std::string("#define IS_HALF ") + (bfloat ? "false" : "true") + "\n#include \"emulated.h\"\n" + out +
         "\nextern \"C\" const int cluster_rows = " + std::to_string(rows) + ";\nextern \"C\" void run(emulated::Machine* m, void** arguments) { machine = m; if (arguments) emulated::call(&k, arguments); }\n";
}

struct Program {
  std::string source, library, log;
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// --- NVRTC: the "cubin" is the path of a shared library ---
EXPORT int nvrtcVersion(int* major, int* minor) { *major = 13, *minor = 0; return 0; }
EXPORT int nvrtcCreateProgram(Program** p, const char* source, const char*, int, const char* const*, const char* const*) {
  *p = new Program{source, "", ""};
  return 0;
}
EXPORT int nvrtcDestroyProgram(Program** p) { delete *p; return 0; }
EXPORT int nvrtcCompileProgram(Program* p, int, const char* const*) {
  const char* parent = std::getenv("TMPDIR");
  std::string pattern = std::string(parent ? parent : "/tmp") + "/kernel_XXXXXX";
  char* folder = pattern.data();
  if (mkdtemp(folder) == nullptr) return 1;
  const std::string base = folder;
  std::ofstream(base + "/k.cc") << Translate(p->source);
  const char* headers = std::getenv("TFENGINE_EMULATOR_HEADERS");
  const std::string command = "c++ -std=c++20 -O1 -w -fno-strict-aliasing -ffp-contract=off -shared -fPIC -I" + std::string(headers ? headers : ".") + " -o " + base + "/k.so " + base + "/k.cc 2> " + base + "/log";
  if (std::system(command.c_str()) == 0) {
    p->library = base + "/k.so";
    return 0;
  }
  std::stringstream log;
  log << std::ifstream(base + "/log").rdbuf();
  p->log = log.str();
  return 1;
}
EXPORT int nvrtcGetProgramLogSize(Program* p, size_t* n) { *n = p->log.size(); return 0; }
EXPORT int nvrtcGetProgramLog(Program* p, char* to) { std::memcpy(to, p->log.data(), p->log.size()); return 0; }
EXPORT int nvrtcGetCUBINSize(Program* p, size_t* n) { *n = p->library.size() + 1; return 0; }
EXPORT int nvrtcGetCUBIN(Program* p, char* to) { std::memcpy(to, p->library.c_str(), p->library.size() + 1); return 0; }

// --- the driver ---
EXPORT int cuInit(unsigned) { return 0; }
EXPORT int cuDriverGetVersion(int* v) { *v = 13000; return 0; }
EXPORT int cuGetErrorName(int, const char** s) { *s = "EMULATOR_ERROR"; return 0; }
EXPORT int cuGetErrorString(int, const char** s) { *s = "emulator error"; return 0; }
EXPORT int cuDeviceGetCount(int* n) { *n = 1; return 0; }
EXPORT int cuDeviceGet(CUdevice* d, int i) { *d = i; return 0; }
EXPORT int cuDeviceGetName(char* to, int n, CUdevice) { std::snprintf(to, static_cast<size_t>(n), "emulator"); return 0; }
EXPORT int cuDeviceGetAttribute(int* v, int attribute, CUdevice) {
  const char* processors = std::getenv("TFENGINE_EMULATOR_PROCESSORS");
  *v = attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT ? std::atoi(processors ? processors : "132") : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9 : 0;
  return 0;
}
EXPORT int cuDevicePrimaryCtxRetain(CUcontext* c, CUdevice) { *c = reinterpret_cast<CUcontext>(1); return 0; }
EXPORT int cuCtxSetCurrent(CUcontext) { return 0; }
EXPORT int cuCtxGetCurrent(CUcontext* c) { *c = reinterpret_cast<CUcontext>(1); return 0; }
EXPORT int cuMemGetInfo_v2(size_t* a, size_t* b) { *a = *b = size_t{8} << 30; return 0; }
EXPORT int cuMemAlloc_v2(CUdeviceptr* p, size_t n) { *p = reinterpret_cast<CUdeviceptr>(std::aligned_alloc(256, (n + 511) / 256 * 256)); return *p == 0 ? 2 : 0; }
EXPORT int cuMemFree_v2(CUdeviceptr p) { std::free(reinterpret_cast<void*>(p)); return 0; }
EXPORT int cuPointerGetAttribute(void*, int, CUdeviceptr) { return 1; }
EXPORT int cuMemGetAddressRange_v2(CUdeviceptr*, size_t*, CUdeviceptr) { return 1; }
EXPORT int cuMemAllocHost_v2(void** p, size_t n) { *p = std::malloc(n); return 0; }
EXPORT int cuMemFreeHost(void* p) { std::free(p); return 0; }
EXPORT int cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t n) { std::memcpy(reinterpret_cast<void*>(to), from, n); return 0; }
EXPORT int cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t n) { std::memcpy(to, reinterpret_cast<void*>(from), n); return 0; }
EXPORT int cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t n, CUstream) { return cuMemcpyHtoD_v2(to, from, n); }
EXPORT int cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t n, CUstream) { return cuMemcpyDtoH_v2(to, from, n); }
EXPORT int cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream) { std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), n); return 0; }
EXPORT int cuMemsetD8Async(CUdeviceptr p, unsigned char v, size_t n, CUstream) { std::memset(reinterpret_cast<void*>(p), v, n); return 0; }
EXPORT int cuStreamCreate(CUstream* s, unsigned) { *s = reinterpret_cast<CUstream>(1); return 0; }
EXPORT int cuStreamDestroy_v2(CUstream) { return 0; }
EXPORT int cuStreamSynchronize(CUstream) { return 0; }
EXPORT int cuStreamWaitEvent(CUstream, CUevent, unsigned) { return 0; }
EXPORT int cuStreamBeginCapture_v2(CUstream, int) { return 801; }  // no graphs
EXPORT int cuStreamEndCapture(CUstream, CUgraph*) { return 801; }
EXPORT int cuGraphInstantiateWithFlags(CUgraphExec*, CUgraph, unsigned long long) { return 801; }
EXPORT int cuGraphLaunch(CUgraphExec, CUstream) { return 801; }
EXPORT int cuGraphDestroy(CUgraph) { return 0; }
EXPORT int cuGraphExecDestroy(CUgraphExec) { return 0; }
EXPORT int cuEventCreate(CUevent* e, unsigned) { *e = reinterpret_cast<CUevent>(1); return 0; }
EXPORT int cuEventDestroy_v2(CUevent) { return 0; }
EXPORT int cuEventRecord(CUevent, CUstream) { return 0; }
EXPORT int cuEventSynchronize(CUevent) { return 0; }
EXPORT int cuEventElapsedTime(float* ms, CUevent, CUevent) { *ms = 1; return 0; }
EXPORT int cuModuleLoadData(CUmodule* module, const void* image) {
  void* library = dlopen(static_cast<const char*>(image), RTLD_NOW | RTLD_LOCAL);
  *module = static_cast<CUmodule>(library);
  return library == nullptr ? 200 : 0;
}
EXPORT int cuModuleUnload(CUmodule) { return 0; }
EXPORT int cuModuleGetFunction(CUfunction* f, CUmodule module, const char*) {
  *f = reinterpret_cast<CUfunction>(dlsym(module, "run"));
  if (*f == nullptr) return 500;
  const std::lock_guard<std::mutex> lock(run_mu);
  cluster_rows[*f] = *static_cast<const int*>(dlsym(module, "cluster_rows"));
  return 0;
}
static uint8_t ElementSize(int type) { return type == CU_TENSOR_MAP_DATA_TYPE_UINT8 ? 1 : type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 ? 4 : 2; }
EXPORT int cuTensorMapEncodeTiled(void* to, int type, unsigned rank, void* address, const uint64_t* dims, const uint64_t* strides, const uint32_t* box, const uint32_t* steps, int, int swizzle, int, int) {
  EncodedMap m = {};
  m.address = reinterpret_cast<uint64_t>(address);
  m.rank = static_cast<uint8_t>(rank), m.element = ElementSize(type), m.swizzle = static_cast<uint8_t>(swizzle);
  if (rank < 3 || rank > 4 || m.address % 16 != 0) return 1;
  for (unsigned d = 0; d < rank; ++d) {
    m.dims[d] = static_cast<uint32_t>(dims[d]), m.box[d] = box[d], m.steps[d] = static_cast<uint8_t>(steps[d]);
    if (d > 0 && (m.strides[d - 1] = strides[d - 1]) % 16 != 0) return 1;
    if (box[d] > 256) return 1;
  }
  std::memcpy(to, &m, sizeof(m));
  return 0;
}
EXPORT int cuTensorMapEncodeIm2col(void* to, int type, unsigned rank, void* address, const uint64_t* dims, const uint64_t* strides, const int* lower, const int* upper, unsigned channels,
                                   unsigned pixels, const uint32_t* steps, int, int swizzle, int, int) {
  EncodedMap m = {};
  m.address = reinterpret_cast<uint64_t>(address);
  m.rank = static_cast<uint8_t>(rank), m.element = ElementSize(type), m.swizzle = static_cast<uint8_t>(swizzle), m.windows = 1;
  if (rank != 4 || m.address % 16 != 0 || channels > 256 || pixels > 1024) return 1;
  for (unsigned d = 0; d < rank; ++d) {
    m.dims[d] = static_cast<uint32_t>(dims[d]), m.steps[d] = static_cast<uint8_t>(steps[d]);
    if (d > 0 && (m.strides[d - 1] = strides[d - 1]) % 16 != 0) return 1;
  }
  m.box[0] = channels, m.box[1] = pixels;
  for (int i = 0; i < 2; ++i) {
    m.lower[i] = static_cast<int16_t>(lower[i]), m.upper[i] = static_cast<int16_t>(upper[i]);
    if (lower[i] < -128 || lower[i] > 127 || upper[i] < -128 || upper[i] > 127) return 1;
  }
  std::memcpy(to, &m, sizeof(m));
  return 0;
}
EXPORT int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, CUfunction, int, size_t) { *n = 1; return 0; }
EXPORT int cuFuncSetAttribute(CUfunction, int, int) { return 0; }
EXPORT int cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction f, void** values, void**) {
  const std::lock_guard<std::mutex> lock(run_mu);
  static void (*run)(emulated::Machine*, void**);
  run = reinterpret_cast<void (*)(emulated::Machine*, void**)>(f);
  run(&machine, nullptr);
  entry = [](void** a) { run(&machine, a); };
  arguments = values;
  unsigned size = 1;
  for (unsigned i = 0; i < c->numAttrs; ++i)
    if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) size = c->attrs[i].value.clusterDim.z;
  if (c->gridDimZ % size != 0 || c->sharedMemBytes > (227u << 10) || c->blockDimX * c->blockDimY * c->blockDimZ > 1024) return 1;
  const unsigned threads = c->blockDimX * c->blockDimY * c->blockDimZ, rows = static_cast<unsigned>(cluster_rows[f]);
  if (rows > 1) size = rows;
  const unsigned depth = rows > 1 ? 1 : size;
  if (c->gridDimY % rows != 0) return 1;
  grid_size = {c->gridDimX, c->gridDimY, c->gridDimZ};
  for (unsigned z = 0; z < c->gridDimZ; z += depth)
    for (unsigned y = 0; y < c->gridDimY; y += rows)
      for (unsigned x = 0; x < c->gridDimX; ++x) {
        Cluster group;
        cluster = &group;
        group.blocks.resize(size);
        group.alive = static_cast<int>(size * threads);
        for (unsigned b = 0; b < size; ++b) {
          Block& block = group.blocks[b];
          block.id = rows > 1 ? Index{x, y + b, z} : Index{x, y, z + b};
          block.alive = static_cast<int>(threads);
          block.shared.assign(c->sharedMemBytes + 16, 0x7b);
          block.warps.resize((threads + 31) / 32);
          block.threads.resize(threads);
          for (unsigned t = 0; t < threads; ++t) {
            Thread& thread = block.threads[t];
            thread.block = &block;
            thread.warp = &block.warps[t / 32];
            thread.lane = static_cast<int>(t % 32);
            ++thread.warp->alive;
            thread.id = {t % c->blockDimX, t / c->blockDimX % c->blockDimY, t / c->blockDimX / c->blockDimY};
          }
        }
        RunBlocks(group.blocks);
      }
  return 0;
}

// --- libraries that know no algorithm ---
EXPORT size_t cublasLtGetVersion() { return 0; }
EXPORT int cublasLtCreate(void** h) { *h = nullptr; return 0; }
EXPORT int cublasLtMatmulDescCreate(void** d, int, int) { *d = nullptr; return 0; }
EXPORT int cublasLtMatmulDescDestroy(void*) { return 0; }
EXPORT int cublasLtMatmulDescSetAttribute(void*, int, const void*, size_t) { return 0; }
EXPORT int cublasLtMatrixLayoutCreate(void** l, int, uint64_t, uint64_t, int64_t) { *l = nullptr; return 0; }
EXPORT int cublasLtMatrixLayoutDestroy(void*) { return 0; }
EXPORT int cublasLtMatrixLayoutSetAttribute(void*, int, const void*, size_t) { return 0; }
EXPORT int cublasLtMatmulPreferenceCreate(void** p) { *p = nullptr; return 0; }
EXPORT int cublasLtMatmulPreferenceDestroy(void*) { return 0; }
EXPORT int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return 0; }
EXPORT int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, cublasLtMatmulHeuristicResult_t*, int* n) { *n = 0; return 0; }
EXPORT int cublasLtMatmul() { return 15; }
EXPORT int cudnnCreate(void** h) { *h = nullptr; return 0; }
EXPORT int cudnnSetStream(void*, CUstream) { return 0; }
EXPORT int cudnnBackendCreateDescriptor(int, void**) { return 3000; }
EXPORT int cudnnBackendDestroyDescriptor(void*) { return 0; }
EXPORT int cudnnBackendFinalize(void*) { return 3000; }
EXPORT int cudnnBackendSetAttribute(void*, int, int, int64_t, const void*) { return 3000; }
EXPORT int cudnnBackendGetAttribute(const void*, int, int, int64_t, int64_t*, void*) { return 3000; }
EXPORT int cudnnBackendExecute(void*, void*, void*) { return 3000; }
