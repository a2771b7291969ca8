// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/fake_quant.h"

#include "backends/cpu/kernels/test_util.h"
#include "backends/ref/ref.h"

namespace tfengine::cpu {
namespace {

Tensor Of(const Buffer<float>& b, std::vector<int64_t> shape) {
  return Tensor(DType::kFloat32, std::move(shape), b.data(), std::shared_ptr<const void>(b.data(), [](const void*) {}));
}

TEST(FakeQuant, AgreesWithTheReferenceInEveryBit) {
  Random random(5);
  Gangs gangs;
  constexpr const char* kNames[] = {"even", "up", "offset"};
  for (auto [outer, channels, inner] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                        {1, 1, 77777},
                                        {3, 5, 7},
                                        {700, 37, 1},
                                        {2, 3, 9001},
                                        {1, 1000, 1},
                                        {0, 3, 2},
                                        {4, 1, 3}}) {
    for (int form = 0; form < 6; ++form) {
      const bool divides = form >= 3;
      Buffer<float> step(channels), lo(channels), hi(channels), inverse(channels);
      for (int64_t c = 0; c < channels; ++c) {
        const float codes = random.OneIn(2) ? 255 : 65535;
        step[c] = random.OneIn(9) ? 0 : random.Float(0.001f, 0.1f);
        lo[c] = -static_cast<float>(random.Int(0, 255));
        hi[c] = codes + lo[c];
        inverse[c] = step[c] == 0 ? 3e38f : 1 / step[c] * random.Float(0.9999999f, 1.0000001f);
      }
      const int64_t n = outer * channels * inner;
      Buffer<float> x(n), expected(n);
      for (int64_t i = 0; i < n; ++i) {
        // Ties and their neighbours, values beyond both ends.
        const int64_t c = i / inner % channels;
        const float code = static_cast<float>(random.Int(-300, 300)) * (random.OneIn(4) ? 300.0f : 1.0f) / 2;
        x[i] = code * step[c];
        if (random.OneIn(3)) x[i] = std::nextafter(x[i], random.Float());
        if (random.OneIn(50)) x[i] = random.OneIn(2) ? INFINITY : -INFINITY;
        if (random.OneIn(50)) x[i] = std::nanf("");
      }
      const std::vector<int64_t> shape = {outer, channels, inner};
      const Tensor tx = Of(x, shape), ts = Of(step, {channels}), tl = Of(lo, {channels}), th = Of(hi, {channels}),
                   ti = Of(inverse, {channels});
      Tensor want = Of(expected, shape);
      std::vector<const Tensor*> inputs = {&tx, &ts, &tl, &th};
      if (!divides) inputs.push_back(&ti);
      Attrs attrs{{"axis", int64_t{1}}, {"rounding", std::string(kNames[form % 3])}};
      ASSERT_TRUE(ref::RunNode(Op::kFakeQuant, attrs, inputs, {&want}).ok());
      for (CpuIsa isa : TestedIsas()) {
        for (int threads : {1, 3}) {
          Buffer<float> y = x;  // in place
          FakeQuantArgs args{y.data(), y.data(), outer,      channels,  inner,
                             step.data(), lo.data(), hi.data(), divides ? nullptr : inverse.data(),
                             static_cast<CodeRounding>(form % 3)};
          FakeQuant(args, gangs[threads], isa);
          for (int64_t i = 0; i < n; ++i)
            ASSERT_TRUE(Close(y[i], expected[i], 0)) << "element " << i << " of " << n << ", x " << x[i] << ", form " << form
                                                     << ", isa " << static_cast<int>(isa);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tfengine::cpu
