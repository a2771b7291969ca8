// SPDX-License-Identifier: Apache-2.0
// Typed conv2d and matmul as they are lowered here against the reference backend.
#include "backends/compile_backend.h"
#include "backends/cpu/kernels/activation_lines.h"
#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/typed_test_util.h"
#include "backends/ref/ref.h"

namespace tfengine::cpu {
namespace {

DType TypeOf(const Format& f) {
  return f.storage == Storage::kF32 ? DType::kFloat32 : f.storage == Storage::kBf16 ? DType::kBfloat16 : DType::kUint8;
}

class ProductLowering {
 public:
  explicit ProductLowering(uint32_t seed) : random(seed), gang_(gangs_[1 + static_cast<int>(seed % 3)]) {}

  // x and weights of these shapes; channels: the extent of bias and steps.
  void Check(Op op, Attrs attrs, const Format& x, const std::vector<int64_t>& x_shape, const std::vector<int64_t>& w_shape,
             bool constant_w, int64_t channels, const std::vector<int64_t>& shape, Format y) {
    const bool int8 = x.storage == Storage::kU8;
    if (random.OneIn(2)) attrs.Set("act", std::string(random.OneIn(2) ? "relu" : "gelu_erf"));
    attrs.Set("alpha", 0.0);
    if (y.storage == Storage::kU8) y.scale *= 10;
    OutType type{TypeOf(y), {}, y.lo, y.hi};
    if (y.storage == Storage::kU8) type.quant = {y.scale, y.zero};
    SetOutType(type, &attrs);
    ConcreteNode node{op, attrs, {}, {}};
    Format w = constant_w ? Format{} : Format{x.storage};
    Format residual = RandomFormat(random, kAllStorages[random.Int(0, 2)]);
    Add(node, x, x_shape, false);
    Add(node, w, w_shape, constant_w);
    random.OneIn(2) ? Add(node, {}, {channels}, true) : Skip(node);
    random.OneIn(2) ? Add(node, residual, shape, false) : Skip(node);
    if (int8) {
      Add(node, {}, {channels}, true);
      float* steps = static_cast<float*>(buffers_.back().data());
      for (int64_t i = 0; i < channels; ++i) steps[i] = random.Float(0.005f, 0.02f);
    }
    Operand out{true, TypeOf(y), shape, {}, nullptr};
    if (y.storage == Storage::kU8) out.quant = {y.scale, y.zero};
    node.outputs = {out};

    const CompileBackend& backend = *FindBackend("cpu");
    for (const std::string& tactic : backend.Tactics(node)) {
      WeightStore weights;
      auto lowered = backend.Lower(node, tactic, weights, gang_.threads());
      ASSERT_TRUE(lowered.ok()) << lowered.status().ToString();
      EXPECT_NE(lowered->tactic, "ref");
      std::vector<const void*> in;
      for (int i : lowered->in) in.push_back(buffers_[index_[i]].data());
      TypedBuffer result(y, NumElements(shape));
      void* to[] = {result.data()};
      Buffer<char> scratch(static_cast<int64_t>(lowered->kernel->scratch_bytes(gang_.threads())));
      ASSERT_TRUE(lowered->kernel->Run(in.data(), to, scratch.data(), gang_).ok());

      // The same reals without the last rounding.
      Attrs real = node.attrs;
      SetOutType({DType::kFloat32, {}}, &real);
      Tensor want(DType::kFloat32, shape);
      std::vector<const Tensor*> ref_in;
      for (int i : index_) ref_in.push_back(i < 0 ? nullptr : &tensors_[i]);
      const Status status = ref::RunNode(op, real, ref_in, {&want}, quants_);
      ASSERT_TRUE(status.ok()) << status.ToString();
      for (int64_t i = 0; i < result.size; ++i) {
        const double v = want.as<float>()[i];
        // Winograd's form rounds to bf16 once more.
        double error = lowered->tactic.find("winograd2_bf16") == std::string::npos ? 0 : 0.3;
        if (x.storage == Storage::kU8 && y.storage == Storage::kU8) error += kMaxLinesError * y.scale;
        ASSERT_TRUE(Rounded(result, i, v, error + 1e-4 * (1 + std::fabs(v)))) << lowered->tactic << " element " << i;
      }
      if (lowered->in_place >= 0) {
        TypedBuffer& shared = buffers_[index_[lowered->in_place]];
        const TypedBuffer before = shared;
        void* over[] = {shared.data()};
        ASSERT_TRUE(lowered->kernel->Run(in.data(), over, scratch.data(), gang_).ok());
        EXPECT_TRUE(std::equal(result.bytes.begin(), result.bytes.end(), shared.bytes.begin())) << lowered->tactic << " in place";
        std::copy(before.bytes.begin(), before.bytes.end(), shared.bytes.begin());
      }
    }
  }

