// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backends/compile_backend.h"
#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/typed_test_util.h"
#include "backends/ref/ref.h"

// Typed nodes as they are lowered here against the reference backend.
namespace tfengine::cpu {
namespace {

struct Data {
  Format format;
  std::vector<int64_t> shape;
};

class TypedLowering {
 public:
  explicit TypedLowering(uint32_t seed) : random_(seed), gang_(gangs_[1 + static_cast<int>(seed % 3)]) {}

  static DType TypeOf(const Format& f) {
    return f.storage == Storage::kF32 ? DType::kFloat32 : f.storage == Storage::kBf16 ? DType::kBfloat16 : DType::kUint8;
  }
  Format Any(Storage s) { return RandomFormat(random_, s); }
  // As an input: every code may occur.
  Format AnyInput(Storage s) {
    Format f = RandomFormat(random_, s);
    f.lo = 0, f.hi = 255;
    return f;
  }

  // Runs the node; `moved`: the result's bytes must agree, else its values as far as `tolerance` allows.
  void Check(Op op, Attrs attrs, const std::vector<Data>& inputs, const std::vector<int64_t>& shape, const Format& y,
             bool moved = false, double tolerance = 1e-5, float low = -2, float high = 2) {
    ConcreteNode node{op, attrs, {}, {}};
    if (!moved) {
      OutType type{TypeOf(y), {}, y.lo, y.hi};
      if (y.storage == Storage::kU8) type.quant = {y.scale, y.zero};
      SetOutType(type, &node.attrs);
    }
    std::vector<TypedBuffer> buffers;
    std::vector<Tensor> tensors;
    std::vector<const Tensor*> ref_in;
    std::vector<const void*> in;
    std::vector<Quant> quants;
    const std::shared_ptr<const void> borrowed(static_cast<const void*>(nullptr), [](const void*) {});
    for (const Data& d : inputs) {
      Operand o;
      o.present = true;
      o.dtype = TypeOf(d.format);
      o.shape = d.shape;
      if (d.format.storage == Storage::kU8) o.quant = {d.format.scale, d.format.zero};
      buffers.push_back(RandomValues(random_, d.format, NumElements(d.shape), low, high));
      node.inputs.push_back(o);
      quants.push_back(o.quant);
      tensors.emplace_back(o.dtype, o.shape, buffers.back().data(), borrowed);
    }
    for (const Tensor& t : tensors) ref_in.push_back(&t);
    Operand out;
    out.present = true;
    out.dtype = TypeOf(y);
    out.shape = shape;
    if (y.storage == Storage::kU8) out.quant = {y.scale, y.zero};
    node.outputs = {out};

    WeightStore weights;
    auto lowered = FindBackend("cpu")->Lower(node, "", weights, gang_.threads());
    ASSERT_TRUE(lowered.ok()) << lowered.status().ToString();
    EXPECT_NE(lowered->tactic, "ref");
    for (int i : lowered->in) in.push_back(buffers[i].data());
    TypedBuffer result(y, NumElements(shape));
    void* to[] = {result.data()};
    Buffer<char> scratch(static_cast<int64_t>(lowered->kernel->scratch_bytes(gang_.threads())));
    ASSERT_TRUE(lowered->kernel->Run(in.data(), to, scratch.data(), gang_).ok());

    // The same reals without the last rounding.
    if (!moved) SetOutType({DType::kFloat32, {}}, &node.attrs);
    Tensor want(moved ? TypeOf(y) : DType::kFloat32, shape);
    const Status status = ref::RunNode(op, node.attrs, ref_in, {&want}, quants);
    ASSERT_TRUE(status.ok()) << status.ToString();
    if (moved) {
      EXPECT_EQ(std::memcmp(want.data(), result.data(), want.num_bytes()), 0) << OpName(op);
      return;
    }
    for (int64_t i = 0; i < result.size; ++i) {
      const double v = want.as<float>()[i];
      ASSERT_TRUE(Rounded(result, i, v, tolerance * (1 + std::fabs(v)))) << OpName(op) << " element " << i;
    }
    // And into the buffer of an operand where the lowering offers that.
    if (lowered->in_place >= 0) {
      TypedBuffer& shared = buffers[lowered->in_place];
      void* over[] = {shared.data()};
      ASSERT_TRUE(lowered->kernel->Run(in.data(), over, scratch.data(), gang_).ok());
      EXPECT_EQ(std::memcmp(shared.data(), result.data(), result.bytes.size()), 0) << OpName(op) << " in place";
    }
  }

