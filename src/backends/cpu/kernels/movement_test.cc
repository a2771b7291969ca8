// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <limits>
#include <string>

#include "backends/cpu/kernels/concat.h"
#include "backends/cpu/kernels/gather.h"
#include "backends/cpu/kernels/pad.h"
#include "backends/cpu/kernels/slice.h"
#include "backends/cpu/kernels/test_util.h"
#include "backends/cpu/kernels/transpose.h"
#include "base/errors.h"

namespace tfengine::cpu {
namespace {

using Shape = std::vector<int64_t>;

Shape RandomShape(Random& random, int min_rank, int max_rank) {
  Shape s;
  const int64_t rank = random.Int(min_rank, max_rank);
  for (int64_t d = 0; d < rank; ++d) s.push_back(random.OneIn(25) ? 0 : random.OneIn(5) ? 1 : random.Int(1, rank > 4 ? 4 : 9));
  if (rank > 0 && random.OneIn(3)) s[random.Int(0, rank - 1)] = random.Int(20, 90);
  return s;
}

template <typename T>
Buffer<T> Numbered(int64_t n) {
  Buffer<T> b(n);
  for (int64_t i = 0; i < n; ++i) b[i] = static_cast<T>(i * 2654435761u);
  return b;
}

// Calls visit(coordinates) for every element of `shape` in order.
template <typename Visit>
void ForEach(const Shape& shape, const Visit& visit) {
  const int64_t n = NumElements(shape);
  Shape at(shape.size());
  for (int64_t i = 0; i < n; ++i) {
    int64_t rest = i;
    for (int d = static_cast<int>(shape.size()) - 1; d >= 0; --d) at[d] = rest % shape[d], rest /= shape[d];
    visit(i, at);
  }
}

int64_t Index(const Shape& shape, const Shape& at) {
  int64_t index = 0;
  for (size_t d = 0; d < shape.size(); ++d) index = index * shape[d] + at[d];
  return index;
}

// Runs `test` with each element size.
template <typename Test>
void ForEachSize(const Test& test) {
  test(uint8_t());
  test(uint16_t());
  test(uint32_t());
  test(uint64_t());
}

TEST(Transpose, AgreesWithNaiveLoops) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Shape dims = RandomShape(random, 0, 6);
    Shape perm(dims.size()), result(dims.size());
    for (size_t d = 0; d < dims.size(); ++d) perm[d] = static_cast<int64_t>(d);
    for (size_t d = dims.size(); d > 1; --d) std::swap(perm[d - 1], perm[random.Int(0, static_cast<int64_t>(d) - 1)]);
    for (size_t d = 0; d < dims.size(); ++d) result[d] = dims[perm[d]];
    ForEachSize([&]<typename T>(T) {
      Buffer<T> x = Numbered<T>(NumElements(dims)), y(x.size());
      Transpose(x.data(), dims, perm, sizeof(T), y.data(), gangs[1 + seed % 3]);
      ForEach(result, [&](int64_t i, const Shape& at) {
        Shape from(dims.size());
        for (size_t d = 0; d < dims.size(); ++d) from[perm[d]] = at[d];
        ASSERT_EQ(y[i], x[Index(dims, from)]);
      });
    });
  }
}

TEST(Transpose, MovesBlocksBetweenDepthAndSpace) {
  Gangs gangs;
  const Shape depth = {2, 3, 5, 12}, space = {2, 6, 10, 3};
  Buffer<float> x = Random(1).Floats(NumElements(depth)), y(x.size()), z(x.size());
  DepthToSpace(x.data(), depth, 2, 4, y.data(), gangs[2]);
  ForEach(space, [&](int64_t i, const Shape& at) {
    ASSERT_EQ(y[i], x[Index(depth, {at[0], at[1] / 2, at[2] / 2, (at[1] % 2 * 2 + at[2] % 2) * 3 + at[3]})]);
  });
  SpaceToDepth(y.data(), space, 2, 4, z.data(), gangs[2]);
  EXPECT_EQ(std::memcmp(x.data(), z.data(), x.size() * 4), 0);
}

