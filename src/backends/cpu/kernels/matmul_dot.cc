// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/matmul_dot.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "backends/cpu/kernels/conv_plan.h"
#include "backends/cpu/kernels/dot_kernels.h"
#include "backends/cpu/kernels/matmul_kernels.h"

namespace tfengine::cpu {

struct DotMatmulPlan {
  const DotKernels* kernels = nullptr;
  int threads = 1;
  MatmulShape s;  // batch dims folded into m where possible
  int64_t batches = 1;
  bool packs = false, copies_a = false;
  bool per_worker = false;  // a task computes whole batch items
  DotPlan item;             // one product
  int64_t packed_bytes = 0, copy_bytes = 0, item_bytes = 0;

  int64_t SetBytes() const { return packed_bytes + copy_bytes + item_bytes; }
  int64_t TotalBytes() const { return SetBytes() * (per_worker ? threads : 1); }
};

namespace {

using Plan = DotMatmulPlan;

constexpr int64_t kLeastTiledRows = 4;
constexpr int64_t kItemMacs = 1 << 22;  // batch items below this are not split

// The reduction as one segment whose last word is padded.
DotSegments Segment(int64_t k) { return {1, k, true}; }

Plan MakePlan(const DotKernels& kernels, const MatmulShape& shape, bool packed, bool has_residual, int threads) {
  Plan p;
  p.kernels = &kernels;
  p.threads = threads;
  p.s = FoldMatmulBatch(shape, packed, has_residual);
  const MatmulShape& s = p.s;
  for (int d = 0; d < s.batch_rank; ++d) p.batches *= s.batch[d];
  if (p.batches == 0 || s.m == 0 || s.n == 0) return p;
  p.packs = !packed;
  p.copies_a = s.a.col != 1 && s.k > 1;
  p.per_worker = p.batches > 1 && (p.batches >= 4 * threads || s.m * s.n * s.k < kItemMacs);
  ConvShape one;
  one.in_w = one.out_w = s.m;
  one.in_c = s.k;
  one.out_c = s.n;
  p.item = MakeDotPlan(one, kernels, p.per_worker ? 1 : threads);
  if (!p.copies_a) p.item.d.g.x_pixel = s.a.row;
  p.item.d.g.y_pixel = s.c.row;
  p.item.d.g.residual_pixel = s.residual.row;
  if (p.packs) p.packed_bytes = DotPackedBytes(kernels, 1, Segment(s.k), s.n);
  if (p.copies_a) p.copy_bytes = RoundUp(s.m * s.k * kernels.ValueBytes(), kCacheLine);
  p.item_bytes = RoundUp(p.item.d.worker_bytes, kCacheLine) * (p.per_worker ? 1 : threads);
  return p;
}

// One product with its operands resolved.
struct Item {
  const char* a;
  const char* b;
  DotArgs args;
};

// to[r * k + i] = from[r + i * stride] for rows [begin, end).
template <typename T>
void CopyTransposed(const char* source, int64_t stride, int64_t begin, int64_t end, int64_t k, char* target) {
  const T* from = reinterpret_cast<const T*>(source);
  T* to = reinterpret_cast<T*>(target);
  constexpr int64_t kBlock = 32;
  for (int64_t r0 = begin; r0 < end; r0 += kBlock) {
    for (int64_t i0 = 0; i0 < k; i0 += kBlock) {
      for (int64_t r = r0; r < std::min(r0 + kBlock, end); ++r) {
        for (int64_t i = i0; i < std::min(i0 + kBlock, k); ++i) to[r * k + i] = from[r + i * stride];
      }
    }
  }
}

class Run {
 public:
  Run(const DotKernels& kernels, const Plan& plan, const DotMatmulArgs& args) : kernels_(kernels), p_(plan), args_(args) {}

  Item At(int64_t index, char* scratch) const {
    const MatmulShape& s = p_.s;
    int64_t a = 0, b = 0, c = 0, residual = 0;
    for (int d = s.batch_rank - 1; d >= 0; --d) {
      const int64_t i = index % s.batch[d];
      index /= s.batch[d];
      a += i * s.a.batch[d];
      b += i * s.b.batch[d];
      c += i * s.c.batch[d];
      residual += i * s.residual.batch[d];
    }
    Item item = {};
    item.a = static_cast<const char*>(args_.a) + a * kernels_.ValueBytes();
    if (p_.packs) item.b = static_cast<const char*>(args_.b) + b * kernels_.ValueBytes();
    DotArgs& to = item.args;
    to.x = p_.copies_a ? scratch + p_.packed_bytes : item.a;
    to.zero = args_.zero;
    to.packed = p_.packs ? scratch : args_.packed_b;
    to.stage = &args_.stage;
    if (args_.residual) to.residual = static_cast<const char*>(args_.residual) + residual * StorageBytes(args_.stage.residual.storage);
    to.y = static_cast<char*>(args_.c) + c * StorageBytes(args_.stage.out.storage);
    to.scratch = scratch + p_.packed_bytes + p_.copy_bytes;
    return item;
  }

  void PackPanel(const Item& item, int64_t panel, char* packed) const {
    const MatmulShape& s = p_.s;
    const DirectPlan& d = p_.item.d;
    const int64_t first = panel * 2 * kernels_.lanes, vectors = std::min<int64_t>(2, d.vectors - panel * 2);
    kernels_.pack(item.b + first * s.b.col * kernels_.ValueBytes(), s.b.row, s.b.col, s.k, std::min(s.n - first, vectors * kernels_.lanes),
                  vectors, packed + first * p_.item.word_total * 4);
  }

