// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/matmul.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/matmul_kernels.h"

// Blocking: a task owns a block of rows (its part of A fits the second-level cache) and a group of panels of B, and
// walks them as k blocks > panels > register tiles. B's panel streams from memory or the shared cache once per row block
// while the next panel is prefetched; A's rows are read where they lie unless they are transposed (copying rows that are
// a multiple of 4 KiB apart, which share a cache set, was no faster).
namespace tfengine::cpu {
namespace {

constexpr int64_t kDepthBlock = 768;           // of k
constexpr int64_t kBlockFloats = 128 * 1024;   // of A per task: 512 KiB
constexpr int64_t kTaskMacs = 1 << 18;         // below this a task is not worth its start
constexpr int64_t kItemMacs = 1 << 21;         // batch items below this are not split
constexpr int64_t kTasksPerThread = 8;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

// Everything that follows from the shape; the scratch size and the run must agree on it.
struct Plan {
  MatmulShape s;  // batch dims folded into m where possible
  bool packed = false;
  int64_t batches = 1;
  int64_t panels = 0;
  bool direct_b = false;    // read B in place, but for a last panel that is not full
  bool copy_a = false;
  int64_t copy_row = 0;
  int64_t depth_blocks = 1;
  bool per_worker = false;  // a task computes whole batch items
  int64_t splits = 1;       // of k, with partial sums in scratch
  int64_t row_blocks = 1, groups = 1;
  // In floats; for per_worker one set per thread.
  int64_t packed_floats = 0, copy_floats = 0, partial_floats = 0;

  int64_t SetFloats() const { return RoundUp(packed_floats + copy_floats, 16); }
  int64_t TotalFloats(int threads) const { return SetFloats() * (per_worker ? threads : 1) + partial_floats; }
};

void DropBatchDim(MatmulShape& s, int d) {
  auto drop = [&](int64_t* v) { std::copy(v + d + 1, v + s.batch_rank, v + d); };
  drop(s.batch);
  for (MatrixLayout* layout : {&s.a, &s.b, &s.c, &s.residual}) drop(layout->batch);
  --s.batch_rank;
}

}  // namespace

MatmulShape FoldMatmulBatch(MatmulShape s, bool packed, bool has_residual) {
  for (int d = s.batch_rank - 1; d >= 0; --d) {
    const int64_t extent = s.batch[d];
    if (extent != 1) {
      auto continues = [&](const MatrixLayout& x) { return s.m == 1 || x.batch[d] == s.m * x.row; };
      const bool repeats_b = packed || s.b.batch[d] == 0;
      if (!repeats_b || !continues(s.a) || !continues(s.c) || (has_residual && !continues(s.residual))) continue;
      if (s.m == 1) {
        if (s.a.col != 1 && s.k > 1) continue;
        for (MatrixLayout* layout : {&s.a, &s.c, &s.residual}) layout->row = layout->batch[d];
      }
      s.m *= extent;
    }
    DropBatchDim(s, d);
  }
  return s;
}

namespace {

Plan MakePlan(const MatmulShape& shape, bool packed, bool has_residual, int threads, const MatmulKernels& kernels) {
  Plan p;
  p.s = FoldMatmulBatch(shape, packed, has_residual);
  p.packed = packed;
  MatmulShape& s = p.s;
  if (s.k <= 1) s.a.col = 1;
  for (int d = 0; d < s.batch_rank; ++d) p.batches *= s.batch[d];
  p.panels = CeilDiv(s.n, kMatmulPanel);
  p.depth_blocks = std::max<int64_t>(1, CeilDiv(s.k, kDepthBlock));
  if (p.batches == 0 || s.m == 0 || s.n == 0) return p;
  const int64_t tiles = CeilDiv(s.m, kernels.rows);

  p.direct_b = !packed && s.b.col == 1 && tiles <= 2;
  if (!packed) p.packed_floats = RoundUp((p.direct_b ? 1 : p.panels) * kMatmulPanel * s.k, 16);
  p.copy_a = s.a.col != 1;
  if (p.copy_a) {
    p.copy_row = RoundUp(s.k, 16);
    p.copy_floats = s.m * p.copy_row;
  }

  const int64_t macs = s.m * s.n * s.k;
  p.per_worker = p.batches > 1 && (p.batches >= 4 * threads || macs < kItemMacs);
  if (p.per_worker) return p;

  // Memory traffic counts too: a thin product is bound by reading B.
  const int64_t panel_cost = kMatmulPanel * s.k * std::max<int64_t>(s.m, 4);
  int64_t tasks = std::clamp<int64_t>(p.panels * panel_cost / kTaskMacs, 1, kTasksPerThread * threads);
  const int64_t block_rows =
      std::max<int64_t>(kernels.rows, kBlockFloats / std::clamp<int64_t>(s.k, 1, kDepthBlock) / kernels.rows * kernels.rows);
  p.row_blocks = CeilDiv(s.m, block_rows);
  if (p.panels * p.row_blocks < tasks) p.row_blocks = std::min(tiles, CeilDiv(tasks, p.panels));
  p.row_blocks = std::max<int64_t>(1, std::min(p.row_blocks, tiles));
  // Groups of equally many panels, so that equally many tasks per thread are equal work.
  const int64_t group = CeilDiv(p.panels, std::clamp<int64_t>(tasks / p.row_blocks, 1, p.panels));
  p.groups = CeilDiv(p.panels, group);
  if (p.row_blocks * p.groups < threads && tasks >= threads && p.batches == 1 && s.k >= 512 * threads) {
    p.splits = CeilDiv(threads, p.row_blocks * p.groups);
    p.partial_floats = p.splits * s.m * p.panels * kMatmulPanel;
  }
  return p;
}

struct Span {
  int64_t begin, end;
};
// Part i of [0, n) cut into `parts` nearly equal parts.
Span Part(int64_t n, int64_t parts, int64_t i) { return {n * i / parts, n * (i + 1) / parts}; }

// One matrix product with its operands resolved.
struct Item {
  const float* source_a;
  const float* source_b;  // null if packed beforehand
  const float* a;         // source_a or its copy
  int64_t a_row;
  const float* panels;  // packed B; null: source_b is read in place,
  const float* tail;    // but for its last panel if that is not full
  float* c;
  int64_t c_row;
  const float* residual;
};

class Run {
 public:
  Run(const Plan& plan, const MatmulArgs& args, const MatmulKernels& kernels)
      : p_(plan), s_(plan.s), args_(args), kernels_(kernels) {}

