// SPDX-License-Identifier: Apache-2.0
#include "compiler/chain_tactics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/errors.h"

namespace tfengine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

// A device whose nodes take 10 ms each, and chains what a test says: by the channels of the first node's result, the length and the tactic.
class FakeDevice : public CompileBackend {
 public:
  std::map<std::string, double> times;

  std::string Fingerprint() const override { return "fake"; }
  DType half() const override { return DType::kFloat16; }
  bool int8() const override { return false; }
  bool RunsTyped(const Network&, const Node&) const override { return true; }
  std::vector<std::string> Tactics(const ConcreteNode&) const override { return {"only"}; }
  bool on_host() const override { return false; }
  Result<Lowered> Lower(const ConcreteNode&, const std::string&, WeightStore&, int) const override { return Way("alone"); }
  Result<std::optional<Lowered>> LowerChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>&, const std::string& wish, WeightStore&, int) const override {
    const std::string name = NameOf(nodes) + wish;
    return times.count(name) ? std::optional(Way(name)) : std::nullopt;
  }
  std::vector<std::string> ChainTactics(const std::vector<ConcreteNode>& nodes) const override {
    if (times.count(NameOf(nodes) + "fast")) return {"slow", "fast"};
    return {};
  }
  std::optional<double> Measure(const Lowered& lowered, const ConcreteNode&, bool, double) const override { return lowered.tactic == "alone" ? 10 : times.at(lowered.tactic); }

 private:
  static std::string NameOf(const std::vector<ConcreteNode>& nodes) { return fmt::format("{}+{}", nodes[0].outputs[0].shape[3], nodes.size()); }
  static Lowered Way(const std::string& name) {
    Lowered lowered;
    lowered.tactic = name;
    return lowered;
  }
};

TacticMap Chains(const FakeDevice& device, TimingCache* cache = nullptr) {
  std::vector<std::shared_ptr<const Tensor>> filters;
  for (const int64_t filter : {1, 2, 3}) filters.push_back(std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{1, 1, filter, filter + 1}));
  auto network = ParseNetwork(R"(network {
  input %x: f32[1,4,4,1]
  const %w1: f32[1,1,1,2] @0
  const %w2: f32[1,1,2,3] @1
  const %w3: f32[1,1,3,4] @2
  %a = conv2d(%x, %w1)
  %b = conv2d(%a, %w2)
  %c = conv2d(%b, %w3)
  return %c
})", filters);
  EXPECT_TRUE(network.ok()) << network.status().ToString();
  TacticOptions options;
  options.cache = cache;
  TacticMap chosen;
  const Status status = ChooseChains(*network, device, options, false, &chosen);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return chosen;
}

TEST(ChainTactics, WithoutAKernelThereIsNoChain) { EXPECT_THAT(Chains(FakeDevice()), IsEmpty()); }

TEST(ChainTactics, AChainMustBeFasterThanItsNodes) {
  FakeDevice device;
  device.times = {{"2+3", 29.9}};
  EXPECT_THAT(Chains(device), IsEmpty());
  device.times = {{"2+3", 20}};
  EXPECT_THAT(Chains(device), ElementsAre(Pair("a#chain", "3")));
}

TEST(ChainTactics, WhatSavesMostWinsWhereverItStarts) {
  FakeDevice device;
  device.times = {{"2+3", 25}, {"2+2", 12}, {"3+2", 11}};
  EXPECT_THAT(Chains(device), ElementsAre(Pair("b#chain", "2")));
  device.times["2+2"] = 10;
  EXPECT_THAT(Chains(device), ElementsAre(Pair("a#chain", "2")));
  device.times["2+3"] = 15;
  EXPECT_THAT(Chains(device), ElementsAre(Pair("a#chain", "3")));
}

TEST(ChainTactics, TheFastestTacticIsRecordedAndRemembered) {
  FakeDevice device;
  device.times = {{"2+3slow", 22}, {"2+3fast", 20}};
  TimingCache cache;
  EXPECT_THAT(Chains(device, &cache), ElementsAre(Pair("a#chain", "3:fast")));
  device.times = {{"2+3slow", 1}, {"2+3fast", 40}};  // not measured again
  EXPECT_THAT(Chains(device, &cache), ElementsAre(Pair("a#chain", "3:fast")));
}

}  // namespace
}  // namespace tfengine
