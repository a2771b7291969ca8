// SPDX-License-Identifier: Apache-2.0
#include "passes/cse.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>

#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

void Append(std::string* key, const void* data, size_t bytes) { key->append(static_cast<const char*>(data), bytes); }

template <typename T>
void AppendNumber(std::string* key, T value) { Append(key, &value, sizeof value); }

void AppendShape(std::string* key, const Shape& shape) {
  AppendNumber(key, shape.size());
  for (const Dim& d : shape) {
    AppendNumber(key, d.value);
    AppendNumber(key, d.expr);
  }
}

struct AppendAttr {
  std::string* key;
  void operator()(int64_t v) const { AppendNumber(key, v); }
  void operator()(double v) const { AppendNumber(key, v); }
  void operator()(bool v) const { AppendNumber(key, v); }
  void operator()(const std::string& v) const {
    AppendNumber(key, v.size());
    key->append(v);
  }
  void operator()(const std::vector<int64_t>& v) const {
    AppendNumber(key, v.size());
    for (int64_t x : v) AppendNumber(key, x);
  }
  void operator()(const Shape& v) const { AppendShape(key, v); }
};

bool IsCommutative(BinaryKind kind) {
  switch (kind) {
    case BinaryKind::k_add:
    case BinaryKind::k_mul:
    case BinaryKind::k_min:
    case BinaryKind::k_max:
    case BinaryKind::k_squared_difference:
    case BinaryKind::k_equal:
    case BinaryKind::k_not_equal:
    case BinaryKind::k_logical_and:
    case BinaryKind::k_logical_or: return true;
    default: return false;
  }
}

std::string KeyOf(const Node& node) {
  std::string key;
  AppendNumber(&key, static_cast<int>(node.op));
  std::vector<ValueId> inputs(node.inputs.begin(), node.inputs.begin() + NumPresentInputs(node));
  if (node.op == Op::kBinary && IsCommutative(BinaryKindOf(node))) std::sort(inputs.begin(), inputs.end());
  AppendNumber(&key, inputs.size());
  for (ValueId id : inputs) AppendNumber(&key, id);
  for (const auto& [name, attr] : node.attrs.items()) {
    key.append(name).push_back('\0');
    AppendNumber(&key, attr.index());
    std::visit(AppendAttr{&key}, attr);
  }
  return key;
}

// Type, shape and a sample of the bytes; equal keys are compared in full.
std::string KeyOf(const Tensor& t) {
  std::string key;
  AppendNumber(&key, static_cast<int>(t.dtype()));
  AppendNumber(&key, t.rank());
  for (int64_t d : t.shape()) AppendNumber(&key, d);
  constexpr size_t kSample = 64, kSamples = 16;
  size_t bytes = t.num_bytes();
  const char* data = static_cast<const char*>(t.data());
  if (bytes <= kSample * kSamples) {
    Append(&key, data, bytes);
  } else {
    for (size_t i = 0; i < kSamples; ++i) Append(&key, data + (bytes - kSample) / (kSamples - 1) * i, kSample);
  }
  return key;
}

bool SameBytes(const Tensor& a, const Tensor& b) {
  return a.data() == b.data() || std::memcmp(a.data(), b.data(), a.num_bytes()) == 0;
}

void MergeConstants(Rewriter& r) {
  std::unordered_map<std::string, std::vector<ValueId>> seen;
  int count = static_cast<int>(r.network().values().size());
  for (ValueId id = 0; id < count; ++id) {
    const Tensor* tensor = r.value(id).constant.get();
    if (!tensor || r.NumUses(id) == 0) continue;
    std::vector<ValueId>& same = seen[KeyOf(*tensor)];
    auto it = std::find_if(same.begin(), same.end(),
                           [&](ValueId other) { return SameBytes(*r.value(other).constant, *tensor); });
    if (it != same.end()) r.Replace(id, *it);
    else same.push_back(id);
  }
}

}  // namespace

Result<bool> EliminateCommonSubexpressions(Network& network) {
  Rewriter r(network);
  MergeConstants(r);
  std::unordered_map<std::string, int> seen;
  for (int i = 0; i < r.size(); ++i) {
    if (r.dead(i)) continue;
    auto [it, inserted] = seen.emplace(KeyOf(r.node(i)), i);
    if (inserted) continue;
    const std::vector<ValueId> outputs = r.node(i).outputs, kept = r.node(it->second).outputs;
    for (size_t j = 0; j < outputs.size(); ++j) r.Replace(outputs[j], kept[j]);
  }
  return r.Finish();
}

}  // namespace tfengine::passes
