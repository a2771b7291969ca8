// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/binary.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels/elementwise_kernels.h"
#include "backends/cpu/kernels/typed_blocks.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 16384;      // elements worth a task of their own
constexpr int64_t kLibmPart = 512;
constexpr int64_t kChunk = 2048;      // elements that stay in the first-level cache between an operation and its activation
constexpr int64_t kShortRow = 64;     // rows of b up to this are repeated in a buffer, so that loops are not tiny
constexpr int64_t kRepeated = 1024;

int64_t PartSize(BinaryOp op) {
  switch (op) {
    case BinaryOp::k_pow:
    case BinaryOp::k_floor_mod:
    case BinaryOp::k_truncate_mod:
    case BinaryOp::k_atan2: return kLibmPart;
    default: return kPart;
  }
}

// [rows, n] op [n] with a small n (a bias, a mean of three colours): as one long loop over several rows.
bool IsShortRow(const LoopNest& loops) {
  return loops.rank == 2 && loops.dims[1] <= kShortRow && loops.strides[0][0] == loops.dims[1] && loops.strides[0][1] == 1 &&
         loops.strides[1][0] == 0 && loops.strides[1][1] == 1 && loops.operands == 2;
}

// Where the result's element `at` lies.
int64_t ResultAt(const LoopNest& loops, int64_t at, const int64_t* offsets) { return loops.operands > 2 ? offsets[2] : at; }

void Activated(const ElementwiseKernels& kernels, BinaryLoop loop, const float* a, int64_t a_stride, const float* b,
               int64_t b_stride, float* y, int64_t n, const Activation& activation) {
  if (activation.kind == ActivationKind::kNone) return loop(a, a_stride, b, b_stride, y, n);
  for (int64_t i = 0; i < n; i += kChunk) {
    const int64_t count = std::min(kChunk, n - i);
    loop(a + i * a_stride, a_stride, b + i * b_stride, b_stride, y + i, count);
    kernels.activate(activation, y + i, y + i, count);
  }
}

bool ClipOf(const Activation& a, float* low, float* high) {
  *low = a.kind == ActivationKind::kNone ? -kUnbounded : a.kind == ActivationKind::kClip ? a.alpha : 0;
  *high = a.kind == ActivationKind::kClip ? a.beta : a.kind == ActivationKind::kRelu6 ? 6 : kUnbounded;
  return a.kind == ActivationKind::kNone || a.kind == ActivationKind::kRelu || a.kind == ActivationKind::kRelu6 ||
         a.kind == ActivationKind::kClip;
}

// One run of a binary op between any formats.
class TypedRun {
 public:
  TypedRun(BinaryOp op, const Format& a, const Format& b, const Format& y, const Activation& activation, CpuIsa isa)
      : a_(a), b_(b), y_(y), activation_(activation), plain_(ElementwiseKernelsFor(isa)),
        loop_(plain_.binary[static_cast<int>(op)]), read_a_(TypedKernelsFor(isa), a), read_b_(TypedKernelsFor(isa), b),
        write_(TypedKernelsFor(isa), y) {
    if ((op == BinaryOp::k_add || op == BinaryOp::k_mul) && ClipOf(activation, &low_, &high_)) {
      const HotBinary hot = op == BinaryOp::k_add ? HotBinary::kAdd : HotBinary::kMul;
      hot_ = TypedKernelsFor(isa).binary[static_cast<int>(hot)][Index(a)][Index(b)][Index(y)];
    }
  }
  void operator()(const void* a, int64_t a_stride, const void* b, int64_t b_stride, void* y, int64_t n) const {
    if (hot_) return hot_({a, a_, a_stride}, {b, b_, b_stride}, y, y_, low_, high_, n);
    float u[kBlock], v[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
      const int64_t count = std::min(kBlock, n - i);
      const float* left = read_a_(At(a, a_, i * a_stride), a_stride ? count : 1, u);
      const float* right = read_b_(At(b, b_, i * b_stride), b_stride ? count : 1, v);
      void* to = At(y, y_, i);
      // A broadcast scalar lies in the first element of its buffer, which the loops have read before they write.
      float* target = write_.Target(to, u);
      loop_(left, a_stride, right, b_stride, target, count);
      if (activation_.kind != ActivationKind::kNone) plain_.activate(activation_, target, target, count);
      write_.Flush(target, to, count);
    }
  }

 private:
  static constexpr int64_t kBlock = 1024;
  Format a_, b_, y_;
  Activation activation_;
  const ElementwiseKernels& plain_;
  BinaryLoop loop_;
  TypedBinaryLoop hot_ = nullptr;
  float low_ = 0, high_ = 0;
  BlockReader read_a_, read_b_;
  BlockWriter write_;
};