TEST(Concat, CopiesInputsToTheirPlacesAndNothingElse) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t outer = random.OneIn(4) ? 1 : random.Int(0, 300);
    const bool dense = random.OneIn(2);
    auto gap = [&] { return dense || random.OneIn(2) ? 0 : random.Int(1, 40); };
    std::vector<Buffer<uint8_t>> parts;
    std::vector<ConcatInput> inputs;
    int64_t row = gap();
    for (int64_t i = random.Int(1, 5); i > 0; --i) {
      const int64_t bytes = random.OneIn(6) ? 0 : random.OneIn(6) ? random.Int(1, 100000 / (outer + 1)) : random.Int(1, 300);
      const int64_t distance = bytes + gap();
      parts.push_back(Numbered<uint8_t>(outer * distance));
      for (auto& v : parts.back()) v = static_cast<uint8_t>(random.Int(0, 255));
      inputs.push_back({parts.back().data(), bytes, distance, row});
      row += bytes + gap();
    }
    Buffer<uint8_t> y(outer * row), want(outer * row);
    for (int64_t i = 0; i < outer * row; ++i) y[i] = want[i] = static_cast<uint8_t>(i * 7);
    for (int64_t o = 0; o < outer; ++o)
      for (const ConcatInput& input : inputs)
        std::memcpy(want.data() + o * row + input.at, static_cast<const char*>(input.data) + o * input.distance, input.bytes);
    Concat(inputs, outer, y.data(), row, gangs[1 + seed % 3]);
    ASSERT_EQ(std::memcmp(y.data(), want.data(), outer * row), 0);
  }
}

TEST(Slice, AgreesWithNaiveLoops) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Shape dims = RandomShape(random, 0, 6);
    Shape begin, size, stride;
    for (int64_t d : dims) {
      stride.push_back(random.OneIn(3) ? random.Int(-3, -1) : random.OneIn(2) ? 1 : random.Int(1, 3));
      if (d == 0 || random.OneIn(20)) {
        begin.push_back(0), size.push_back(0);
      } else if (random.OneIn(3)) {
        stride.back() = 1, begin.push_back(0), size.push_back(d);
      } else {
        begin.push_back(random.Int(0, d - 1));
        const int64_t room = stride.back() > 0 ? d - 1 - begin.back() : begin.back();
        size.push_back(random.Int(0, room / std::abs(stride.back()) + 1));
      }
    }
    ForEachSize([&]<typename T>(T) {
      Buffer<T> x = Numbered<T>(NumElements(dims)), y(NumElements(size));
      Slice(x.data(), dims, begin, size, stride, sizeof(T), y.data(), gangs[1 + seed % 3]);
      ForEach(size, [&](int64_t i, const Shape& at) {
        Shape from(dims.size());
        for (size_t d = 0; d < dims.size(); ++d) from[d] = begin[d] + at[d] * stride[d];
        ASSERT_EQ(y[i], x[Index(dims, from)]);
      });
    });
  }
}

TEST(Slice, BroadcastsAndTiles) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Shape dims = seed == 0 ? Shape(8, 2) : RandomShape(random, 0, 4);
    Shape reps, tiled;
    for (int64_t d : dims) reps.push_back(seed == 0 ? 2 : random.Int(0, 12) / 3), tiled.push_back(d * reps.back());
    ForEachSize([&]<typename T>(T) {
      Buffer<T> x = Numbered<T>(NumElements(dims)), y(NumElements(tiled));
      Tile(x.data(), dims, reps, sizeof(T), y.data(), gangs[1 + seed % 3]);
      ForEach(tiled, [&](int64_t i, const Shape& at) {
        Shape from(dims.size());
        for (size_t d = 0; d < dims.size(); ++d) from[d] = at[d] % dims[d];
        ASSERT_EQ(y[i], x[Index(dims, from)]);
      });
      Shape small = dims;
      for (int64_t& d : small) d = random.OneIn(2) ? 1 : d;
      Buffer<T> z(NumElements(dims));
      BroadcastTo(x.data(), small, dims, sizeof(T), z.data(), gangs[1 + seed % 3]);
      ForEach(dims, [&](int64_t i, const Shape& at) {
        Shape from(dims.size());
        for (size_t d = 0; d < dims.size(); ++d) from[d] = small[d] == 1 ? 0 : at[d];
        ASSERT_EQ(z[i], x[Index(small, from)]);
      });
    });
  }
}

TEST(Pad, AgreesWithNaiveLoopsInEveryMode) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const auto mode = static_cast<PadMode>(seed % 3);
    const Shape dims = RandomShape(random, 0, 5);
    Shape lo, hi, result;
    for (int64_t d : dims) {
      const int64_t most = mode == PadMode::k_constant ? 4 : mode == PadMode::k_reflect ? std::max<int64_t>(d - 1, 0) : d;
      const bool none = random.OneIn(3);
      lo.push_back(none ? 0 : random.Int(0, std::min<int64_t>(most, 4)));
      hi.push_back(none ? 0 : random.Int(0, std::min<int64_t>(most, 4)));
      result.push_back(lo.back() + d + hi.back());
    }
    ForEachSize([&]<typename T>(T) {
      Buffer<T> x = Numbered<T>(NumElements(dims)), y(NumElements(result));
      const T value = 77;
      Pad(mode, x.data(), dims, lo, hi, &value, sizeof(T), y.data(), gangs[1 + seed % 3]);
      ForEach(result, [&](int64_t i, const Shape& at) {
        Shape from(dims.size());
        bool padding = false;
        for (size_t d = 0; d < dims.size(); ++d) {
          int64_t j = at[d] - lo[d], edge = mode == PadMode::k_symmetric ? 1 : 0;
          if (j < 0 || j >= dims[d]) {
            padding |= mode == PadMode::k_constant;
            j = j < 0 ? -j - edge : 2 * (dims[d] - 1) + edge - j;
          }
          from[d] = j;
        }
        ASSERT_EQ(y[i], padding ? value : x[Index(dims, from)]);
      });
    });
  }
}

