// SPDX-License-Identifier: Apache-2.0
// The reference backend against what TensorFlow computed: see ref_cases.py.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "backends/ref/element.h"
#include "backends/ref/ref.h"

namespace tfengine {
namespace {

struct Case {
  std::string name;
  double ulps = 0, magnitude = 0;
  bool error = false;
  std::vector<Tensor> inputs, outputs;
  std::string network;
};

std::string ReadFile(const std::string& name) {
  std::ifstream file(std::string(TFENGINE_REF_CASES) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Case> LoadCases() {
  const std::string data = ReadFile("cases.bin");
  std::istringstream text(ReadFile("cases.txt"));
  std::vector<Case> cases;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "case") {
      Case& c = cases.emplace_back();
      std::string result;
      words >> c.name >> c.ulps >> c.magnitude >> result;
      c.error = result == "error";
    } else if (kind == "in" || kind == "out") {
      std::string dtype, sizes;
      size_t offset = 0;
      words >> dtype >> sizes >> offset;
      std::vector<int64_t> shape;
      std::istringstream list(sizes == "-" ? "" : sizes);
      for (std::string size; std::getline(list, size, ',');) shape.push_back(std::stoll(size));
      Tensor t(DTypeFromName(dtype), shape);
      std::memcpy(t.mutable_data(), data.data() + offset, t.num_bytes());
      (kind == "in" ? cases.back().inputs : cases.back().outputs).push_back(t);
    } else {
      cases.back().network += line + "\n";
    }
  }
  return cases;
}

double Epsilon(DType dtype) {
  switch (dtype) {
    case DType::kFloat64: return 0x1p-52;
    case DType::kFloat32: return 0x1p-23;
    case DType::kFloat16: return 0x1p-10;
    default: return 0x1p-7;
  }
}

// The first difference, or "".
std::string Difference(const Tensor& got, const Tensor& want, const Case& c) {
  if (got.dtype() != want.dtype() || got.shape() != want.shape())
    return std::string("expected ") + DTypeName(want.dtype()) + ShapeToString(want.shape()) + ", got " +
           DTypeName(got.dtype()) + ShapeToString(got.shape());
  return ref::WithWideType(got.dtype(), [&](auto tag) -> std::string {
    using W = decltype(tag);
    const auto g = ref::Read<W>(got), w = ref::Read<W>(want);
    for (size_t i = 0; i < g.size(); ++i) {
      bool same = g[i] == w[i];
      if constexpr (std::is_same_v<W, double>) {
        same |= std::isnan(g[i]) && std::isnan(w[i]);
        same |= std::fabs(g[i] - w[i]) <= c.ulps * Epsilon(got.dtype()) * (std::fabs(w[i]) + c.magnitude) &&
                std::isfinite(w[i]);
      }
      if (same) continue;
      std::ostringstream out;
      out.precision(17);
      out << "element " << i << ": expected " << w[i] << ", got " << g[i];
      for (const Tensor& input : c.inputs)
        if (input.dtype() == DType::kFloat32 && input.num_elements() > static_cast<int64_t>(i))
          out << ", input " << input.as<float>()[i];
      return out.str();
    }
    return "";
  });
}

TEST(RefAgainstTensorFlow, EveryCaseAgrees) {
  const std::vector<Case> cases = LoadCases();
  ASSERT_GT(cases.size(), 1000u) << "no cases in " << TFENGINE_REF_CASES;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name + "\n" + c.network);
    auto net = ParseNetwork(c.network, {});
    if (!net.ok()) {
      ADD_FAILURE() << net.status().ToString();
      continue;
    }
    auto results = ref::Execute(*net, c.inputs);
    EXPECT_EQ(!results.ok(), c.error) << results.status().ToString();
    if (!results.ok() || c.error) continue;
    if (results->size() != c.outputs.size()) {
      ADD_FAILURE() << "expected " << c.outputs.size() << " results, got " << results->size();
      continue;
    }
    for (size_t i = 0; i < c.outputs.size(); ++i) EXPECT_EQ(Difference((*results)[i], c.outputs[i], c), "");
  }
}

TEST(RefAgainstTensorFlow, CasesCoverEveryOpAndKind) {
  std::set<std::string> seen;
  for (const Case& c : LoadCases()) {
    auto net = ParseNetwork(c.network, {});
    if (!net.ok()) continue;
    const Node& node = net->nodes()[0];
    seen.insert(std::string(OpName(node.op)) + ":");
    seen.insert(std::string(OpName(node.op)) + ":" + node.attrs.Str("kind"));
  }
  const char* ops[] = {
#define TFE_OP(enumerator, name, min_inputs, max_inputs, outputs) name ":",
#include "network/ops.inc"
#undef TFE_OP
#define TFE_UNARY(name) "unary:" #name,
#define TFE_BINARY(name, predicate) "binary:" #name,
#include "network/kinds.inc"
  };
  for (const char* op : ops) EXPECT_TRUE(seen.count(op)) << op;
}

}  // namespace
}  // namespace tfengine