  Item At(int64_t index, float* scratch) const {
    int64_t a = 0, b = 0, c = 0, residual = 0;
    for (int d = s_.batch_rank - 1; d >= 0; --d) {
      const int64_t i = index % s_.batch[d];
      index /= s_.batch[d];
      a += i * s_.a.batch[d];
      b += i * s_.b.batch[d];
      c += i * s_.c.batch[d];
      residual += i * s_.residual.batch[d];
    }
    Item item{};
    item.source_a = args_.a + a;
    item.source_b = p_.packed ? nullptr : args_.b + b;
    item.a = p_.copy_a ? scratch + p_.packed_floats : item.source_a;
    item.a_row = p_.copy_a ? p_.copy_row : s_.a.row;
    item.panels = p_.packed ? args_.packed_b : p_.direct_b ? nullptr : scratch;
    item.tail = scratch;
    item.c = args_.c + c;
    item.c_row = s_.c.row;
    item.residual = args_.residual ? args_.residual + residual : nullptr;
    return item;
  }

  // Packs panels [begin, end) of the item's B.
  void PackB(const Item& item, Span panels, float* to) const {
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const int64_t j = p * kMatmulPanel;
      PackMatmulPanel(kernels_, item.source_b + j * s_.b.col, s_.b.row, s_.b.col, s_.k, std::min(kMatmulPanel, s_.n - j),
                      to + (p - (p_.direct_b ? p_.panels - 1 : 0)) * kMatmulPanel * s_.k);
    }
  }
  Span PanelsToPack() const {
    if (p_.packed) return {0, 0};
    if (!p_.direct_b) return {0, p_.panels};
    return {s_.n % kMatmulPanel ? p_.panels - 1 : p_.panels, p_.panels};
  }

  void CopyA(const Item& item, Span rows, float* to) const {
    to += p_.packed_floats;
    kernels_.transpose(item.source_a + rows.begin, s_.a.col, s_.k, rows.end - rows.begin, to + rows.begin * p_.copy_row,
                       p_.copy_row);
  }