TEST(Gather, AgreesWithNaiveLoopsAndRefusesBadIndices) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    GatherShape s{random.Int(0, 3), random.Int(1, 4), random.Int(1, 50), random.OneIn(3) ? 1 : random.Int(1, 40), random.Int(0, 60)};
    const Shape params = {s.batch, s.outer, s.axis, s.inner}, result = {s.batch, s.outer, s.count, s.inner};
    Gang& gang = gangs[1 + seed % 3];
    ForEachSize([&]<typename T>(T) {
      Buffer<T> x = Numbered<T>(NumElements(params)), y(NumElements(result));
      Buffer<int32_t> index(s.batch * s.count);
      Buffer<int64_t> wide(index.size());
      for (int64_t i = 0; i < index.size(); ++i) wide[i] = index[i] = static_cast<int32_t>(random.Int(0, s.axis - 1));
      const bool use_wide = random.OneIn(2);
      const void* indices = use_wide ? static_cast<const void*>(wide.data()) : index.data();
      const DType type = use_wide ? DType::kInt64 : DType::kInt32;
      ASSERT_TRUE(Gather(s, x.data(), indices, type, sizeof(T), y.data(), gang).ok());
      ForEach(result, [&](int64_t i, const Shape& at) {
        ASSERT_EQ(y[i], x[Index(params, {at[0], at[1], wide[at[0] * s.count + at[2]], at[3]})]);
      });
      if (index.size() == 0) return;
      const int64_t bad = random.Int(0, index.size() - 1);
      wide[bad] = random.OneIn(2) ? s.axis : -1;
      const Status status = Gather(s, x.data(), wide.data(), DType::kInt64, sizeof(T), y.data(), gang);
      EXPECT_EQ(status.error_id(), static_cast<int>(ErrorId::kIndexOutOfRange));
      EXPECT_THAT(status.message(), testing::HasSubstr("indices[" + std::to_string(bad) + "] = "));
    });
  }
}

TEST(GatherNd, AgreesWithNaiveLoopsAndRefusesBadIndices) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    GatherNdShape s{random.Int(1, 3), random.Int(0, 40), random.Int(1, 20), static_cast<int>(random.Int(0, 3))};
    Shape params = {s.batch};
    for (int d = 0; d < s.rank; ++d) params.push_back(s.dims[d] = random.Int(1, 6));
    params.push_back(s.inner);
    Buffer<float> x = Random(seed).Floats(NumElements(params)), y(s.batch * s.count * s.inner);
    Buffer<int32_t> index(s.batch * s.count * s.rank);
    for (int64_t i = 0; i < index.size(); ++i) index[i] = static_cast<int32_t>(random.Int(0, s.dims[i % s.rank] - 1));
    ASSERT_TRUE(GatherNd(s, x.data(), index.data(), DType::kInt32, 4, y.data(), gangs[1 + seed % 3]).ok());
    ForEach({s.batch, s.count, s.inner}, [&](int64_t i, const Shape& at) {
      Shape from = {at[0]};
      for (int d = 0; d < s.rank; ++d) from.push_back(index[(at[0] * s.count + at[1]) * s.rank + d]);
      from.push_back(at[2]);
      ASSERT_EQ(y[i], x[Index(params, from)]);
    });
    if (index.size() == 0) continue;
    index[index.size() - 1] = static_cast<int32_t>(s.dims[s.rank - 1]);
    EXPECT_EQ(GatherNd(s, x.data(), index.data(), DType::kInt32, 4, y.data(), gangs[1 + seed % 3]).code(),
              StatusCode::kInvalidArgument);
  }
}

TEST(OneHot, MarksTheIndexAndLeavesRowsOfBadIndicesOff) {
  Gangs gangs;
  const int64_t indices[] = {0, 2, -1, 3, 1, 5};
  const float on = 2, off = -1;
  for (int64_t inner : {1, 2}) {
    const int64_t outer = 6 / inner;
    Buffer<float> y(outer * 4 * inner);
    OneHot(indices, DType::kInt64, outer, 4, inner, &on, &off, 4, y.data(), gangs[2]);
    ForEach({outer, 4, inner}, [&](int64_t i, const Shape& at) {
      ASSERT_EQ(y[i], indices[at[0] * inner + at[2]] == at[1] ? on : off);
    });
  }
}

}  // namespace
}  // namespace tfengine::cpu
