// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "network/network.h"
#include "network/random_network.h"

namespace tfengine {
namespace {

using Constants = std::vector<std::shared_ptr<const Tensor>>;

constexpr char kGolden[] = R"(network {
  input %x: f32[batch,h,224,3]
  input %"odd name:": i64[batch + 1,floordiv(h + 1,2)]
  const %conv1/w: f32[7,7,3,64] @0
  const %copy: f32[7,7,3,64] @0
  %y: f32[batch,floordiv(h + 1,2),112,64] = conv2d(%x, %conv1/w, _, _) {act=relu, pads=[3,3,2,3], strides=[2,2]} "conv1/Conv2D"
  %z: f32[batch,floordiv(h + 1,2),112,2], %z:1: i32[batch,floordiv(h + 1,2),112,2] = top_k(%y) {k=2} "a \"b\"\x0a\\"
  %one: f16[n,4] = one_hot(%n) {axis=1, depth=4, dtype=f16, off=0.0, on=1e+30} "one"
  %r: i32[batch*h] = range() {delta=[-h], dtype=i32, size=[batch*h], start=-5} "r"
  require batch == n
  return %z, %z:1, %y
}
)";

Constants OneConstant() {
  return {std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{7, 7, 3, 64})};
}

std::string WithInputN() {
  std::string text = kGolden;
  text.insert(text.find("  const"), "  input %n: i32[n]\n");
  return text;
}

TEST(NetworkText, PrintsWhatItParsed) {
  auto net = ParseNetwork(WithInputN(), OneConstant());
  ASSERT_TRUE(net.ok()) << net.status().ToString();
  EXPECT_EQ(PrintNetwork(*net), WithInputN());
  EXPECT_EQ(NetworkConstants(*net).size(), 1u);
  EXPECT_EQ(net->nodes()[1].name, "a \"b\"\n\\");
  EXPECT_TRUE(Verify(*net).ok()) << Verify(*net).ToString();
}

TEST(NetworkText, InfersTypesThatAreLeftOut) {
  auto net = ParseNetwork(R"(network {
    input %x: f32[n,4]
    input %y: f32[m,4]
    %s = binary(%x, %y) {kind=add}
    return %s
  })", {});
  ASSERT_TRUE(net.ok()) << net.status().ToString();
  EXPECT_EQ(TypeToString(net->dims(), net->value(2).dtype, net->value(2).shape), "f32[n,4]");
  EXPECT_EQ(net->constraints().size(), 1u);
}

TEST(NetworkText, DeclaredShapesMayUseRequiredEqualities) {
  const char* text = R"(network {
    input %x: f32[n,4]
    input %y: f32[m,4]
    %s: f32[m,4] = binary(%x, %y) {kind=add}
    require n == m
    return %s
  })";
  EXPECT_TRUE(ParseNetwork(text, {}).ok());
  std::string wrong = text;
  wrong.replace(wrong.find("f32[m,4] ="), 8, "f32[m,5]");
  auto net = ParseNetwork(wrong, {});
  ASSERT_FALSE(net.ok());
  EXPECT_NE(net.status().message().find("line 4"), std::string::npos) << net.status().message();
}