  Random& random() { return random_; }

 private:
  Random random_;
  Gangs gangs_;
  Gang& gang_;
};

Attrs With(std::initializer_list<std::pair<const char*, Attr>> items) {
  Attrs attrs;
  for (const auto& [key, value] : items) attrs.Set(key, value);
  return attrs;
}

Shape Dimensions(std::initializer_list<int64_t> values) {
  Shape shape;
  for (int64_t v : values) shape.push_back(Dim{v});
  return shape;
}

template <typename Body>
void ForFormats(const Body& body) {
  uint32_t seed = 0;
  for (Storage x : kAllStorages) {
    for (Storage y : kAllStorages) {
      for (int i = 0; i < 4; ++i) {
        SCOPED_TRACE(seed);
        TypedLowering t(seed++);
        body(t, x, y);
      }
    }
  }
}

TEST(TypedLoweringTest, ElementsAgreeWithTheReference) {
  ForFormats([](TypedLowering& t, Storage x, Storage y) {
    const std::vector<int64_t> s = {t.random().Int(1, 3), t.random().Int(1, 40), t.random().Int(1, 90)};
    t.Check(Op::kConvert, {}, {{t.AnyInput(x), s}}, s, t.Any(y));
    t.Check(Op::kUnary, With({{"kind", std::string("silu")}}), {{t.AnyInput(x), s}}, s, t.Any(y));
    t.Check(Op::kUnary, With({{"kind", std::string("relu6")}}), {{t.AnyInput(x), s}}, s, t.Any(y));
    t.Check(Op::kBinary, With({{"kind", std::string("add")}, {"act", std::string("relu")}}),
            {{t.AnyInput(x), s}, {t.AnyInput(kAllStorages[t.random().Int(0, 2)]), s}}, s, t.Any(y));
    t.Check(Op::kBinary, With({{"kind", std::string("squared_difference")}}), {{t.AnyInput(x), s}, {{}, {s[2]}}}, s, t.Any(y), false, 4e-5);
  });
}

TEST(TypedLoweringTest, NormsAgreeWithTheReference) {
  ForFormats([](TypedLowering& t, Storage x, Storage y) {
    const int64_t cols = t.random().OneIn(4) ? 1200 : t.random().Int(8, 90);
    const std::vector<int64_t> s = {2, t.random().Int(1, 40), cols};
    const Attrs epsilon = With({{"epsilon", 1e-3}});
    t.Check(Op::kSoftmax, {}, {{t.AnyInput(x), s}}, s, t.Any(y));
    t.Check(Op::kLogSoftmax, {}, {{t.AnyInput(x), s}}, s, t.Any(y));
    t.Check(Op::kLayerNorm, epsilon, {{t.AnyInput(x), s}, {{}, {cols}}, {{}, {cols}}}, s, t.Any(y), false, 1e-4);
    t.Check(Op::kLayerNorm, epsilon,
            {{t.AnyInput(x), s}, {{}, {cols}}, {{}, {cols}}, {t.AnyInput(kAllStorages[t.random().Int(0, 2)]), s}}, s, t.Any(y), false, 1e-4);
  });
}

TEST(TypedLoweringTest, BatchNormAgreesWithTheReference) {
  ForFormats([](TypedLowering& t, Storage x, Storage y) {
    const int64_t cols = t.random().OneIn(4) ? 1200 : t.random().Int(1, 90);
    const std::vector<int64_t> s = {2, t.random().Int(1, 40), cols};
    t.Check(Op::kBatchNorm, With({{"epsilon", 1e-3}}), {{t.AnyInput(x), s}, {{}, {cols}}, {{}, {cols}}, {{}, {cols}}, {{}, {cols}}}, s,
            t.Any(y), false, 1e-4, 0.1f, 2.0f);
  });
}

TEST(TypedLoweringTest, AttentionAgreesWithTheReference) {
  ForFormats([](TypedLowering& t, Storage x, Storage y) {
    const std::vector<int64_t> s = {2, 19, 3, 16};
    const Format f = t.AnyInput(x), mask = t.AnyInput(x == Storage::kU8 ? Storage::kF32 : x);
    t.Check(Op::kAttention, With({{"scale", 0.05}}), {{f, s}, {f, s}, {t.AnyInput(x), s}, {mask, {2, 1, 1, 19}}}, s, t.Any(y), false, 8e-3);
  });
}

TEST(TypedLoweringTest, ReductionsAgreeWithTheReference) {
  ForFormats([](TypedLowering& t, Storage x, Storage y) {
    const std::vector<int64_t> s = {t.random().Int(1, 3), t.random().Int(1, 9), t.random().Int(1, 40), t.random().Int(1, 300)};
    for (const char* kind : {"mean", "sum", "max", "min"}) {
      t.Check(Op::kReduce, With({{"kind", std::string(kind)}, {"axes", std::vector<int64_t>{1, 2}}, {"keepdims", false}}),
              {{t.AnyInput(x), s}}, {s[0], s[3]}, t.Any(y), false, 2e-5);
      t.Check(Op::kReduce, With({{"kind", std::string(kind)}, {"axes", std::vector<int64_t>{3}}, {"keepdims", false}}),
              {{t.AnyInput(x), s}}, {s[0], s[1], s[2]}, t.Any(y), false, 2e-5);
    }
  });
}

TEST(TypedLoweringTest, PoolingAndResizingAgreeWithTheReference) {
  ForFormats([](TypedLowering& t, Storage x, Storage y) {
    const int64_t h = t.random().Int(4, 20), w = t.random().Int(4, 20), c = t.random().Int(1, 150);
    const std::vector<int64_t> s = {2, h, w, c};
    const int64_t window = t.random().Int(1, std::min<int64_t>({h, w, 18})), stride = t.random().Int(1, 3), pad = window / 2;
    const std::vector<int64_t> pooled = {2, (h + 2 * pad - window) / stride + 1, (w + 2 * pad - window) / stride + 1, c};
    Attrs attrs = With({{"ksize", std::vector<int64_t>{window, window}},
                        {"strides", std::vector<int64_t>{stride, stride}},
                        {"pads", Dimensions({pad, pad, pad, pad})},
                        {"kind", std::string("avg")}});
    t.Check(Op::kPool, attrs, {{t.AnyInput(x), s}}, pooled, t.Any(y), false, 2e-5);
    attrs.Set("kind", std::string("max"));
    const Format f = t.AnyInput(x);
    t.Check(Op::kPool, attrs, {{f, s}}, pooled, f, true);
    const std::vector<int64_t> resized = {2, t.random().Int(1, 30), t.random().Int(1, 30), c};
    attrs = With({{"kind", std::string("bilinear")}, {"half_pixel", true}, {"align_corners", false},
                  {"size", Dimensions({resized[1], resized[2]})}});
    t.Check(Op::kResize, attrs, {{t.AnyInput(x), s}}, resized, t.Any(y), false, 2e-5);
    attrs.Set("kind", std::string("nearest"));
    t.Check(Op::kResize, attrs, {{f, s}}, resized, f, true);
  });
}

TEST(TypedLoweringTest, MovementKeepsCodesAndSixteenBitNumbers) {
  ForFormats([](TypedLowering& t, Storage x, Storage) {
    const Format f = t.AnyInput(x);
    const std::vector<int64_t> s = {2, 4, 6, 8};
    t.Check(Op::kTranspose, With({{"perm", std::vector<int64_t>{0, 2, 3, 1}}}), {{f, s}}, {2, 6, 8, 4}, f, true);
    t.Check(Op::kConcat, With({{"axis", int64_t{3}}}), {{f, s}, {f, {2, 4, 6, 5}}}, {2, 4, 6, 13}, f, true);
    t.Check(Op::kPad, With({{"lo", Dimensions({0, 1, 2, 0})}, {"hi", Dimensions({0, 1, 0, 3})}, {"value", 0.3}}), {{f, s}}, {2, 6, 8, 11}, f, true);
    t.Check(Op::kSlice, With({{"begin", Dimensions({0, 1, 0, 2})}, {"size", Dimensions({2, 2, 6, 3})}, {"strides", std::vector<int64_t>{1, 1, 1, 2}}}),
            {{f, s}}, {2, 2, 6, 3}, f, true);
    t.Check(Op::kDepthToSpace, With({{"block", int64_t{2}}}), {{f, s}}, {2, 8, 12, 2}, f, true);
    t.Check(Op::kTile, With({{"reps", Dimensions({1, 2, 1, 3})}}), {{f, s}}, {2, 8, 6, 24}, f, true);
    t.Check(Op::kBroadcast, With({{"shape", Dimensions({2, 4, 6, 8})}}), {{f, {1, 6, 8}}}, s, f, true);
  });
}

}  // namespace
}  // namespace tfengine::cpu