// Codes times a row of reals, one row per block of rows (a gate per channel): [blocks, rows, n] * [blocks or 1, n].
class ScaledCodes {
 public:
  // ok() is false for everything else.
  ScaledCodes(BinaryOp op, const LoopNest& loops, const Format& a, const Format& y, const Activation& activation)
      : a_(a), y_(y) {
    const int last = loops.rank - 1;
    n_ = loops.dims[last];
    const int64_t *of_a = loops.strides[0], *of_b = loops.strides[1];
    ok_ = op == BinaryOp::k_mul && activation.kind == ActivationKind::kNone && a.storage == Storage::kU8 && y.storage == Storage::kU8 &&
          (loops.rank == 2 || loops.rank == 3) && n_ <= kMostChannels && of_a[last] == 1 && of_b[last] == 1 && of_b[last - 1] == 0;
    if (!ok_) return;
    block_ = loops.dims[last - 1];
    rows_ = loops.rank == 3 ? loops.dims[0] * block_ : block_;
    b_stride_ = loops.rank == 3 ? of_b[0] : 0;
    a_row_ = of_a[last - 1];
    y_row_ = loops.operands > 2 ? loops.strides[2][last - 1] : n_;
    ok_ = loops.rank == 2 || (of_a[0] == block_ * a_row_ && (loops.operands == 2 || loops.strides[2][0] == block_ * y_row_));
    ok_ = ok_ && a_row_ >= n_ && y_row_ >= n_ && (loops.operands == 2 || loops.strides[2][last] == 1);
  }
  bool ok() const { return ok_; }
  int64_t rows() const { return rows_; }
  int64_t n() const { return n_; }

  // Rows from `begin` to the result, which is less than `end` if a gate is too large for codes' arithmetic, or no number.
  int64_t Run(const TypedKernels& kernels, const uint8_t* a, const void* b, const Format& b_format, uint8_t* y, int64_t begin, int64_t end) const {
    alignas(64) float factor[kMostChannels], offset[kMostChannels];
    // Short rows that lie together are repeated: several are one long one.
    const int64_t repeats = n_ <= kShortRow && a_row_ == n_ && y_row_ == n_ ? kRepeated / n_ : 1;
    const BlockReader read(kernels, b_format);
    const float ratio = a_.scale / y_.scale;
    for (int64_t row = begin; row < end;) {
      const int64_t block = row / block_, stop = std::min(end, (block + 1) * block_);
      const float* gate = read(At(b, b_format, block * b_stride_), n_, offset);
      bool fits = true;
      for (int64_t c = 0; c < n_; ++c) {
        factor[c] = gate[c] * ratio;
        fits &= std::fabs(factor[c]) < 1e6f;
      }
      if (!fits) return row;
      for (int64_t c = 0; c < n_; ++c) offset[c] = static_cast<float>(y_.zero) - static_cast<float>(a_.zero) * factor[c];
      for (int64_t i = n_; i < repeats * n_; ++i) factor[i] = factor[i - n_], offset[i] = offset[i - n_];
      for (const int64_t together : {repeats, int64_t{1}}) {
        const int64_t whole = (stop - row) / together;
        kernels.scale_codes({a + row * a_row_, factor, offset, y + row * y_row_, whole, together * n_, together * a_row_, together * y_row_, y_.lo, y_.hi});
        row += whole * together;
      }
    }
    return end;
  }

 private:
  static constexpr int64_t kMostChannels = 4096;
  Format a_, y_;
  int64_t n_ = 0, block_ = 0, rows_ = 0, b_stride_ = 0, a_row_ = 0, y_row_ = 0;
  bool ok_ = false;
};

}  // namespace

float LibmPow(float a, float b) { return std::pow(a, b); }
float LibmTruncateMod(float a, float b) { return std::fmod(a, b); }
float LibmFloorMod(float a, float b) {
  const float r = std::fmod(a, b);
  return r != 0 && (b < 0) != (r < 0) ? r + b : r;
}
float LibmAtan2(float a, float b) { return std::atan2(a, b); }

void Binary(BinaryOp op, const LoopNest& loops, const float* a, const float* b, float* y, const Activation& activation,
            Gang& gang, CpuIsa isa) {
  const ElementwiseKernels& kernels = ElementwiseKernelsFor(isa);
  const BinaryLoop loop = kernels.binary[static_cast<int>(op)];
  const int last = loops.rank - 1;
  if (IsShortRow(loops)) {
    const int64_t n = loops.dims[1], step = kRepeated / n * n;
    ParallelRows(gang, loops.dims[0], n, PartSize(op), [&](int64_t begin, int64_t end) {
      float repeated[kRepeated];
      for (int64_t i = 0; i < std::min(step, (end - begin) * n); i += n) std::copy(b, b + n, repeated + i);
      for (int64_t i = begin * n; i < end * n; i += step) {
        Activated(kernels, loop, a + i, 1, repeated, 1, y + i, std::min(step, end * n - i), activation);
      }
    });
    return;
  }
  ParallelParts(gang, loops.size, PartSize(op), [&](int64_t begin, int64_t end) {
    ForEachRun(loops, begin, end, [&](int64_t at, int64_t n, const int64_t* offsets) {
      Activated(kernels, loop, a + offsets[0], loops.strides[0][last], b + offsets[1], loops.strides[1][last],
                y + ResultAt(loops, at, offsets), n, activation);
    });
  });
}

