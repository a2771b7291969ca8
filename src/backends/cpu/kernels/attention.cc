// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/attention.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/row_kernels.h"

// A task takes a group of queries of one head. For each block of keys it packs K (transposed) and V into the panels of
// matmul, then goes through the queries a few register tiles at a time: scores, one step of the running softmax, and the
// product with V added to the task's own output rows. Scores stay in the first- and second-level caches.
namespace tfengine::cpu {
namespace {

constexpr int64_t kKeyBlock = 512;
constexpr int64_t kGroup = 256;        // queries of a task
constexpr int64_t kTilesPerStep = 4;   // register tiles of queries between two softmax steps

int64_t RoundUp(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

struct Plan {
  int64_t group, groups;          // queries per task, tasks per head
  int64_t key_block, key_blocks;  // key_block is a multiple of the panel
  int64_t step;                   // queries per softmax step
  int64_t value_row;              // value_depth in whole panels
  // Offsets into a worker's scratch, in floats.
  int64_t keys, values, scores, sums, state, mask, floats;
};

Plan MakePlan(const AttentionShape& s, int threads, const MatmulKernels& kernels) {
  Plan p;
  const int64_t heads = std::max<int64_t>(1, s.batch * s.heads), wanted = heads >= 2 * threads ? 1 : 4 * threads / heads;
  const int64_t fewest = std::max((s.queries + kGroup - 1) / kGroup, std::min(wanted, (s.queries + 15) / 16));
  p.group = RoundUp(std::max<int64_t>(1, (s.queries + fewest - 1) / std::max<int64_t>(1, fewest)), 4);
  p.groups = (s.queries + p.group - 1) / p.group;
  p.key_blocks = (s.keys + kKeyBlock - 1) / kKeyBlock;
  p.key_block = p.key_blocks == 0 ? 0 : RoundUp((s.keys + p.key_blocks - 1) / p.key_blocks, kMatmulPanel);
  p.step = std::min<int64_t>(p.group, kTilesPerStep * kernels.rows);
  p.value_row = RoundUp(s.value_depth, kMatmulPanel);
  p.keys = 0;
  p.values = p.keys + p.key_block * s.depth;
  p.scores = RoundUp(p.values + p.key_block * p.value_row, 16);
  p.sums = p.scores + p.step * p.key_block;
  p.state = p.sums + p.group * p.value_row;
  p.mask = RoundUp(p.state + 2 * p.group, 16);
  p.floats = RoundUp(p.mask + p.key_block, 16);
  return p;
}

class Task {
 public:
  Task(const AttentionShape& shape, const AttentionArgs& args, const Plan& plan, const MatmulKernels& matmul,
       const RowKernels& rows, float* scratch)
      : s_(shape), args_(args), p_(plan), matmul_(matmul), rows_(rows), scratch_(scratch) {}

  void Run(int64_t batch, int64_t head, int64_t first, int64_t count) {
    batch_ = batch;
    head_ = head;
    const float* q = args_.q + batch * s_.q.batch + head * s_.q.head + first * s_.q.row;
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
        Multiply(q + i * s_.q.row, s_.q.row, n, s_.depth, scratch_ + p_.keys, keys, scores, p_.key_block, false);
        for (int64_t r = 0; r < n; ++r) {
          SoftmaxStep step{.scores = scores + r * p_.key_block, .n = keys, .scale = s_.scale, .masked = s_.masked,
                           .max = max[i + r], .sum = sum[i + r]};
          SetMask(first + i + r, key, keys, step);
          rows_.softmax_step(step);
          max[i + r] = step.max;
          sum[i + r] = step.sum;
          if (block > 0) rows_.scale(sums + r * p_.value_row, step.correction, sums + r * p_.value_row, p_.value_row);
        }
        Multiply(scores, p_.key_block, n, keys, scratch_ + p_.values, s_.value_depth, sums, p_.value_row, block > 0);
      }
    }
    float* o = args_.o + batch * s_.o.batch + head * s_.o.head + first * s_.o.row;
    for (int64_t r = 0; r < count; ++r) {
      rows_.scale(scratch_ + p_.sums + r * p_.value_row, 1.0f / sum[r], o + r * s_.o.row, s_.value_depth);
    }
  }

