// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "backends/cpu/kernels/layer_norm.h"
#include "backends/cpu/kernels/pool.h"
#include "backends/cpu/kernels/reduce.h"
#include "backends/cpu/kernels/softmax.h"
#include "backends/cpu/kernels/test_util.h"

namespace tfengine::cpu {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Softmax, AgreesWithDoublePrecision) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t rows = random.Int(0, 20), cols = random.OneIn(4) ? random.Int(100, 3000) : random.Int(0, 70);
    const float range = random.OneIn(3) ? 80 : 5;
    Buffer<float> x = random.Floats(rows * cols, -range, range);
    for (CpuIsa isa : TestedIsas()) {
      Buffer<float> y = x, z = x;
      Softmax(y.data(), y.data(), rows, cols, gangs[1 + seed % 3], isa);
      LogSoftmax(z.data(), z.data(), rows, cols, gangs[1 + seed % 3], isa);
      for (int64_t r = 0; r < rows; ++r) {
        double max = -1e30, sum = 0;
        for (int64_t c = 0; c < cols; ++c) max = std::max<double>(max, x[r * cols + c]);
        for (int64_t c = 0; c < cols; ++c) sum += std::exp(x[r * cols + c] - max);
        for (int64_t c = 0; c < cols; ++c) {
          const double shifted = x[r * cols + c] - max, want = std::exp(shifted) / sum;
          ASSERT_TRUE(Close(y[r * cols + c], want, want * (SumTolerance(cols / 32 + 8, 1) + 0x1p-24 * std::fabs(shifted)) + 1e-44));
          const double want_log = shifted - std::log(sum);
          ASSERT_TRUE(Close(z[r * cols + c], want_log, SumTolerance(cols / 32 + 8, 1 + std::fabs(want_log))));
        }
      }
    }
  }
}

TEST(Softmax, TreatsInfinitiesAsTensorFlow) {
  Gang gang;
  for (CpuIsa isa : TestedIsas()) {
    float x[] = {-kInf, -kInf, -kInf, 0, 1, kNan}, y[6];
    Softmax(x, y, 3, 2, gang, isa);
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[5]));
    EXPECT_EQ(y[2], 0);
    EXPECT_EQ(y[3], 1);
    LogSoftmax(x, y, 3, 2, gang, isa);
    EXPECT_EQ(y[2], -kInf);
    EXPECT_EQ(y[3], 0);
  }
}

TEST(LayerNorm, AgreesWithDoublePrecisionAlsoFarFromZero) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t rows = random.Int(0, 40), cols = random.OneIn(3) ? 768 : random.Int(1, 90);
    const float shift = random.OneIn(3) ? 1000.0f : 0.0f;
    Buffer<float> x = random.Floats(rows * cols, shift - 1, shift + 1), residual = random.Floats(rows * cols);
    Buffer<float> gamma = random.Floats(cols), beta = random.Floats(cols);
    const bool add = random.OneIn(2), keep = random.OneIn(2), scale = random.OneIn(2);
    for (CpuIsa isa : TestedIsas()) {
      Buffer<float> y = x, sum(rows * cols);
      LayerNormArgs args{.x = y.data(), .y = y.data(), .rows = rows, .cols = cols, .epsilon = 1e-5f};
      if (add) args.residual = residual.data();
      if (keep) args.sum = sum.data();
      if (scale) args.gamma = gamma.data(), args.beta = beta.data();
      LayerNorm(args, gangs[1 + seed % 3], isa);
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<double> v(cols);
        double mean = 0, variance = 0;
        for (int64_t c = 0; c < cols; ++c) {
          v[c] = add ? x[r * cols + c] + residual[r * cols + c] : x[r * cols + c];
          ASSERT_TRUE(!keep || sum[r * cols + c] == static_cast<float>(v[c]));
          mean += v[c] / cols;
        }
        for (double d : v) variance += (d - mean) * (d - mean) / cols;
        for (int64_t c = 0; c < cols; ++c) {
          double want = (v[c] - mean) / std::sqrt(variance + 1e-5);
          double tolerance = SumTolerance(cols / 32 + 16, 1 + std::fabs(want));
          if (scale) want = want * gamma[c] + beta[c];
          ASSERT_TRUE(Close(y[r * cols + c], want, tolerance)) << CpuIsaName(isa);
        }
      }
    }
  }
}