  void CopyA(const Item& item, int64_t begin, int64_t end, char* to) const {
    const MatmulShape& s = p_.s;
    switch (kernels_.ValueBytes()) {
      case 1: return CopyTransposed<uint8_t>(item.a, s.a.col, begin, end, s.k, to);
      case 2: return CopyTransposed<uint16_t>(item.a, s.a.col, begin, end, s.k, to);
      default: return CopyTransposed<float>(item.a, s.a.col, begin, end, s.k, to);
    }
  }

 private:
  const DotKernels& kernels_;
  const Plan& p_;
  const DotMatmulArgs& args_;
};

// Many small items: each task computes some of them with the scratch of its worker.
void RunItems(const DotKernels& kernels, const Plan& p, const Run& run, char* scratch, Gang& gang) {
  const int64_t tasks = std::min<int64_t>(p.batches, 8 * gang.threads());
  gang.Run(tasks, [&](int64_t task, int worker) {
    char* own = scratch + worker * p.SetBytes();
    const char* packed = nullptr;
    for (int64_t i = p.batches * task / tasks; i < p.batches * (task + 1) / tasks; ++i) {
      const Item item = run.At(i, own);
      if (p.packs && item.b != packed) {
        for (int64_t panel = 0; panel < p.item.d.panels; ++panel) run.PackPanel(item, panel, own);
        packed = item.b;
      }
      if (p.copies_a) run.CopyA(item, 0, p.s.m, own + p.packed_bytes);
      for (int64_t t = 0; t < p.item.d.tasks; ++t) kernels.task(p.item, item.args, t, 0);
    }
  });
}

// All threads work on one item.
void RunItem(const DotKernels& kernels, const Plan& p, const Run& run, const Item& item, char* scratch, Gang& gang) {
  const int64_t panels = p.packs ? p.item.d.panels : 0;
  const int64_t copies = p.copies_a ? std::min<int64_t>(CeilDiv(p.s.m, 32), 4 * gang.threads()) : 0;
  if (panels + copies > 0) {
    gang.Run(panels + copies, [&](int64_t task, int) {
      if (task < panels) return run.PackPanel(item, task, scratch);
      const int64_t i = task - panels;
      run.CopyA(item, p.s.m * i / copies, p.s.m * (i + 1) / copies, scratch + p.packed_bytes);
    });
  }
  gang.Run(p.item.d.tasks, [&](int64_t task, int worker) { kernels.task(p.item, item.args, task, worker); });
}

}  // namespace

const DotKernels& BestDotKernels(DotType type, int64_t rows) {
  const auto& all = AllDotKernels(type);
  // Tile registers always multiply 16 rows.
  const bool tiles = type != DotType::kInt8 || rows >= kLeastTiledRows;
  return **std::find_if(all.begin(), all.end(), [&](const DotKernels* k) { return (tiles || !k->tiles) && k->Usable(); });
}

const DotKernels* FindDotKernels(DotType type, std::string_view isa_name) {
  for (const DotKernels* k : AllDotKernels(type)) {
    if (k->isa_name == isa_name && k->Usable()) return k;
  }
  return nullptr;
}

const char* DotKernelsName(const DotKernels& kernels) { return kernels.isa_name; }

int64_t DotPackedMatmulBBytes(const DotKernels& kernels, int64_t k, int64_t n) { return DotPackedBytes(kernels, 1, Segment(k), n); }

void DotPackMatmulB(const DotKernels& kernels, const float* b, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n,
                    const float* steps, void* packed) {
  DotPack(kernels, b, row_stride, col_stride, 1, Segment(k), n, steps, packed);
}

std::shared_ptr<const DotMatmulPlan> PlanDotMatmul(const DotKernels& kernels, const MatmulShape& shape, bool packed_b,
                                                   bool has_residual, int threads) {
  return std::make_shared<DotMatmulPlan>(MakePlan(kernels, shape, packed_b, has_residual, threads));
}

size_t DotMatmulScratchBytes(const DotMatmulPlan& plan) { return static_cast<size_t>(plan.TotalBytes()); }

size_t DotMatmulScratchBytes(const DotKernels& kernels, const MatmulShape& shape, bool packed_b, int threads) {
  int64_t bytes = 0;
  for (bool has_residual : {false, true})
    bytes = std::max(bytes, MakePlan(kernels, shape, packed_b, has_residual, threads).TotalBytes());
  return static_cast<size_t>(bytes);
}

void DotMatmul(const DotMatmulPlan& p, const DotMatmulArgs& args, void* scratch, Gang& gang) {
  if (p.batches == 0 || p.s.m == 0 || p.s.n == 0) return;
  const Run run(*p.kernels, p, args);
  char* bytes = static_cast<char*>(scratch);
  if (p.per_worker) return RunItems(*p.kernels, p, run, bytes, gang);
  for (int64_t i = 0; i < p.batches; ++i) RunItem(*p.kernels, p, run, run.At(i, bytes), bytes, gang);
}

void DotMatmul(const DotKernels& kernels, const MatmulShape& shape, const DotMatmulArgs& args, void* scratch, Gang& gang) {
  DotMatmul(MakePlan(kernels, shape, args.packed_b != nullptr, args.residual != nullptr, gang.threads()), args, scratch, gang);
}

}  // namespace tfengine::cpu
