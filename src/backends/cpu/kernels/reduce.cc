// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/reduce.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/kernels/convert.h"
#include "backends/cpu/kernels/row_kernels.h"
#include "backends/cpu/kernels/typed_blocks.h"
#include "base/errors.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 16384;   // elements worth a task of their own
constexpr int64_t kColumns = 512;  // results accumulated at a time
constexpr int64_t kBlock = 64;     // rows summed before they join the total: bounds the rounding error of long sums

// The dims merged into runs of kept and reduced ones, outermost first.
struct Axes {
  int rank = 0;
  int64_t dims[kMaxRank] = {}, strides[kMaxRank] = {};
  int64_t size = 1;

  void Prepend(int64_t dim, int64_t stride) {
    std::copy_backward(dims, dims + rank, dims + rank + 1);
    std::copy_backward(strides, strides + rank, strides + rank + 1);
    dims[0] = dim;
    strides[0] = stride;
    ++rank;
    size *= dim;
  }
  int64_t Offset(int64_t index) const {
    if (rank == 1) return index * strides[0];  // without a division
    int64_t offset = 0;
    for (int d = rank - 1; d >= 0; --d) {
      offset += index % dims[d] * strides[d];
      index /= dims[d];
    }
    return offset;
  }
};

// x seen as kept axes x reduced axes x an inner dense row that is either all kept or all reduced.
struct View {
  Axes kept, reduced;
  int64_t inner = 1;
  bool inner_reduced = false;

  int64_t Results() const { return kept.size * (inner_reduced ? 1 : inner); }
  int64_t Count() const { return reduced.size * (inner_reduced ? inner : 1); }
};

View MakeView(Dims dims, uint32_t axes) {
  TFE_CHECK(dims.size() <= kMaxRank);
  View view;
  int64_t stride = 1;
  bool first = true, current = false;
  for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
    if (dims[d] == 1) continue;
    const bool reduced = axes >> d & 1;
    if (first) {
      view.inner_reduced = reduced;
      view.inner = dims[d];
    } else if (reduced == current) {
      // Continues the run of the dim to its right.
      if (view.kept.rank + view.reduced.rank == 0) {
        view.inner *= dims[d];
      } else {
        Axes& to = reduced ? view.reduced : view.kept;
        to.dims[0] *= dims[d];
        to.size *= dims[d];
      }
    } else {
      (reduced ? view.reduced : view.kept).Prepend(dims[d], stride);
    }
    first = false;
    current = reduced;
    stride *= dims[d];
  }
  return view;
}

struct Folder {
  const RowKernels& kernels;
  Format from;
  Fold fold;
  float identity;

  float Row(const void* x, int64_t n) const { return kernels.reduce[static_cast<int>(fold)][Index(from)](x, from, n); }
  void Combine(const float* x, float* y, int64_t n) const { kernels.combine[static_cast<int>(fold)](x, y, n); }
};

// Results [c0, c1) of the inner row (kept) at `x`, over reduced indices [r0, r1).
void FoldColumns(const Folder& f, const View& v, const void* x, int64_t r0, int64_t r1, int64_t c0, int64_t c1, float* y) {
  for (int64_t c = c0; c < c1; c += kColumns) {
    const int64_t n = std::min(kColumns, c1 - c);
    float total[kColumns], block[kColumns];
    std::fill(total, total + n, f.identity);
    for (int64_t r = r0; r < r1; r += kBlock) {
      const void* rows[kBlock];
      const int64_t count = std::min(kBlock, r1 - r);
      for (int64_t i = 0; i < count; ++i) rows[i] = At(x, f.from, v.reduced.Offset(r + i) + c);
      f.kernels.fold_rows[static_cast<int>(f.fold)][Index(f.from)](rows, count, f.from, block, n);
      f.Combine(block, total, n);
    }
    std::copy(total, total + n, y + c);
  }
}

// One result whose inner row is reduced.
float FoldRow(const Folder& f, const View& v, const void* x, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
  float total = f.identity;
  for (int64_t r = r0; r < r1; ++r) {
    float part = f.Row(At(x, f.from, v.reduced.Offset(r) + c0), c1 - c0);
    f.Combine(&part, &total, 1);
  }
  return total;
}

// How the work is cut: kept indices x column blocks, and, when those are few, parts of the reduced range.
struct Cut {
  int64_t column_parts = 1, reduce_parts = 1;
  bool split_inner = false;  // the parts cut the inner row, not the outer reduced axes
};

Cut MakeCut(const View& v, int threads) {
  Cut cut;
  if (!v.inner_reduced) cut.column_parts = (v.inner + kColumns - 1) / kColumns;
  const int64_t units = v.kept.size * cut.column_parts, work = v.Results() * v.Count();
  if (units >= threads || work < 4 * kPart || threads == 1) return cut;
  cut.split_inner = v.inner_reduced && v.reduced.size < threads;
  const int64_t range = cut.split_inner ? v.inner : v.reduced.size;
  cut.reduce_parts = std::clamp<int64_t>(std::min(work / kPart, range), 1, 2 * threads);
  return cut;
}

}  // namespace