TEST(BatchNorm, AgreesWithDoublePrecision) {
  Gangs gangs;
  Random random(1);
  for (int64_t cols : {1, 3, 64, 2500}) {
    const int64_t rows = 33;
    Buffer<float> x = random.Floats(rows * cols), scale = random.Floats(cols), offset = random.Floats(cols);
    Buffer<float> mean = random.Floats(cols), variance = random.Floats(cols, 0.1f, 2);
    for (CpuIsa isa : TestedIsas()) {
      Buffer<float> y = x;
      BatchNorm({y.data(), scale.data(), offset.data(), mean.data(), variance.data(), y.data(), rows, cols, 1e-3f}, gangs[3], isa);
      for (int64_t i = 0; i < y.size(); ++i) {
        const int64_t c = i % cols;
        ASSERT_TRUE(Close(y[i], (x[i] - mean[c]) * double{scale[c]} / std::sqrt(variance[c] + 1e-3) + offset[c], 3e-6));
      }
    }
  }
}

TEST(Reduce, AgreesWithNaiveLoopsOverRandomAxes) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int rank = static_cast<int>(random.Int(0, 6));
    std::vector<int64_t> dims;
    for (int d = 0; d < rank; ++d) dims.push_back(random.OneIn(15) ? 0 : random.OneIn(5) ? 1 : random.Int(1, 8));
    if (rank > 0 && random.OneIn(3)) dims[random.Int(0, rank - 1)] = random.Int(100, 1300);
    if (rank > 0 && random.OneIn(10)) dims = {random.Int(1, 3), random.Int(60000, 90000), random.Int(1, 3)};
    const uint32_t axes = static_cast<uint32_t>(random.Int(0, (1 << dims.size()) - 1));
    const auto op = static_cast<ReduceOp>(random.Int(0, 4));
    const int64_t n = NumElements(dims);
    Buffer<float> x = op == ReduceOp::k_prod ? random.Floats(n, 0.9f, 1.1f) : random.Floats(n);
    if (random.OneIn(5) && n < 5000) {
      for (float& v : x) v = random.OneIn(100) ? kNan : v;
    }
    int64_t results = 1, count = 1;
    for (size_t d = 0; d < dims.size(); ++d) (axes >> d & 1 ? count : results) *= dims[d];
    std::vector<double> want(results, op == ReduceOp::k_max ? -kInf : op == ReduceOp::k_min ? kInf : op == ReduceOp::k_prod);
    std::vector<double> magnitude(results);
    for (int64_t i = 0; i < n; ++i) {
      int64_t rest = i, at = 0, stride = 1;
      for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
        if (!(axes >> d & 1)) at += rest % dims[d] * stride, stride *= dims[d];
        rest /= dims[d];
      }
      double &w = want[at], v = x[i];
      magnitude[at] += std::fabs(v);
      if (op == ReduceOp::k_sum || op == ReduceOp::k_mean) w += v;
      if (op == ReduceOp::k_prod) w *= v;
      if (op == ReduceOp::k_max) w = std::isnan(v) || std::isnan(w) ? kNan : std::max(w, v);
      if (op == ReduceOp::k_min) w = std::isnan(v) || std::isnan(w) ? kNan : std::min(w, v);
    }
    for (CpuIsa isa : TestedIsas()) {
      Gang& gang = gangs[1 + seed % 3];
      Buffer<float> y(results, -5.0f);
      Buffer<char> scratch(ReduceScratchBytes(dims, axes, gang.threads()));
      Reduce(op, x.data(), dims, axes, y.data(), scratch.data(), gang, isa);
      for (int64_t i = 0; i < results; ++i) {
        double w = want[i], tolerance = 0;
        if (op == ReduceOp::k_mean) w /= static_cast<double>(count);
        // Sums run in blocks of 64 and more.
        if (op == ReduceOp::k_sum) tolerance = SumTolerance(count / 64 + 64, magnitude[i]);
        if (op == ReduceOp::k_mean) tolerance = SumTolerance(count / 64 + 64, magnitude[i] / static_cast<double>(count));
        if (op == ReduceOp::k_prod) tolerance = SumTolerance(count, std::fabs(w));
        ASSERT_TRUE(Close(y[i], w, tolerance)) << "op " << static_cast<int>(op) << " count " << count << " " << CpuIsaName(isa);
      }
    }
    Buffer<bool> p(n), q(results);
    for (bool& v : p) v = random.OneIn(3);
    std::vector<int64_t> trues(results);
    for (int64_t i = 0; i < n; ++i) {
      int64_t rest = i, at = 0, stride = 1;
      for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
        if (!(axes >> d & 1)) at += rest % dims[d] * stride, stride *= dims[d];
        rest /= dims[d];
      }
      trues[at] += p[i];
    }
    for (auto logical : {ReduceLogicalOp::k_any, ReduceLogicalOp::k_all}) {
      Reduce(logical, p.data(), dims, axes, q.data(), gangs[1 + seed % 3]);
      for (int64_t i = 0; i < results; ++i) ASSERT_EQ(q[i], logical == ReduceLogicalOp::k_any ? trues[i] > 0 : trues[i] == count);
    }
  }
}