void Binary(BinaryOp op, const LoopNest& loops, const void* a, const Format& a_format, const void* b, const Format& b_format,
            void* y, const Format& y_format, const Activation& activation, Gang& gang, CpuIsa isa) {
  const int last = loops.rank - 1;
  if (const ScaledCodes scaled(op, loops, a_format, y_format, activation); scaled.ok()) {
    const TypedRun run(op, a_format, b_format, y_format, activation, isa);
    const uint8_t* codes = static_cast<const uint8_t*>(a);
    ParallelRows(gang, scaled.rows(), scaled.n(), kPart, [&](int64_t begin, int64_t end) {
      begin = scaled.Run(TypedKernelsFor(isa), codes, b, b_format, static_cast<uint8_t*>(y), begin, end);
      ForEachRun(loops, begin * scaled.n(), end * scaled.n(), [&](int64_t at, int64_t n, const int64_t* offsets) {
        run(At(a, a_format, offsets[0]), 1, At(b, b_format, offsets[1]), 1, At(y, y_format, ResultAt(loops, at, offsets)), n);
      });
    });
    return;
  }
  if (IsShortRow(loops)) {
    const int64_t n = loops.dims[1], step = kRepeated / n * n;
    const TypedRun run(op, a_format, Format(), y_format, activation, isa);
    const BlockReader read(TypedKernelsFor(isa), b_format);
    ParallelRows(gang, loops.dims[0], n, PartSize(op), [&](int64_t begin, int64_t end) {
      float row[kShortRow], repeated[kRepeated];
      const float* values = read(b, n, row);
      for (int64_t i = 0; i < std::min(step, (end - begin) * n); i += n) std::copy(values, values + n, repeated + i);
      for (int64_t i = begin * n; i < end * n; i += step) {
        run(At(a, a_format, i), 1, repeated, 1, At(y, y_format, i), std::min(step, end * n - i));
      }
    });
    return;
  }
  const TypedRun run(op, a_format, b_format, y_format, activation, isa);
  ParallelParts(gang, loops.size, PartSize(op), [&](int64_t begin, int64_t end) {
    ForEachRun(loops, begin, end, [&](int64_t at, int64_t n, const int64_t* offsets) {
      run(At(a, a_format, offsets[0]), loops.strides[0][last], At(b, b_format, offsets[1]), loops.strides[1][last],
          At(y, y_format, ResultAt(loops, at, offsets)), n);
    });
  });
}

void Compare(CompareOp op, const LoopNest& loops, const float* a, const float* b, bool* y, Gang& gang, CpuIsa isa) {
  const CompareLoop loop = ElementwiseKernelsFor(isa).compare[static_cast<int>(op)];
  const int last = loops.rank - 1;
  ParallelParts(gang, loops.size, kPart, [&](int64_t begin, int64_t end) {
    ForEachRun(loops, begin, end, [&](int64_t at, int64_t n, const int64_t* offsets) {
      loop(a + offsets[0], loops.strides[0][last], b + offsets[1], loops.strides[1][last], y + at, n);
    });
  });
}

void Logical(LogicalOp op, const LoopNest& loops, const bool* a, const bool* b, bool* y, Gang& gang) {
  const int last = loops.rank - 1;
  const int64_t a_stride = loops.strides[0][last], b_stride = loops.strides[1][last];
  ParallelParts(gang, loops.size, kPart, [&](int64_t begin, int64_t end) {
    ForEachRun(loops, begin, end, [&](int64_t at, int64_t n, const int64_t* offsets) {
      const bool *u = a + offsets[0], *v = b + offsets[1];
      if (op == LogicalOp::k_logical_and) {
        for (int64_t i = 0; i < n; ++i) y[at + i] = u[i * a_stride] & v[i * b_stride];
      } else {
        for (int64_t i = 0; i < n; ++i) y[at + i] = u[i * a_stride] | v[i * b_stride];
      }
    });
  });
}

void AddN(std::span<const float* const> inputs, float* y, int64_t n, const Activation& activation, Gang& gang, CpuIsa isa) {
  const ElementwiseKernels& kernels = ElementwiseKernelsFor(isa);
  const BinaryLoop add = kernels.binary[static_cast<int>(BinaryOp::k_add)];
  // An input that is y would be overwritten by the first sum of a chunk, so each chunk is summed in a buffer.
  ParallelParts(gang, n, kPart, [&](int64_t begin, int64_t end) {
    float sum[kChunk];
    for (int64_t i = begin; i < end; i += kChunk) {
      const int64_t count = std::min(kChunk, end - i);
      const float* total = inputs[0] + i;
      for (size_t k = 1; k < inputs.size(); ++k) {
        add(total, 1, inputs[k] + i, 1, sum, count);
        total = sum;
      }
      kernels.activate(activation, total, y + i, count);
    }
  });
}

}  // namespace tfengine::cpu