TEST(NetworkText, ErrorsNameTheLine) {
  const struct {
    const char *text, *message;
  } cases[] = {
      {"", "line 1: expected \"network {\""},
      {"network {\n  input %x f32[1]\n return\n}", "line 2: expected ':'"},
      {"network {\n  input %x: f99[1]\n return\n}", "line 2: expected an element type"},
      {"network {\n  input %x: f32[-1]\n return\n}", "line 2: a size is negative"},
      {"network {\n  input %x: f32[H]\n return\n}", "line 2: in a dimension"},
      {"network {\n  const %x: f32[1] @7\n return\n}", "line 2: constant @7"},
      {"network {\n  input %x: f32[1]\n input %x: f32[1]\n return\n}", "line 3: two values"},
      {"network {\n return %x\n}", "line 2: no value is called \"x\""},
      {"network {\n %y = frob()\n return\n}", "line 2: unknown op"},
      {"network {\n %y = softmax()\n return\n}", "line 2: node"},
      {"network {\n input %x: f32[2]\n %y, %z = softmax(%x)\n return\n}", "line 3: softmax has 1 results"},
      {"network {\n input %x: f32[2]\n %y = unary(%x) {kind=relu, kind=relu}\n return\n}", "given twice"},
      {"network {\n input %x: f32[2]\n %y = unary(%x) {kind=1e}\n return\n}", "line 3"},
      {"network {\n input %x: f32[2]\n", "expected '}'"},
      {"network {\n return\n} x", "unexpected text"},
      {"network {\n return\n return\n}", "behind the return line"},
      {"network {\n}", "return line is missing"},
      {"network {\n input %\"x: f32[1]\n return\n}", "not closed"},
  };
  for (const auto& c : cases) {
    auto net = ParseNetwork(c.text, {});
    ASSERT_FALSE(net.ok()) << c.text;
    EXPECT_NE(net.status().message().find(c.message), std::string::npos) << net.status().message();
  }
}

TEST(NetworkText, RandomNetworksRoundTripAndDamagedTextIsRejectedSafely) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 60; ++i) {
    Network net = RandomNetwork(random, 15);
    if (i % 2) net.Compact();
    const std::string text = PrintNetwork(net);
    const Constants constants = NetworkConstants(net);
    auto parsed = ParseNetwork(text, constants);
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString() << "\n" << text;
    ASSERT_EQ(PrintNetwork(*parsed), text);
    const Status valid = Verify(*parsed);
    ASSERT_TRUE(valid.ok()) << valid.ToString() << "\n" << text;
    ASSERT_EQ(parsed->nodes().size(), net.nodes().size());

    for (int mutation = 0; mutation < 60; ++mutation) {
      std::string damaged = text;
      const size_t at = random() % damaged.size();
      switch (random() % 5) {
        case 0: damaged.resize(at); break;
        case 1: damaged[at] = static_cast<char>(random()); break;
        case 2: damaged.erase(at, 1 + random() % 20); break;
        case 3: damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 40)); break;
        default: damaged[at] = "0123456789,[](){}%\"-*=@hb"[random() % 25]; break;
      }
      auto result = ParseNetwork(damaged, constants);
      if (result.ok()) {
        const std::string again = PrintNetwork(*result);
        auto twice = ParseNetwork(again, NetworkConstants(*result));
        ASSERT_TRUE(twice.ok()) << damaged << "\n" << twice.status().ToString();
        ASSERT_EQ(PrintNetwork(*twice), again);
      }
    }
  }
}

TEST(Verify, FindsWhatPassesMayBreak) {
  auto make = [] {
    return std::move(*ParseNetwork(R"(network {
      input %x: f32[n,4]
      %a = unary(%x) {kind=relu}
      %b = unary(%a) {kind=exp}
      return %b
    })", {}));
  };
  auto message = [](const Network& net) { return Verify(net).message(); };
  Network net = make();
  EXPECT_EQ(message(net), "");
  net.mutable_value(1).shape[1] = Dim(5);
  EXPECT_NE(message(net).find("inferred f32[n,4]"), std::string::npos) << message(net);
  net = make();
  std::swap(net.mutable_nodes()[0], net.mutable_nodes()[1]);
  EXPECT_NE(message(net), "");
  net = make();
  net.mutable_nodes()[0].inputs[0] = 2;
  EXPECT_NE(message(net).find("comes before"), std::string::npos) << message(net);
  net = make();
  net.mutable_outputs()[0] = 17;
  EXPECT_NE(message(net).find("does not exist"), std::string::npos);
  net = make();
  net.mutable_value(1).name = "b";
  EXPECT_NE(message(net).find("two values"), std::string::npos);
  net = make();
  net.mutable_nodes()[0].attrs.Set("axis", int64_t{1});
  EXPECT_NE(message(net).find("unknown attribute"), std::string::npos);
  net = make();
  net.AddConstraint(net.dims().Symbol("lost"), Dim(3));
  EXPECT_NE(message(net).find("occurs in no input"), std::string::npos) << message(net);
}

}  // namespace
}  // namespace tfengine