TEST(Pool, AgreesWithNaiveLoops) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 80; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    PoolShape s;
    s.batch = random.Int(0, 3), s.in_h = random.Int(1, 20), s.in_w = random.Int(1, 20);
    s.channels = random.OneIn(3) ? 64 : random.Int(1, 70);
    s.window_h = random.Int(1, 20), s.window_w = random.Int(1, 20);
    s.stride_h = random.Int(1, 4), s.stride_w = random.Int(1, 4);
    s.pad_top = random.Int(0, s.window_h - 1), s.pad_left = random.Int(0, s.window_w - 1);
    s.out_h = (s.in_h + s.pad_top + s.stride_h - 1) / s.stride_h, s.out_w = (s.in_w + s.pad_left + s.stride_w - 1) / s.stride_w;
    if (random.OneIn(20)) s.channels = 1100, s.batch = 1;
    Buffer<float> x = random.Floats(s.batch * s.in_h * s.in_w * s.channels), y(s.batch * s.out_h * s.out_w * s.channels);
    for (PoolOp op : {PoolOp::k_max, PoolOp::k_avg}) {
      for (CpuIsa isa : TestedIsas()) {
        Pool(op, s, x.data(), y.data(), gangs[1 + seed % 3], isa);
        for (int64_t i = 0; i < y.size(); ++i) {
          const int64_t c = i % s.channels, ox = i / s.channels % s.out_w, oy = i / s.channels / s.out_w % s.out_h;
          const int64_t b = i / s.channels / s.out_w / s.out_h;
          double sum = 0, max = std::numeric_limits<float>::lowest();
          int64_t count = 0;
          for (int64_t ky = 0; ky < s.window_h; ++ky) {
            for (int64_t kx = 0; kx < s.window_w; ++kx) {
              const int64_t iy = oy * s.stride_h + ky - s.pad_top, ix = ox * s.stride_w + kx - s.pad_left;
              if (iy < 0 || iy >= s.in_h || ix < 0 || ix >= s.in_w) continue;
              const double v = x[((b * s.in_h + iy) * s.in_w + ix) * s.channels + c];
              sum += v, max = std::max(max, v), ++count;
            }
          }
          ASSERT_TRUE(Close(y[i], op == PoolOp::k_max ? max : sum / static_cast<double>(count), op == PoolOp::k_max ? 0 : SumTolerance(count, 1)));
        }
      }
    }
  }
}

TEST(Pool, IgnoresNanInMaximaAsTensorFlow) {
  Gang gang;
  const float x[] = {1, kNan, 3, kNan, kNan, -kInf};
  float y[2];
  PoolShape s{.batch = 1, .in_h = 1, .in_w = 6, .channels = 1, .out_h = 1, .out_w = 2, .window_w = 3, .stride_w = 3};
  for (CpuIsa isa : TestedIsas()) {
    Pool(PoolOp::k_max, s, x, y, gang, isa);
    EXPECT_EQ(y[0], 3);
    EXPECT_EQ(y[1], std::numeric_limits<float>::lowest());
  }
}

}  // namespace
}  // namespace tfengine::cpu