  // Rows x panels of one item over [k0, k1) of k; `finish`: bias, residual and activation follow.
  void Block(const Item& item, Span rows, Span panels, Span depth, float* c, int64_t c_row, bool finish) const {
    const int64_t m = rows.end - rows.begin;
    const int64_t tiles = CeilDiv(m, kernels_.rows);
    const int64_t depth_blocks = std::max<int64_t>(1, CeilDiv(depth.end - depth.begin, kDepthBlock));
    alignas(64) float edge[MatmulKernels::kMaxRows * kMatmulPanel];
    for (int64_t block = 0; block < depth_blocks; ++block) {
      Span k = Part(depth.end - depth.begin, depth_blocks, block);
      k = {k.begin + depth.begin, k.end + depth.begin};
      const bool last = block == depth_blocks - 1;
      for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
        const int64_t j0 = panel * kMatmulPanel;
        const bool in_place = !item.panels && j0 + kMatmulPanel <= s_.n;
        const float* b = in_place       ? item.source_b + k.begin * s_.b.row + j0
                         : item.panels ? item.panels + (panel * s_.k + k.begin) * kMatmulPanel
                                       : item.tail + k.begin * kMatmulPanel;
        const int64_t b_row = in_place ? s_.b.row : kMatmulPanel;
        const char* next = nullptr;
        if (item.panels && tiles > 1) {
          const int64_t next_panel = panel + 1 < panels.end ? panel + 1 : panels.begin;
          const int64_t next_k = panel + 1 < panels.end ? k.begin : k.end;
          if (next_k < s_.k) next = reinterpret_cast<const char*>(item.panels + (next_panel * s_.k + next_k) * kMatmulPanel);
        }
        const int64_t prefetch_bytes = (k.end - k.begin) / 4 * 64;
        for (int64_t j = j0; j < std::min(j0 + kMatmulPanel, s_.n); j += kernels_.cols) {
          const int64_t cols = std::min<int64_t>(kernels_.cols, s_.n - j);
          for (int64_t t = 0; t < tiles; ++t) {
            const Span r = Part(m, tiles, t);
            const int64_t i = rows.begin + r.begin, count = r.end - r.begin;
            float* out = c + i * c_row + j;
            MatmulTile tile{item.a + i * item.a_row + k.begin, item.a_row, b + (j - j0), b_row, out, c_row, k.end - k.begin,
                            block > 0, next && t < 8 ? next + t * prefetch_bytes : nullptr};
            if (cols < kernels_.cols) {
              tile.c = edge;
              tile.c_row = kMatmulPanel;
              if (block > 0) CopyRows(out, c_row, edge, kMatmulPanel, count, cols);
            }
            kernels_.tile[count](tile);
            if (cols < kernels_.cols) CopyRows(edge, kMatmulPanel, out, c_row, count, cols);
            if (finish && last) Finish(item, i, j, count, cols);
          }
        }
      }
    }
  }

  void Finish(const Item& item, int64_t i, int64_t j, int64_t rows, int64_t cols) const {
    if (!args_.bias && !item.residual && args_.activation.kind == ActivationKind::kNone) return;
    kernels_.epilogue(item.c + i * item.c_row + j, item.c_row, rows, cols, args_.bias ? args_.bias + j : nullptr,
                      item.residual ? item.residual + i * s_.residual.row + j : nullptr, s_.residual.row, args_.activation);
  }

 private:
  static void CopyRows(const float* from, int64_t from_row, float* to, int64_t to_row, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_row, from + r * from_row, cols * sizeof(float));
  }

  const Plan& p_;
  const MatmulShape& s_;
  const MatmulArgs& args_;
  const MatmulKernels& kernels_;
};

// Many small items: each task computes some of them with the scratch of its worker.
void RunItems(const Plan& p, const Run& run, float* scratch, Gang& gang) {
  const int64_t tasks = std::min<int64_t>(p.batches, kTasksPerThread * gang.threads());
  gang.Run(tasks, [&](int64_t task, int worker) {
    float* own = scratch + worker * p.SetFloats();
    const Span items = Part(p.batches, tasks, task);
    const float* packed_b = nullptr;
    for (int64_t i = items.begin; i < items.end; ++i) {
      const Item item = run.At(i, own);
      if (item.source_b && item.source_b != packed_b) run.PackB(item, run.PanelsToPack(), own);
      packed_b = item.source_b;
      if (p.copy_a) run.CopyA(item, {0, p.s.m}, own);
      run.Block(item, {0, p.s.m}, {0, p.panels}, {0, p.s.k}, item.c, item.c_row, true);
    }
  });
}