size_t ReduceScratchBytes(Dims dims, uint32_t axes, int threads, const Format& to) {
  const View v = MakeView(dims, axes);
  const Cut cut = MakeCut(v, threads);
  return ((cut.reduce_parts > 1 ? cut.reduce_parts : 0) + (to.storage != Storage::kF32)) * v.Results() * sizeof(float);
}

void Reduce(ReduceOp op, const void* x, const Format& from, Dims dims, uint32_t axes, void* result, const Format& to_format,
            void* scratch, Gang& gang, CpuIsa isa) {
  const View v = MakeView(dims, axes);
  const int64_t results = v.Results(), count = v.Count();
  if (results == 0) return;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  TFE_CHECK(op != ReduceOp::k_prod || from.storage != Storage::kU8);
  Folder f{RowKernelsFor(isa), from, Fold::kSum, 0};
  if (op == ReduceOp::k_max) f.fold = Fold::kMax, f.identity = -kInfinity;
  if (op == ReduceOp::k_min) f.fold = Fold::kMin, f.identity = kInfinity;
  if (op == ReduceOp::k_prod) f.fold = Fold::kProd, f.identity = 1;
  float* y = static_cast<float*>(result);
  if (to_format.storage != Storage::kF32) {
    y = static_cast<float*>(scratch);
    scratch = y + results;
  }
  if (count == 0) {
    std::fill(y, y + results, op == ReduceOp::k_mean ? std::numeric_limits<float>::quiet_NaN() : f.identity);
    if (y != result) Convert(y, {}, result, to_format, results, gang, isa);
    return;
  }
  const Cut cut = MakeCut(v, gang.threads());
  float* to = cut.reduce_parts > 1 ? static_cast<float*>(scratch) : y;
  const int64_t range = cut.split_inner ? v.inner : v.reduced.size;
  // Units are kept index x column part x reduce part.
  const int64_t units = v.kept.size * cut.column_parts * cut.reduce_parts;
  ParallelRows(gang, units, std::max<int64_t>(1, results * count / units), kPart, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t part = unit % cut.reduce_parts;
      const int64_t columns = unit / cut.reduce_parts % cut.column_parts;
      const int64_t kept = unit / cut.reduce_parts / cut.column_parts;
      const int64_t r0 = range * part / cut.reduce_parts, r1 = range * (part + 1) / cut.reduce_parts;
      const void* first = At(x, from, v.kept.Offset(kept));
      float* out = to + part * results;
      if (v.inner_reduced) {
        out[kept] = cut.split_inner ? FoldRow(f, v, first, 0, v.reduced.size, r0, r1) : FoldRow(f, v, first, r0, r1, 0, v.inner);
      } else {
        FoldColumns(f, v, first, r0, r1, columns * kColumns, std::min(v.inner, (columns + 1) * kColumns), out + kept * v.inner);
      }
    }
  });
  if (cut.reduce_parts > 1) {
    std::copy(to, to + results, y);
    for (int64_t part = 1; part < cut.reduce_parts; ++part) f.Combine(to + part * results, y, results);
  }
  const float scale = from.storage == Storage::kU8 ? from.scale : 1;
  const float divisor = op == ReduceOp::k_mean ? static_cast<float>(count) : 1;
  if (scale != 1 || divisor != 1 || y != result) {
    ParallelParts(gang, results, kPart, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = y[i] * scale / divisor;
    });
  }
  if (y != result) Convert(y, {}, result, to_format, results, gang, isa);
}

void Reduce(ReduceLogicalOp op, const bool* x, Dims dims, uint32_t axes, bool* y, Gang& gang) {
  const View v = MakeView(dims, axes);
  const bool any = op == ReduceLogicalOp::k_any;
  if (v.Results() == 0) return;
  ParallelRows(gang, v.kept.size, v.Results() / v.kept.size * v.Count(), 4 * kPart, [&](int64_t begin, int64_t end) {
    for (int64_t kept = begin; kept < end; ++kept) {
      const bool* from = x + v.kept.Offset(kept);
      const int64_t outputs = v.inner_reduced ? 1 : v.inner;
      bool* out = y + kept * outputs;
      std::fill(out, out + outputs, !any);
      if (v.inner == 0) continue;
      for (int64_t r = 0; r < v.reduced.size; ++r) {
        const bool* row = from + v.reduced.Offset(r);
        for (int64_t i = 0; i < v.inner; ++i) {
          bool& result = out[v.inner_reduced ? 0 : i];
          result = any ? result | row[i] : result & row[i];
        }
      }
    }
  });
}

}  // namespace tfengine::cpu
