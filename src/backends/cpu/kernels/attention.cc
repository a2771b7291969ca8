// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/attention.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/kernels/attention_kernels.h"
#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/row_kernels.h"
#include "backends/cpu/kernels/typed_blocks.h"

// A task takes a group of queries of one head. For each block of keys it packs K (transposed) and V into the panels of
// matmul, then goes through the queries a few register tiles at a time: scores, one step of the running softmax, and the
// product with V added to the task's own output rows. Scores stay in the first- and second-level caches. In bf16 everything
// that is multiplied is made of pairs of neighbours along the reduction (attention_kernels.h); other stored operands become
// f32 where they are packed.
namespace tfengine::cpu {
namespace {

constexpr int64_t kKeyBlock = 512;
constexpr int64_t kGroup = 256;        // queries of a task
constexpr int64_t kTilesPerStep = 4;   // register tiles of queries between two softmax steps

int64_t RoundUp(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

struct Kernels {
  const MatmulKernels& matmul;
  const RowKernels& rows;
  const TypedKernels& typed;
  const AttentionBf16Kernels* bf16;  // null: products in f32

  int TileRows() const { return bf16 ? bf16->rows : matmul.rows; }
  int TileCols() const { return bf16 ? bf16->cols : matmul.cols; }
  void Tile(int64_t rows, const MatmulTile& tile) const { (bf16 ? bf16->tile : matmul.tile)[rows](tile); }
};

bool InWords(const AttentionLayout& l) { return l.batch % 2 == 0 && l.head % 2 == 0 && l.row % 2 == 0; }

Kernels KernelsFor(const AttentionShape& s, const AttentionFormats& f, CpuIsa isa) {
  auto is_bf16 = [](const Format& x) { return x.storage == Storage::kBf16; };
  const bool bf16 = isa == CpuIsa::kAvx512 && HostCpu().avx512_bf16 && is_bf16(f.q) && is_bf16(f.k) && is_bf16(f.v) &&
                    s.depth % 2 == 0 && InWords(s.q) && InWords(s.k);
  return {MatmulKernelsFor(isa), RowKernelsFor(isa), TypedKernelsFor(isa), bf16 ? &kAttentionAvx512bf16 : nullptr};
}

struct Plan {
  int64_t group, groups;          // queries per task, tasks per head
  int64_t key_block, key_blocks;  // key_block is a multiple of the panel
  int64_t step;                   // queries per softmax step
  int64_t value_row;              // value_depth in whole panels
  int64_t depth;                  // of q and k: floats or words
  // Offsets into a worker's scratch, in floats.
  int64_t keys, values, scores, sums, state, mask, queries, converted, floats;
};

Plan MakePlan(const AttentionShape& s, const AttentionFormats& f, int threads, const Kernels& kernels) {
  Plan p;
  const int64_t heads = std::max<int64_t>(1, s.batch * s.heads), wanted = heads >= 2 * threads ? 1 : 4 * threads / heads;
  const int64_t fewest = std::max((s.queries + kGroup - 1) / kGroup, std::min(wanted, (s.queries + 15) / 16));
  p.group = RoundUp(std::max<int64_t>(1, (s.queries + fewest - 1) / std::max<int64_t>(1, fewest)), 4);
  p.groups = (s.queries + p.group - 1) / p.group;
  p.key_blocks = (s.keys + kKeyBlock - 1) / kKeyBlock;
  p.key_block = p.key_blocks == 0 ? 0 : RoundUp((s.keys + p.key_blocks - 1) / p.key_blocks, kMatmulPanel);
  p.step = std::min<int64_t>(p.group, kTilesPerStep * kernels.TileRows());
  p.value_row = RoundUp(s.value_depth, kMatmulPanel);
  p.depth = kernels.bf16 ? s.depth / 2 : s.depth;
  p.keys = 0;
  p.values = p.keys + p.key_block * s.depth;
  p.scores = RoundUp(p.values + p.key_block * p.value_row, 16);
  p.sums = p.scores + p.step * p.key_block;
  p.state = p.sums + p.group * p.value_row;
  p.mask = RoundUp(p.state + 2 * p.group, 16);
  p.queries = RoundUp(p.mask + p.key_block, 16);
  auto converts = [&](const Format& x) { return !kernels.bf16 && x.storage != Storage::kF32; };
  p.converted = p.queries + (converts(f.q) ? RoundUp(p.group * s.depth, 16) : 0);
  int64_t floats = 0;  // of a row of output, or of a panel of keys or values in f32
  if (f.o.storage != Storage::kF32) floats = s.value_depth;
  if (converts(f.k)) floats = std::max(floats, kMatmulPanel * s.depth);
  if (converts(f.v)) floats = std::max(floats, kMatmulPanel * p.key_block);
  p.floats = RoundUp(p.converted + floats, 16);
  return p;
}

class Task {
 public:
  Task(const AttentionShape& shape, const AttentionArgs& args, const Plan& plan, const Kernels& kernels, float* scratch)
      : s_(shape), args_(args), f_(args.formats), p_(plan), kernels_(kernels), rows_(kernels.rows), scratch_(scratch) {}

  void Run(int64_t batch, int64_t head, int64_t first, int64_t count) {
    batch_ = batch;
    head_ = head;
    const auto [q, q_row] = Queries(first, count);
    float *max = scratch_ + p_.state, *sum = max + p_.group;
    std::fill(max, max + count, -std::numeric_limits<float>::infinity());
    std::fill(sum, sum + count, 0.0f);
    for (int64_t block = 0; block < p_.key_blocks; ++block) {
      const int64_t key = block * p_.key_block, keys = std::min(p_.key_block, s_.keys - key);
      if (keys <= 0) break;
      PackBlock(key, keys);
      mask_source_ = nullptr;
      for (int64_t i = 0; i < count; i += p_.step) {
        const int64_t n = std::min(p_.step, count - i);
        float* scores = scratch_ + p_.scores;
        float* sums = scratch_ + p_.sums + i * p_.value_row;
        Multiply(q + i * q_row, q_row, n, p_.depth, scratch_ + p_.keys, keys, scores, p_.key_block, false);
        for (int64_t r = 0; r < n; ++r) {
          SoftmaxStep step{.scores = scores + r * p_.key_block, .n = keys, .scale = s_.scale, .masked = s_.masked,
                           .max = max[i + r], .sum = sum[i + r]};
          SetMask(first + i + r, key, keys, step);
          rows_.softmax_step(step);
          max[i + r] = step.max;
          sum[i + r] = step.sum;
          if (kernels_.bf16) kernels_.bf16->round(step.scores, keys);
          if (block > 0) rows_.scale(sums + r * p_.value_row, step.correction, sums + r * p_.value_row, p_.value_row);
        }
        Multiply(scores, p_.key_block, n, kernels_.bf16 ? (keys + 1) / 2 : keys, scratch_ + p_.values, s_.value_depth, sums,
                 p_.value_row, block > 0);
      }
    }
    const BlockWriter write(kernels_.typed, f_.o);
    for (int64_t r = 0; r < count; ++r) {
      void* o = At(args_.o, f_.o, batch * s_.o.batch + head * s_.o.head + (first + r) * s_.o.row);
      float* to = write.Target(o, scratch_ + p_.converted);
      rows_.scale(scratch_ + p_.sums + r * p_.value_row, 1.0f / sum[r], to, s_.value_depth);
      write.Flush(to, o, s_.value_depth);
    }
  }

 private:
  struct Matrix {
    const float* data;
    int64_t row;
  };

  Matrix Queries(int64_t first, int64_t count) const {
    const void* q = At(args_.q, f_.q, batch_ * s_.q.batch + head_ * s_.q.head + first * s_.q.row);
    if (kernels_.bf16) return {static_cast<const float*>(q), s_.q.row / 2};
    if (f_.q.storage == Storage::kF32) return {static_cast<const float*>(q), s_.q.row};
    float* to = scratch_ + p_.queries;
    for (int64_t r = 0; r < count; ++r) ToF32(At(q, f_.q, r * s_.q.row), f_.q, s_.depth, to + r * s_.depth);
    return {to, s_.depth};
  }

  void ToF32(const void* from, const Format& format, int64_t n, float* to) const {
    kernels_.typed.convert[Index(format)][0](from, format, to, Format(), -kUnbounded, kUnbounded, n);
  }

  void PackBlock(int64_t key, int64_t keys) {
    const void* k = At(args_.k, f_.k, batch_ * s_.k.batch + head_ * s_.k.head + key * s_.k.row);
    float* converted = scratch_ + p_.converted;
    for (int64_t j = 0; j < keys; j += kMatmulPanel) {
      const int64_t n = std::min(kMatmulPanel, keys - j);
      const void* panel = At(k, f_.k, j * s_.k.row);
      int64_t row = kernels_.bf16 ? s_.k.row / 2 : s_.k.row;
      if (!kernels_.bf16 && f_.k.storage != Storage::kF32) {
        for (int64_t i = 0; i < n; ++i) ToF32(At(panel, f_.k, i * s_.k.row), f_.k, s_.depth, converted + i * s_.depth);
        panel = converted;
        row = s_.depth;
      }
      PackMatmulPanel(kernels_.matmul, static_cast<const float*>(panel), 1, row, p_.depth, n, scratch_ + p_.keys + j * p_.depth);
    }
    const void* v = At(args_.v, f_.v, batch_ * s_.v.batch + head_ * s_.v.head + key * s_.v.row);
    for (int64_t j = 0; j < s_.value_depth; j += kMatmulPanel) {
      const int64_t n = std::min(kMatmulPanel, s_.value_depth - j);
      const void* panel = At(v, f_.v, j);
      if (kernels_.bf16) {
        kernels_.bf16->pack_pairs(static_cast<const uint16_t*>(panel), s_.v.row, keys, n,
                                  scratch_ + p_.values + j * ((keys + 1) / 2), kMatmulPanel);
        continue;
      }
      int64_t row = s_.v.row;
      if (f_.v.storage != Storage::kF32) {
        for (int64_t i = 0; i < keys; ++i) ToF32(At(panel, f_.v, i * s_.v.row), f_.v, n, converted + i * kMatmulPanel);
        panel = converted;
        row = kMatmulPanel;
      }
      PackMatmulPanel(kernels_.matmul, static_cast<const float*>(panel), row, 1, keys, n, scratch_ + p_.values + j * keys);
    }
  }

  // C[m, n rounded up to whole panels] from A[m, k] and packed panels of B.
  void Multiply(const float* a, int64_t a_row, int64_t m, int64_t k, const float* panels, int64_t n, float* c, int64_t c_row,
                bool accumulate) const {
    const int64_t tiles = (m + kernels_.TileRows() - 1) / kernels_.TileRows();
    for (int64_t j = 0; j < n; j += kMatmulPanel) {
      for (int64_t column = j; column < std::min(n, j + kMatmulPanel); column += kernels_.TileCols()) {
        for (int64_t t = 0; t < tiles; ++t) {
          const int64_t r0 = m * t / tiles, r1 = m * (t + 1) / tiles;
          kernels_.Tile(r1 - r0, {a + r0 * a_row, a_row, panels + j * k + (column - j), kMatmulPanel, c + r0 * c_row + column,
                                  c_row, k, accumulate, nullptr});
        }
      }
    }
  }

  // Points the step at the mask's row, converted to float; the converted row is kept while queries share it.
  void SetMask(int64_t query, int64_t key, int64_t keys, SoftmaxStep& step) {
    if (s_.mask == AttentionMask::kNone) return;
    const AttentionMaskLayout& layout = s_.mask_layout;
    const int64_t at = batch_ * layout.batch + head_ * layout.head + query * layout.query + key * layout.key;
    float* row = scratch_ + p_.mask;
    if (s_.mask == AttentionMask::kAdd) {
      const void* source = At(args_.mask, f_.mask, at);
      const bool direct = layout.key == 1 && f_.mask.storage == Storage::kF32;
      if (!direct && source != mask_source_) {
        if (layout.key == 1) {
          ToF32(source, f_.mask, keys, row);
        } else {
          for (int64_t i = 0; i < keys; ++i) ToF32(At(source, f_.mask, i * layout.key), f_.mask, 1, row + i);
        }
        mask_source_ = source;
      }
      step.add = direct ? static_cast<const float*>(source) : row;
      return;
    }
    const bool select = s_.mask == AttentionMask::kBoolSelect;
    const float yes = select ? 1.0f : 0.0f, no = select ? 0.0f : s_.masked;
    const bool* source = static_cast<const bool*>(args_.mask) + at;
    if (source != mask_source_) {
      if (layout.key == 1) {
        rows_.mask(source, yes, no, row, keys);
      } else {
        for (int64_t i = 0; i < keys; ++i) row[i] = source[i * layout.key] ? yes : no;
      }
      mask_source_ = source;
    }
    (select ? step.keep : step.add) = row;
  }

  const AttentionShape& s_;
  const AttentionArgs& args_;
  const AttentionFormats& f_;
  const Plan& p_;
  const Kernels& kernels_;
  const RowKernels& rows_;
  float* scratch_;
  int64_t batch_ = 0, head_ = 0;
  const void* mask_source_ = nullptr;
};

}  // namespace

AttentionLayout AttentionBSHD(int64_t rows, int64_t heads, int64_t depth) { return {rows * heads * depth, depth, heads * depth}; }
AttentionLayout AttentionBHSD(int64_t rows, int64_t heads, int64_t depth) { return {heads * rows * depth, rows * depth, depth}; }

size_t AttentionScratchBytes(const AttentionShape& shape, int threads, CpuIsa isa, const AttentionFormats& formats) {
  return MakePlan(shape, formats, threads, KernelsFor(shape, formats, isa)).floats * threads * sizeof(float);
}

void Attention(const AttentionShape& s, const AttentionArgs& args, void* scratch, Gang& gang, CpuIsa isa) {
  if (s.batch == 0 || s.heads == 0 || s.queries == 0 || s.value_depth == 0) return;
  const Format& out = args.formats.o;
  if (s.keys == 0) {
    const float zero = 0;
    for (int64_t i = 0; i < s.batch * s.heads * s.queries; ++i) {
      const int64_t row = i / s.queries / s.heads * s.o.batch + i / s.queries % s.heads * s.o.head + i % s.queries * s.o.row;
      for (int64_t d = 0; d < s.value_depth; ++d)
        TypedKernelsFor(isa).convert[0][Index(out)](&zero, Format(), At(args.o, out, row + d), out, -kUnbounded, kUnbounded, 1);
    }
    return;
  }
  const Kernels kernels = KernelsFor(s, args.formats, isa);
  const Plan p = MakePlan(s, args.formats, gang.threads(), kernels);
  const int64_t heads = s.batch * s.heads, all = heads * p.groups;
  const int64_t tasks = std::min<int64_t>(all, 64 * gang.threads());
  gang.Run(tasks, [&](int64_t part, int worker) {
    Task task(s, args, p, kernels, static_cast<float*>(scratch) + worker * p.floats);
    for (int64_t i = all * part / tasks; i < all * (part + 1) / tasks; ++i) {
      const int64_t head = i / p.groups, first = i % p.groups * p.group;
      task.Run(head / s.heads, head % s.heads, first, std::min(p.group, s.queries - first));
    }
  });
}

}  // namespace tfengine::cpu