// All threads work on one item.
void RunItem(const Plan& p, const Run& run, const Item& item, float* scratch, Gang& gang) {
  const MatmulShape& s = p.s;
  const Span to_pack = run.PanelsToPack();
  const int64_t pack_tasks = std::min<int64_t>(to_pack.end - to_pack.begin, kTasksPerThread * gang.threads());
  const int64_t copy_tasks = p.copy_a ? std::clamp<int64_t>(s.m / 16, 1, kTasksPerThread * gang.threads()) : 0;
  if (pack_tasks + copy_tasks > 0) {
    gang.Run(pack_tasks + copy_tasks, [&](int64_t task, int) {
      if (task < copy_tasks) {
        run.CopyA(item, Part(s.m, copy_tasks, task), scratch);
      } else {
        const Span part = Part(to_pack.end - to_pack.begin, pack_tasks, task - copy_tasks);
        run.PackB(item, {to_pack.begin + part.begin, to_pack.begin + part.end}, scratch);
      }
    });
  }
  if (p.splits == 1) {
    gang.Run(p.row_blocks * p.groups, [&](int64_t task, int) {
      run.Block(item, Part(s.m, p.row_blocks, task / p.groups), Part(p.panels, p.groups, task % p.groups), {0, s.k}, item.c,
                item.c_row, true);
    });
    return;
  }
  float* partial = scratch + p.SetFloats();
  const int64_t row = p.panels * kMatmulPanel;
  gang.Run(p.splits * p.row_blocks * p.groups, [&](int64_t task, int) {
    const int64_t split = task % p.splits, part = task / p.splits;
    run.Block(item, Part(s.m, p.row_blocks, part / p.groups), Part(p.panels, p.groups, part % p.groups),
              Part(s.k, p.splits, split), partial + split * s.m * row, row, false);
  });
  const int64_t sum_tasks = std::min<int64_t>(CeilDiv(s.m, 16), kTasksPerThread * gang.threads());
  gang.Run(sum_tasks, [&](int64_t task, int) {
    const Span rows = Part(s.m, sum_tasks, task);
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      float* c = item.c + i * item.c_row;
      for (int64_t j = 0; j < s.n; ++j) {
        float sum = 0;
        for (int64_t split = 0; split < p.splits; ++split) sum += partial[(split * s.m + i) * row + j];
        c[j] = sum;
      }
    }
    run.Finish(item, rows.begin, 0, rows.end - rows.begin, s.n);
  });
}

}  // namespace

const MatmulKernels& MatmulKernelsFor(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512: return kMatmulAvx512;
    case CpuIsa::kAvx2: return kMatmulAvx2;
    case CpuIsa::kPortable: break;
  }
  return kMatmulPortable;
}

void PackMatmulPanel(const MatmulKernels& kernels, const float* from, int64_t row_stride, int64_t col_stride, int64_t k,
                     int64_t cols, float* to) {
  if (cols < kMatmulPanel) {
    for (int64_t p = 0; p < k; ++p) std::fill(to + p * kMatmulPanel + cols, to + (p + 1) * kMatmulPanel, 0.0f);
  }
  if (row_stride == 1) {
    kernels.transpose(from, col_stride, cols, k, to, kMatmulPanel);
  } else if (col_stride == 1) {
    for (int64_t p = 0; p < k; ++p) std::memcpy(to + p * kMatmulPanel, from + p * row_stride, cols * sizeof(float));
  } else {
    for (int64_t p = 0; p < k; ++p) {
      for (int64_t j = 0; j < cols; ++j) to[p * kMatmulPanel + j] = from[p * row_stride + j * col_stride];
    }
  }
}

MatmulShape DenseMatmul(int64_t m, int64_t n, int64_t k) {
  MatmulShape s;
  s.m = m;
  s.n = n;
  s.k = k;
  s.a.row = k;
  s.b.row = s.c.row = s.residual.row = n;
  return s;
}

void PackMatmulB(const float* b, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n, float* packed) {
  const MatmulKernels& kernels = MatmulKernelsFor(HostCpu().isa);
  for (int64_t j = 0; j < n; j += kMatmulPanel) {
    PackMatmulPanel(kernels, b + j * col_stride, row_stride, col_stride, k, std::min(kMatmulPanel, n - j), packed + j * k);
  }
}

size_t MatmulScratchBytes(const MatmulShape& shape, bool packed_b, int threads, CpuIsa isa) {
  int64_t floats = 0;
  for (bool has_residual : {false, true}) {
    floats = std::max(floats, MakePlan(shape, packed_b, has_residual, threads, MatmulKernelsFor(isa)).TotalFloats(threads));
  }
  return floats * sizeof(float);
}

void Matmul(const MatmulShape& shape, const MatmulArgs& args, void* scratch, Gang& gang, CpuIsa isa) {
  const MatmulKernels& kernels = MatmulKernelsFor(isa);
  const Plan p = MakePlan(shape, args.packed_b != nullptr, args.residual != nullptr, gang.threads(), kernels);
  if (p.batches == 0 || p.s.m == 0 || p.s.n == 0) return;
  const Run run(p, args, kernels);
  float* floats = static_cast<float*>(scratch);
  if (p.per_worker) {
    RunItems(p, run, floats, gang);
  } else {
    for (int64_t i = 0; i < p.batches; ++i) RunItem(p, run, run.At(i, floats), floats, gang);
  }
}

}  // namespace tfengine::cpu