  Random random;

 private:
  void Skip(ConcreteNode& node) {
    node.inputs.emplace_back();
    quants_.emplace_back();
    index_.push_back(-1);
  }
  void Add(ConcreteNode& node, const Format& f, const std::vector<int64_t>& shape, bool constant) {
    Operand o{true, TypeOf(f), shape, {}, nullptr};
    if (f.storage == Storage::kU8) o.quant = {f.scale, f.zero};
    buffers_.push_back(RandomValues(random, f, NumElements(shape), -1, 1));
    const std::shared_ptr<const void> borrowed(static_cast<const void*>(nullptr), [](const void*) {});
    tensors_.emplace_back(o.dtype, shape, buffers_.back().data(), borrowed);
    if (constant) o.constant = std::make_shared<Tensor>(tensors_.back());
    node.inputs.push_back(o);
    quants_.push_back(o.quant);
    index_.push_back(static_cast<int>(buffers_.size()) - 1);
  }

  Gangs gangs_;
  Gang& gang_;
  std::vector<TypedBuffer> buffers_;
  std::vector<Tensor> tensors_;
  std::vector<Quant> quants_;
  std::vector<int> index_;  // of the node's inputs in buffers_
};

Format AnyInput(Random& random, Storage s) {
  Format f = RandomFormat(random, s);
  f.lo = 0, f.hi = 255;
  return f;
}

template <typename Body>
void ForFormats(const Body& body) {
  uint32_t seed = 0;
  for (Storage x : kAllStorages) {
    for (Storage y : kAllStorages) {
      for (int i = 0; i < 6; ++i) {
        SCOPED_TRACE(seed);
        ProductLowering p(seed++);
        body(p, AnyInput(p.random, x), RandomFormat(p.random, y));
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(ProductLowering, ConvolutionsAgreeWithTheReference) {
  ForFormats([](ProductLowering& p, const Format& x, const Format& y) {
    Random& r = p.random;
    const int64_t k = r.Int(1, 3), stride = r.Int(1, 2), groups = r.OneIn(3) ? r.Int(2, 3) : 1, pad = k / 2;
    const int64_t h = r.Int(3, 12), w = r.Int(3, 12), in_c = groups * r.Int(1, 24), out_c = groups * r.Int(1, 40);
    Attrs attrs;
    attrs.Set("strides", std::vector<int64_t>{stride, stride});
    attrs.Set("pads", Shape{Dim{pad}, Dim{pad}, Dim{pad}, Dim{pad}});
    attrs.Set("groups", groups);
    p.Check(Op::kConv2d, attrs, x, {2, h, w, in_c}, {k, k, in_c / groups, out_c}, true, out_c,
            {2, (h + 2 * pad - k) / stride + 1, (w + 2 * pad - k) / stride + 1, out_c}, y);
  });
}

TEST(ProductLowering, MatrixProductsAgreeWithTheReference) {
  ForFormats([](ProductLowering& p, const Format& x, const Format& y) {
    Random& r = p.random;
    const int64_t b = r.Int(1, 3), m = r.Int(1, 40), k = r.Int(1, 90), n = r.Int(1, 70);
    const bool tb = r.OneIn(2), ta = r.OneIn(3), constant = x.storage == Storage::kU8 || r.OneIn(2);
    Attrs attrs;
    attrs.Set("transpose_a", ta);
    attrs.Set("transpose_b", tb);
    std::vector<int64_t> w = tb ? std::vector<int64_t>{n, k} : std::vector<int64_t>{k, n};
    if (!constant) w.insert(w.begin(), b);
    p.Check(Op::kMatMul, attrs, x, ta ? std::vector<int64_t>{b, k, m} : std::vector<int64_t>{b, m, k}, w, constant, n, {b, m, n}, y);
  });
}

}  // namespace
}  // namespace tfengine::cpu
