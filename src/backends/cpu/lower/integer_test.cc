// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backends/compile_backend.h"
#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/test_util.h"
#include "backends/ref/ref.h"

// Binary ops on integers as they are lowered here against the reference backend.
namespace tfengine::cpu {
namespace {

constexpr DType kTypes[] = {DType::kInt8,  DType::kInt16,  DType::kInt32,  DType::kInt64, DType::kUint8,
                            DType::kUint16, DType::kUint32, DType::kUint64, DType::kBool};
constexpr const char* kArithmetic[] = {"add", "sub", "mul", "squared_difference", "min",
                                       "max", "div", "floor_div", "truncate_mod", "floor_mod"};
constexpr const char* kComparisons[] = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"};

bool Divides(const std::string& kind) {
  return kind.find("div") != std::string::npos || kind.find("mod") != std::string::npos;
}

// Small numbers, the lowest and the highest; bools are 0 or 1.
Tensor RandomTensor(Random& random, DType dtype, const std::vector<int64_t>& shape, bool zeros) {
  Tensor t(dtype, shape);
  const size_t size = DTypeSize(dtype);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    int64_t v = dtype == DType::kBool ? random.Int(0, 1) : random.Int(-9, 9);
    if (dtype != DType::kBool && random.OneIn(8)) v = int64_t(uint64_t{1} << (8 * size - 1)) - random.Int(0, 1);
    if (v == 0 && !zeros) v = 3;
    std::memcpy(t.mutable_as<char>() + static_cast<size_t>(i) * size, &v, size);
  }
  return t;
}

ConcreteNode BinaryNode(const std::string& kind, const Tensor& a, const Tensor& b, const std::vector<int64_t>& shape, DType result) {
  ConcreteNode node{Op::kBinary, {}, {}, {}};
  node.attrs.Set("kind", kind);
  for (const Tensor* t : {&a, &b}) {
    Operand o;
    o.present = true;
    o.dtype = t->dtype();
    o.shape = t->shape();
    node.inputs.push_back(o);
  }
  Operand out;
  out.present = true;
  out.dtype = result;
  out.shape = shape;
  node.outputs = {out};
  return node;
}

void Check(Random& random, Gang& gang, const std::string& kind, DType dtype, bool predicate) {
  std::vector<int64_t> shape, shapes[2];
  const int64_t rank = random.Int(0, 4);
  for (int64_t d = 0; d < rank; ++d) shape.push_back(random.OneIn(12) ? 0 : random.Int(1, 7));
  if (rank > 0 && random.OneIn(4)) shape.back() = random.Int(1, 40000);
  for (auto& operand : shapes)
    for (int64_t d = random.OneIn(2) ? 0 : random.Int(0, rank); d < rank; ++d) operand.push_back(random.OneIn(3) ? 1 : shape[d]);
  const Tensor a = RandomTensor(random, dtype, shapes[0], true), b = RandomTensor(random, dtype, shapes[1], !Divides(kind));
  const DType result = predicate ? DType::kBool : dtype;
  const ConcreteNode node = BinaryNode(kind, a, b, shape, result);
  WeightStore weights;
  auto lowered = FindBackend("cpu")->Lower(node, "", weights, gang.threads());
  ASSERT_TRUE(lowered.ok()) << lowered.status().ToString();
  ASSERT_EQ(lowered->tactic, "vector") << kind << " " << DTypeName(dtype);
  Tensor want(result, shape), got(result, shape);
  ASSERT_TRUE(ref::RunNode(node.op, node.attrs, {&a, &b}, {&want}, {}).ok());
  const void* in[] = {a.data(), b.data()};
  void* out[] = {got.mutable_data()};
  ASSERT_TRUE(lowered->kernel->Run(in, out, nullptr, gang).ok());
  ASSERT_EQ(std::memcmp(want.data(), got.data(), want.num_bytes()), 0) << kind << " " << DTypeName(dtype);
  if (lowered->in_place < 0) return;
  out[0] = const_cast<void*>(in[lowered->in_place]);
  ASSERT_TRUE(lowered->kernel->Run(in, out, nullptr, gang).ok());
  EXPECT_EQ(std::memcmp(want.data(), out[0], want.num_bytes()), 0) << kind << " " << DTypeName(dtype) << " in place";
}

TEST(IntegerBinary, AgreesWithTheReferenceForEveryTypeAndKind) {
  Gangs gangs;
  Random random(5);
  for (int round = 0; round < 12; ++round) {
    for (DType dtype : kTypes) {
      Gang& gang = gangs[1 + round % 3];
      for (const char* kind : kComparisons)
        if (dtype != DType::kBool || std::string(kind).ends_with("equal")) Check(random, gang, kind, dtype, true);
      if (dtype == DType::kBool) continue;
      for (const char* kind : kArithmetic) Check(random, gang, kind, dtype, false);
    }
  }
}

TEST(IntegerBinary, FailsAtADivisionByZero) {
  Gang gang;
  const int32_t values[] = {4, 5}, divisors[] = {2, 0};
  Tensor a(DType::kInt32, {2}, values, nullptr), b(DType::kInt32, {2}, divisors, nullptr), y(DType::kInt32, {2});
  WeightStore weights;
  for (const char* kind : {"div", "floor_div", "floor_mod", "truncate_mod"}) {
    auto lowered = FindBackend("cpu")->Lower(BinaryNode(kind, a, b, {2}, DType::kInt32), "", weights, 1);
    ASSERT_TRUE(lowered.ok());
    const void* in[] = {values, divisors};
    void* out[] = {y.mutable_data()};
    EXPECT_FALSE(lowered->kernel->Run(in, out, nullptr, gang).ok()) << kind;
  }
}

}  // namespace
}  // namespace tfengine::cpu