 private:
  void PackBlock(int64_t key, int64_t keys) {
    const float* k = args_.k + batch_ * s_.k.batch + head_ * s_.k.head + key * s_.k.row;
    for (int64_t j = 0; j < keys; j += kMatmulPanel) {
      PackMatmulPanel(matmul_, k + j * s_.k.row, 1, s_.k.row, s_.depth, std::min(kMatmulPanel, keys - j),
                      scratch_ + p_.keys + j * s_.depth);
    }
    const float* v = args_.v + batch_ * s_.v.batch + head_ * s_.v.head + key * s_.v.row;
    for (int64_t j = 0; j < s_.value_depth; j += kMatmulPanel) {
      PackMatmulPanel(matmul_, v + j, s_.v.row, 1, keys, std::min(kMatmulPanel, s_.value_depth - j),
                      scratch_ + p_.values + j * keys);
    }
  }

  // C[m, n rounded up to whole panels] from A[m, k] and packed panels of B.
  void Multiply(const float* a, int64_t a_row, int64_t m, int64_t k, const float* panels, int64_t n, float* c, int64_t c_row,
                bool accumulate) const {
    const int64_t tiles = (m + matmul_.rows - 1) / matmul_.rows;
    for (int64_t j = 0; j < n; j += kMatmulPanel) {
      for (int64_t column = j; column < std::min(n, j + kMatmulPanel); column += matmul_.cols) {
        for (int64_t t = 0; t < tiles; ++t) {
          const int64_t r0 = m * t / tiles, r1 = m * (t + 1) / tiles;
          matmul_.tile[r1 - r0]({a + r0 * a_row, a_row, panels + j * k + (column - j), kMatmulPanel, c + r0 * c_row + column,
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
      const float* source = static_cast<const float*>(args_.mask) + at;
      if (layout.key != 1 && source != mask_source_) {
        for (int64_t i = 0; i < keys; ++i) row[i] = source[i * layout.key];
        mask_source_ = source;
      }
      step.add = layout.key == 1 ? source : row;
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
  const Plan& p_;
  const MatmulKernels& matmul_;
  const RowKernels& rows_;
  float* scratch_;
  int64_t batch_ = 0, head_ = 0;
  const void* mask_source_ = nullptr;
};

}  // namespace

AttentionLayout AttentionBSHD(int64_t rows, int64_t heads, int64_t depth) { return {rows * heads * depth, depth, heads * depth}; }
AttentionLayout AttentionBHSD(int64_t rows, int64_t heads, int64_t depth) { return {heads * rows * depth, rows * depth, depth}; }

size_t AttentionScratchBytes(const AttentionShape& shape, int threads, CpuIsa isa) {
  return MakePlan(shape, threads, MatmulKernelsFor(isa)).floats * threads * sizeof(float);
}

void Attention(const AttentionShape& s, const AttentionArgs& args, void* scratch, Gang& gang, CpuIsa isa) {
  if (s.batch == 0 || s.heads == 0 || s.queries == 0 || s.value_depth == 0) return;
  const MatmulKernels& matmul = MatmulKernelsFor(isa);
  const RowKernels& rows = RowKernelsFor(isa);
  const Plan p = MakePlan(s, gang.threads(), matmul);
  if (s.keys == 0) {
    for (int64_t i = 0; i < s.batch * s.heads * s.queries; ++i) {
      float* o = args.o + i / s.queries / s.heads * s.o.batch + i / s.queries % s.heads * s.o.head + i % s.queries * s.o.row;
      std::fill(o, o + s.value_depth, 0.0f);
    }
    return;
  }
  const int64_t heads = s.batch * s.heads, all = heads * p.groups;
  const int64_t tasks = std::min<int64_t>(all, 64 * gang.threads());
  gang.Run(tasks, [&](int64_t part, int worker) {
    Task task(s, args, p, matmul, rows, static_cast<float*>(scratch) + worker * p.floats);
    for (int64_t i = all * part / tasks; i < all * (part + 1) / tasks; ++i) {
      const int64_t head = i / p.groups, first = i % p.groups * p.group;
      task.Run(head / s.heads, head % s.heads, first, std::min(p.group, s.queries - first));
    }
  });
}

}  // namespace tfengine::cpu
