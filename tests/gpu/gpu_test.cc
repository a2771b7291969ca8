// SPDX-License-Identifier: Apache-2.0
// Checks of the CUDA backend against the reference backend and the CPU engine, on a machine with a GPU.
//   gpu_test ops [--tactics [TEXT] | --tiles [NAME]] [CHOICE] [--cache DIR]   every kernel; with --tactics every tactic of every
//                                                              node (that has TEXT in it: "first", "chain: 3"), with --tiles
//                                                              every cut (that begins with NAME) of products on own kernels
//     CHOICE of cases: [--filter TEXT|TEXT...] [--most ELEMENTS of a tensor] [--slice 0/4: the first of four parts]
//     and [--threads N] [--seconds S: start no case later]
//   gpu_test engine [--runs 10000] [--cache DIR]               engines: device pointers, streams, threads, memory, leaks
//   gpu_test compile [--arch 90]                               compiles every kernel without a GPU
//   gpu_test network FILE [--batch 1,8] [--precision FP16] [--tune CACHE] [--profile] [--no-check]
//                                                              times, errors, device memory (with --tune: that of a second run,
//                                                              as tuning has the libraries load kernels)
// Exit code 1 if anything is wrong.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <sstream>
#include <thread>

#include "backends/cuda/backend.h"
#include "backends/cuda/piece_conv.h"
#include "backends/cuda/tile_product.h"
#include "backends/cuda/tma_product.h"
#include "backends/ref/element.h"
#include "backends/ref/ref.h"
#include "base/crc32c.h"
#include "base/status_macros.h"
#include "cases.h"
#include "compiler/calibration.h"
#include "compiler/cuda_engine.h"
#include "compiler/engine_impl.h"
#include "compiler/tactics.h"
#include "compiler/timing_cache.h"
#include "compiler/typed.h"
#include "engine_checks.h"

namespace tfengine::gpu {
namespace {

using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

bool StartsWith(const std::string& s, const char* prefix) { return s.rfind(prefix, 0) == 0; }

void Fill(const std::string& name, std::mt19937& random, Tensor* t) {
  std::uniform_real_distribution<double> uniform(-3, 3), positive(0.05, 2);
  const bool is_index = StartsWith(name, "idx"), nonzero = name == "nz", is_positive = StartsWith(name, "pos"), is_mask = name == "mask";
  const int64_t bound = is_index ? std::stoll(name.substr(3)) : 0;
  ref::WithElementType(t->dtype(), [&](auto tag) {
    using T = decltype(tag);
    for (int64_t i = 0; i < t->num_elements(); ++i) {
      double v = is_positive ? positive(random) : uniform(random);
      if (is_mask) v = random() % 4 == 0 ? -1e4 : 0;
      if (name == "w") v *= 0.1;
      if (name == "wsteps") v = 0.0025 + 0.0001 * v;  // of int8 codes for such weights
      if constexpr (std::is_same_v<T, bool>) v = random() % 2;
      if (is_index) {
        v = static_cast<double>(static_cast<int64_t>(random() % static_cast<uint32_t>(bound)));
      } else if (name == "zero") {
        v = static_cast<double>(i % 3);
      } else if (name == "lo3" || name == "hi4") {
        v = name == "lo3" ? -3 : 4;
      } else if (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        v = std::round(v * 3);
        if (std::is_unsigned_v<T>) v = std::fabs(v);
        if (nonzero && v == 0) v = 2;
      }
      t->mutable_as<T>()[i] = ref::Narrow<T>(v);
    }
  });
}

// Turns the inputs whose names start with w into constants.
std::string WithConstants(const std::string& text) {
  static const std::regex kWeight(R"(  input (%w[a-z0-9]*: [^\n]*)\n)");
  std::string out, rest = text;
  int next = 0;
  for (std::smatch m; std::regex_search(rest, m, kWeight); rest = m.suffix()) out += m.prefix().str() + fmt::format("  const {} @{}\n", m[1].str(), next++);
  return out + rest;
}

// Tensors for "const %name: type[shape] @n" lines, in their order. `scale`: of a filter, by its fan-in.
std::vector<std::shared_ptr<const Tensor>> RandomConstants(const std::string& text, std::mt19937& random, bool trained) {
  static const std::regex kConstant(R"(const (%"[^"]*"|%[^ :]*): ([a-z0-9]+)\[([0-9,]*)\] @([0-9]+))");
  std::map<int, std::shared_ptr<const Tensor>> found;
  for (std::sregex_iterator it(text.begin(), text.end(), kConstant), end; it != end; ++it) {
    const int number = std::stoi((*it)[4]);
    if (found.count(number)) continue;
    std::vector<int64_t> shape;
    std::stringstream dims((*it)[3].str());
    for (std::string d; std::getline(dims, d, ',');) shape.push_back(std::stoll(d));
    auto t = std::make_shared<Tensor>(DTypeFromShortName((*it)[2].str()), shape);
    std::string name = (*it)[1].str().substr(1);
    while (name[0] == 'w' && std::isdigit(static_cast<unsigned char>(name.back()))) name.pop_back();
    Fill(name == "wb" || name == "w" || name == "wsteps" ? name : "x", random, t.get());
    if (trained && t->dtype() == DType::kFloat32) {
      double fan_in = 1;
      for (size_t i = 0; i + 1 < shape.size(); ++i) fan_in *= static_cast<double>(shape[i]);
      std::normal_distribution<float> normal(0, static_cast<float>(1 / std::sqrt(std::max(1.0, fan_in))));
      for (int64_t i = 0; i < t->num_elements(); ++i) t->mutable_as<float>()[i] = shape.size() <= 1 ? 0.5f + 0.1f * normal(random) : normal(random);
    } else if (trained) {
      std::memset(t->mutable_data(), 0, t->num_bytes());
    }
    found[number] = t;
  }
  std::vector<std::shared_ptr<const Tensor>> list;
  for (auto& [number, t] : found) list.push_back(t);
  return list;
}

// Runs an executable on the device, without graphs: forwards, then backwards, which must give the same bits.
Result<std::vector<Tensor>> RunSteps(cuda::Device& device, const Executable& exe, const std::vector<Tensor>& inputs, int repeats) {
  const cuda::Device::Scope scope(device);
  const cuda::DriverApi& api = device.driver();
  std::vector<cuda::DeviceBuffer> buffers;
  auto upload = [&](const Tensor& t) -> Result<char*> {
    TFE_ASSIGN_OR_RETURN(cuda::DeviceBuffer b, cuda::DeviceBuffer::Upload(device, t.data(), t.num_bytes()));
    buffers.push_back(std::move(b));
    return static_cast<char*>(buffers.back().data());
  };
  std::vector<char*> in, out, constants;
  for (const Tensor& t : inputs) { TFE_ASSIGN_OR_RETURN(char* p, upload(t)); in.push_back(p); }
  for (const auto& t : exe.constants) { TFE_ASSIGN_OR_RETURN(char* p, upload(*t)); constants.push_back(p); }
  std::vector<Tensor> results;
  for (const auto& port : exe.outputs) {
    results.emplace_back(port.dtype, port.shape);
    std::memset(results.back().mutable_data(), 0x7b, results.back().num_bytes());  // every element must be written
    TFE_ASSIGN_OR_RETURN(char* p, upload(results.back()));
    out.push_back(p);
  }
  TFE_ASSIGN_OR_RETURN(cuda::DeviceBuffer memory, cuda::DeviceBuffer::Allocate(device, exe.memory_bytes() + 1024));
  api.MemsetD8Async(cuda::DevicePointer(memory.data()), 0x7b, memory.bytes(), nullptr);
  char* arena = static_cast<char*>(memory.data());
  cuda::Launch launch{device};
  launch.scratch = arena + (exe.arena_bytes + 255) / 256 * 256;
  launch.error = reinterpret_cast<int*>(arena + (memory.bytes() - 256) / 256 * 256);
  api.MemsetD8Async(cuda::DevicePointer(launch.error), 0, 4, nullptr);
  for (int r = 0; r < repeats; ++r) {
    launch.backwards = r % 2 == 1;
    for (const Step& step : exe.steps) {
      std::vector<const void*> step_in;
      std::vector<void*> step_out;
      auto resolve = [&](const BufferRef& ref) -> char* {
        const auto i = static_cast<size_t>(ref.index);
        return (ref.kind == BufferRef::Kind::kArena ? arena : ref.kind == BufferRef::Kind::kInput ? in[i] : ref.kind == BufferRef::Kind::kOutput ? out[i] : constants[i]) + ref.offset;
      };
      for (const BufferRef& ref : step.in) step_in.push_back(resolve(ref));
      for (const BufferRef& ref : step.out) step_out.push_back(resolve(ref));
      TFE_RETURN_IF_ERROR(static_cast<const cuda::DeviceKernel&>(*step.kernel).Enqueue(step_in.data(), step_out.data(), launch));
    }
    TFE_RETURN_IF_ERROR(device.Check(api.StreamSynchronize(nullptr), "running"));
    for (size_t i = 0; i < results.size(); ++i) {
      Tensor got(results[i].dtype(), results[i].shape());
      if (got.num_bytes() == 0) continue;
      TFE_RETURN_IF_ERROR(device.Check(api.MemcpyDtoH(got.mutable_data(), cuda::DevicePointer(out[i]), got.num_bytes()), "copying"));
      if (r > 0 && std::memcmp(got.data(), results[i].data(), got.num_bytes()) != 0) return Error(ErrorId::kInternalError, "result {} is another one when run once more, backwards", i);
      results[i] = std::move(got);
    }
  }
  int error = 0;
  TFE_RETURN_IF_ERROR(device.Check(api.MemcpyDtoH(&error, cuda::DevicePointer(launch.error), 4), "copying"));
  TFE_RETURN_IF_ERROR(cuda::StatusOf(error));
  return results;
}

// "" or what is wrong. `step` > 0: results are multiples of it, and a few may be its neighbours (values near a tie); `ulp`: more
// of them, as far away relative to their size.
std::string Compare(const Tensor& got, const Tensor& want, double tolerance, bool sums, double step = 0, double ulp = 0) {
  std::string problem;
  size_t neighbours = 0;
  if (got.shape() != want.shape() || got.dtype() != want.dtype()) return "other type or shape";
  ref::WithWideType(want.dtype(), [&](auto tag) {
    using W = decltype(tag);
    const std::vector<W> a = ref::Read<W>(got), b = ref::Read<W>(want);
    double scale = 0;
    for (const W v : b)
      if (std::isfinite(static_cast<double>(v))) scale = std::max(scale, std::fabs(static_cast<double>(v)));
    for (size_t i = 0; i < b.size(); ++i) {
      const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      const double limit = tolerance * (sums ? scale : std::max(std::fabs(y), 1e-2));
      if (std::fabs(x - y) <= limit) continue;
      // Sums of E4M3 are off by 1e-3 of the largest, which is several steps of results near 0.
      if (std::fabs(x - y) <= 1.001 * std::max(step, ulp * std::fabs(y)) + (ulp > 0 ? 1e-3 * scale : 0) && ++neighbours <= 1 + b.size() / (ulp > 0 ? 20 : 50)) continue;
      problem = fmt::format("element {} of {}: got {}, want {} (limit {:.3g})", i, b.size(), x, y, limit);
      return;
    }
  });
  return problem;
}

struct Options {
  std::vector<std::string> words;
  std::map<std::string, std::string> flags;
  bool has(const std::string& f) const { return flags.count(f) > 0; }
  std::string get(const std::string& f, const std::string& fallback) const { return has(f) ? flags.at(f) : fallback; }
};

struct Outcome {
  std::string problem;
  int tactics = 0;
};

// The ways to run a node of a network: alone, with the matmuls that run with it, or in a chain.
Result<std::vector<TacticMap>> WaysOf(const Network& network, size_t tested, const cuda::CudaBackend& backend, bool tiles) {
  std::vector<ConcreteNode> nodes;
  const int index = static_cast<int>(tested);
  auto name = [&](int i) { return network.value(network.nodes()[static_cast<size_t>(i)].outputs[0]).name; };
  std::vector<int> together;
  if (network.nodes()[tested].op == Op::kMatMul) together = JointProducts(network, index);
  if (together.size() < 2) together = {index};
  for (int i : together) {
    TFE_ASSIGN_OR_RETURN(ConcreteNode node, MakeConcrete(network, network.nodes()[static_cast<size_t>(i)], {}, {}));
    nodes.push_back(std::move(node));
  }
  std::vector<std::string> tactics = nodes.size() > 1 ? backend.JointTactics(nodes) : backend.Tactics(nodes[0]);
  if (tiles) {
    tactics = cuda::TileNames(backend.device().architecture());
    for (const auto& more : {cuda::TmaNames(false), cuda::PieceNames()}) tactics.insert(tactics.end(), more.begin(), more.end());
  }
  std::vector<TacticMap> ways;
  for (const std::string& tactic : tactics) ways.push_back({{name(index) + (nodes.size() > 1 ? kJointSuffix : ""), tactic}});
  for (int begin = 0; begin <= index; ++begin)
    for (int length = ChainLength(network, network.UseCounts(), begin); length > 1 && begin + length > index; --length) {
      std::vector<ConcreteNode> chain;
      for (int i = begin; i < begin + length; ++i) {
        TFE_ASSIGN_OR_RETURN(ConcreteNode node, MakeConcrete(network, network.nodes()[static_cast<size_t>(i)], {}, {}));
        chain.push_back(std::move(node));
      }
      std::vector<std::string> choices = backend.ChainTactics(chain);
      if (tiles) {
        choices = cuda::TmaNames(true);
        const auto pieces = cuda::PieceNames();
        choices.insert(choices.end(), pieces.begin(), pieces.end());
      }
      if (choices.empty()) choices.push_back("");
      for (const std::string& tactic : choices) {
        WeightStore weights;
        TFE_ASSIGN_OR_RETURN(const auto lowered, backend.LowerChain(chain, {}, tactic, weights, 1));
        if (lowered && (tactic.empty() || lowered->tactic == tactic)) ways.push_back({{name(begin) + kChainSuffix, ChainRecord(length, tactic)}});
      }
    }
  return ways;
}

std::string Describe(const TacticMap& way) {
  std::string text;
  for (const auto& [name, tactic] : way) text = name + ": " + std::regex_replace(tactic, std::regex(":"), ": ");
  return text;
}

// `wish`: which ways to run, by a part of their description; nullopt: the one that is chosen without a wish.
Outcome RunCase(const Case& c, uint32_t seed, const cuda::CudaBackend& backend, const std::optional<std::string>& wish, bool tiles) {
  std::mt19937 random(seed);
  Outcome outcome;
  const std::string text = WithConstants(c.text);
  auto constants = RandomConstants(text, random, false);
  auto network = ParseNetwork(text, constants);
  if (!network.ok()) return {"parse: " + network.status().ToString()};
  if (c.range > 0) {
    Numerics numerics;
    numerics.precision = "FP8";
    for (const Value& v : network->values()) numerics.ranges[v.name] = {-c.range, c.range};
    auto typed = AssignFor(*network, numerics, backend);
    if (!typed.ok()) return {"assign: " + typed.status().ToString()};
    network = std::move(typed->network);
  }
  std::vector<Tensor> inputs;
  std::vector<std::vector<int64_t>> shapes;
  for (ValueId v : network->inputs()) {
    auto shape = EvalShape(network->dims(), network->value(v).shape, {});
    inputs.emplace_back(network->value(v).dtype, *shape);
    Fill(network->value(v).name, random, &inputs.back());
    shapes.push_back(*shape);
  }
  std::vector<TacticMap> ways = {{}};
  // The node under test; quantized operands are made by others.
  size_t tested = 0;
  for (size_t i = 0; i < network->nodes().size() && network->nodes()[0].op == Op::kConvert; ++i)
    if (network->nodes()[i].op == Op::kConv2d || network->nodes()[i].op == Op::kMatMul) tested = i;
  for (size_t i = 0; i < tested; ++i) {  // of several that run together, the first
    const std::vector<int> together = network->nodes()[i].op == Op::kMatMul ? JointProducts(*network, static_cast<int>(i)) : std::vector<int>();
    if (std::ranges::count(together, static_cast<int>(tested)) > 0) tested = i;
  }
  if (wish) {
    auto found = WaysOf(*network, tested, backend, tiles);
    if (!found.ok()) return {"tactics: " + found.status().ToString()};
    ways = *found;
    std::erase_if(ways, [&](const TacticMap& way) { return Describe(way).find(*wish) == std::string::npos; });
  }
  auto want = backend.device().offline() ? Result<std::vector<Tensor>>(std::vector<Tensor>()) : ref::Execute(*network, inputs);
  for (const TacticMap& way : ways) {
    WeightStore weights;
    auto exe = Specialize(*network, backend, {}, way, weights, 1);
    if (!exe.ok()) return {"lower: " + exe.status().ToString()};
    ++outcome.tactics;
    if (backend.device().offline()) continue;
    const bool in_place = std::any_of((*exe)->steps.begin(), (*exe)->steps.end(), [](const Step& s) { return s.op == "copy"; });
    auto got = RunSteps(backend.device(), **exe, inputs, in_place ? 1 : 2);
    const std::string where = !way.empty() ? Describe(way) : (*exe)->steps.empty() ? "folded" : (*exe)->steps[0].tactic;
    if (!c.error.empty()) {
      if (got.ok() || got.status().message().find(c.error) == std::string::npos) outcome.problem = "expected an error with \"" + c.error + "\"";
      continue;
    }
    if (!want.ok()) return {"reference: " + want.status().ToString()};
    if (!got.ok()) return {where + ": " + got.status().ToString()};
    for (size_t i = 0; i < want->size(); ++i) {
      std::string problem = Compare((*got)[i], (*want)[i], c.tolerance, c.sums, c.step, c.ulp);
      if (!problem.empty()) outcome.problem += fmt::format("[{}] {}; ", where, problem);
    }
  }
  return outcome;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

// Elements of the largest tensor in a network's text.
int64_t LargestTensor(const std::string& text) {
  static const std::regex kShape(R"(: [a-z0-9]+\[([0-9,]+)\])");
  int64_t largest = 1;
  for (std::sregex_iterator it(text.begin(), text.end(), kShape), end; it != end; ++it) {
    int64_t elements = 1;
    for (const std::string& dim : Split((*it)[1], ',')) elements *= std::stoll(dim);
    largest = std::max(largest, elements);
  }
  return largest;
}

// The numbers of the cases that the options choose. nullopt: the options make no sense.
std::optional<std::vector<size_t>> Chosen(const Options& o, const std::vector<Case>& cases) {
  const std::vector<std::string> filters = Split(o.get("filter", ""), '|');
  const int64_t most = std::stoll(o.get("most", "0"));
  size_t slice = 0, slices = 1;
  char rest = 0;
  if (o.has("slice") && (std::sscanf(o.get("slice", "").c_str(), "%zu/%zu%c", &slice, &slices, &rest) != 2 || slice >= slices)) return std::nullopt;
  std::vector<size_t> chosen;
  size_t found = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string& text = cases[i].text;
    if (!filters.empty() && std::none_of(filters.begin(), filters.end(), [&](const std::string& f) { return text.find(f) != std::string::npos; })) continue;
    if (most > 0 && LargestTensor(text) > most) continue;
    if (found++ % slices == slice) chosen.push_back(i);
  }
  return chosen;
}

int RunOps(const Options& o, const cuda::CudaBackend& backend) {
  const std::vector<Case> cases = OpCases();
  const auto chosen = Chosen(o, cases);
  if (!chosen) {
    std::cout << "--slice " << o.get("slice", "") << ": expected <number>/<how many>, numbers from 0\n";
    return 2;
  }
  const double most_ms = 1e3 * std::stod(o.get("seconds", "1e9"));
  std::optional<std::string> wish;
  if (o.has("tactics")) wish = o.get("tactics", "");
  if (o.has("tiles")) wish = ": " + o.get("tiles", "");
  std::atomic<size_t> next{0};
  std::atomic<int> failed{0}, ran{0}, tactics{0};
  std::mutex mu;
  const auto start = Clock::now();
  auto work = [&] {
    for (size_t k; Milliseconds(start) < most_ms && (k = next++) < chosen->size();) {
      const size_t i = (*chosen)[k];
      // By its text: other cases do not change what a case is run on.
      const Outcome outcome = RunCase(cases[i], Crc32c(cases[i].text), backend, wish, o.has("tiles"));
      ++ran;
      tactics += outcome.tactics;
      if (outcome.problem.empty()) continue;
      ++failed;
      std::lock_guard<std::mutex> lock(mu);
      std::cout << "FAILED " << cases[i].text << "  " << outcome.problem.substr(0, 900) << "\n";
    }
  };
  std::vector<std::thread> threads;
  const int count = std::stoi(o.get("threads", std::to_string(std::max(1u, std::thread::hardware_concurrency()))));
  for (int t = 0; t < count; ++t) threads.emplace_back(work);
  for (auto& t : threads) t.join();
  const size_t left = chosen->size() - static_cast<size_t>(ran);
  std::cout << fmt::format("ops: {} cases, {} lowerings, {} failed, {:.1f} s{}\n", ran.load(), tactics.load(), failed.load(), Milliseconds(start) / 1e3,
                           left > 0 ? fmt::format(", {} cases left", left) : "");
  return failed > 0;
}

double RelativeError(const Tensor& a, const Tensor& b) {
  double error = 0, norm = 0;
  const std::vector<double> x = ref::Read<double>(a), y = ref::Read<double>(b);
  for (size_t i = 0; i < x.size(); ++i) {
    error += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  return std::sqrt(error / std::max(norm, 1e-30));
}

// Inputs at these sizes: token ids below 2, reals of a normal distribution.
Result<std::vector<Tensor>> RandomInputs(const Network& network, const std::vector<int64_t>& symbols, std::mt19937& random) {
  std::vector<Tensor> inputs;
  for (ValueId v : network.inputs()) {
    TFE_ASSIGN_OR_RETURN(auto shape, EvalShape(network.dims(), network.value(v).shape, symbols));
    inputs.emplace_back(network.value(v).dtype, shape);
    Fill("idx2", random, &inputs.back());
    if (inputs.back().dtype() == DType::kFloat32)
      for (int64_t i = 0; i < inputs.back().num_elements(); ++i) inputs.back().mutable_as<float>()[i] = std::normal_distribution<float>()(random);
  }
  return inputs;
}

// The ranges of the values of a network on random inputs, as the CPU engine has them.
Result<std::map<std::string, quant::Range>> RandomRanges(const Network& network, const std::vector<int64_t>& symbols) {
  std::mt19937 random(11);
  TFE_ASSIGN_OR_RETURN(auto calibration, Calibration::Start());
  EngineOptions cpu;
  TFE_ASSIGN_OR_RETURN(auto engine, EngineImpl::Create(network, Numerics(), DeviceChoices(), cpu));
  for (int run = 0; run < 2; ++run) {
    TFE_ASSIGN_OR_RETURN(const std::vector<Tensor> inputs, RandomInputs(network, symbols, random));
    TFE_RETURN_IF_ERROR(static_cast<Engine&>(*engine).Run(inputs).status());
  }
  calibration->Stop();
  TFE_ASSIGN_OR_RETURN(const std::string json, calibration->Table());
  TFE_ASSIGN_OR_RETURN(const auto table, quant::CalibrationTable::Parse(json, "calibration"));
  std::map<std::string, quant::Range> ranges;
  for (const auto& [engine_name, found] : table.engines)
    for (const auto& [name, value] : found.values) ranges[name] = value.range();
  return ranges;
}

Result<int> RunNetwork(const Options& o) {
  std::ifstream file(o.words.at(1));
  std::stringstream buffer;
  buffer << file.rdbuf();
  const std::string text = buffer.str();
  std::mt19937 random(7);
  const auto constants = RandomConstants(text, random, true);
  TFE_ASSIGN_OR_RETURN(Network network, ParseNetwork(text, constants));
  Numerics numerics;
  numerics.precision = o.get("precision", "FP32");
  EngineOptions options;
  options.device = o.get("device", "cuda");
  options.kernel_cache = o.get("cache", "");
  options.tf32 = o.has("tf32");
  std::vector<int64_t> batches;
  std::stringstream list(o.get("batch", "1"));
  for (std::string b; std::getline(list, b, ',');) batches.push_back(std::stoll(b));
  BackendOptions backend_options;
  backend_options.kernel_cache = options.kernel_cache;
  backend_options.tf32 = options.tf32;
  auto symbols_at = [&](int64_t batch) {
    std::vector<int64_t> symbols;
    for (int s = 0; s < network.dims().num_symbols(); ++s) symbols.push_back(network.dims().symbol_name(s) == "batch" ? batch : std::stoll(o.get("length", "128")));
    return symbols;
  };
  if (numerics.precision == "INT8" || numerics.precision == "FP8") {
    TFE_ASSIGN_OR_RETURN(numerics.ranges, RandomRanges(network, symbols_at(2)));
  }
  TFE_ASSIGN_OR_RETURN(auto backend, OpenBackend(options.device, backend_options));
  TFE_ASSIGN_OR_RETURN(auto typed, AssignFor(network, numerics, *backend));
  TFE_ASSIGN_OR_RETURN(const cuda::Device* const opened, cuda::Device::Get(cuda::DeviceIndex(options.device).value_or(0)));
  const cuda::Device& device = *opened;
  auto megabytes = [](auto bytes) { return static_cast<double>(bytes) / 1e6; };
  int failed = 0;
  TimingCache cache = TimingCache::Load(o.get("tune", "/nonexistent"));
  for (const int64_t batch : batches) {
    const std::vector<int64_t> symbols = symbols_at(batch);
    TFE_ASSIGN_OR_RETURN(const std::vector<Tensor> inputs, RandomInputs(network, symbols, random));
    std::vector<InputView> views;
    for (const Tensor& t : inputs) views.push_back({t.dtype(), t.shape(), t.data()});
    DeviceChoices choices;
    auto start = Clock::now();
    if (o.has("tune")) {
      TacticOptions tactic_options;
      tactic_options.symbols = symbols;
      tactic_options.cache = &cache;
      ShapeChoices chosen;
      for (size_t s = 0; s < symbols.size(); ++s) chosen.sizes[network.dims().symbol_name(static_cast<int>(s))] = symbols[s];
      TFE_ASSIGN_OR_RETURN(chosen.tactics, ChooseTactics(typed.network, *backend, tactic_options));
      choices.at.push_back(chosen);
      if (!cache.Save(o.get("tune", "")).ok()) std::cout << "timing cache not saved\n";
    }
    const double tuned = Milliseconds(start);
    const size_t free_before = FreeBytes(device);
    start = Clock::now();
    TFE_ASSIGN_OR_RETURN(auto engine, CudaEngine::Create(network, numerics, choices, options));
    TFE_RETURN_IF_ERROR(engine->Prepare(ShapesOf(views)));
    const double prepared = Milliseconds(start);
    const size_t free_after = FreeBytes(device);
    const CudaEngine::DeviceUse use = engine->MemoryUse();
    TFE_ASSIGN_OR_RETURN(std::vector<Tensor> got, static_cast<Engine&>(*engine).Run(inputs));
    std::vector<double> host;
    for (int i = 0; i < 30; ++i) {
      start = Clock::now();
      TFE_ASSIGN_OR_RETURN(got, static_cast<Engine&>(*engine).Run(inputs));
      host.push_back(Milliseconds(start));
    }
    std::sort(host.begin(), host.end());
    std::string errors = "not checked";
    if (!o.has("no-check")) {
      EngineOptions cpu;
      TFE_ASSIGN_OR_RETURN(auto exact, EngineImpl::Create(network, Numerics(), DeviceChoices(), cpu));
      TFE_ASSIGN_OR_RETURN(std::vector<Tensor> want, static_cast<Engine&>(*exact).Run(inputs));
      errors = "error";
      double limit = numerics.precision == "FP32" ? (options.tf32 ? 2e-2 : 2e-4) : 5e-2;
      if (numerics.precision == "INT8") {  // as far from FP32 as the CPU's INT8 engine, which rounds the same values
        TFE_ASSIGN_OR_RETURN(auto reduced, EngineImpl::Create(network, numerics, DeviceChoices(), cpu));
        TFE_ASSIGN_OR_RETURN(const std::vector<Tensor> other, static_cast<Engine&>(*reduced).Run(inputs));
        limit = 0;
        for (size_t i = 0; i < want.size(); ++i) limit = std::max(limit, RelativeError(other[i], want[i]));
        errors = fmt::format("error (of the CPU's INT8 {:.2e}, from it {:.2e})", limit, RelativeError(got[0], other[0]));
        limit = 2 * limit + 1e-2;  // a few rows say little
      }
      if (numerics.precision == "FP8") {  // the same of the reference, which is slow; CPUs have no FP8
        TFE_ASSIGN_OR_RETURN(const std::vector<Tensor> other, ref::Execute(typed.network, inputs));
        limit = 0;
        for (size_t i = 0; i < want.size(); ++i) limit = std::max(limit, RelativeError(other[i], want[i]));
        errors = fmt::format("error (of the reference's FP8 {:.2e}, from it {:.2e})", limit, RelativeError(got[0], other[0]));
        limit = 2 * limit + 1e-2;
      }
      for (size_t i = 0; i < want.size(); ++i) {
        const double e = RelativeError(got[i], want[i]);
        errors += fmt::format(" {:.2e}", e);
        if (!(e < limit)) errors += " TOO LARGE", failed = 1;
      }
    }
    TFE_ASSIGN_OR_RETURN(const std::string profile_text, engine->ProfileJson(views));
    const auto profile = nlohmann::json::parse(profile_text);
    double sum = 0;
    for (const auto& s : profile["steps"]) sum += s["ms"].get<double>();
    std::cout << fmt::format("{} {}{} batch {}: graph {:.4f} ms, back to back {:.4f}, {} steps (sum {:.4f}), host run {:.4f} (min {:.4f}); {}; tuned {:.0f} ms, prepared {:.0f} ms\n"
                             "  {:.1f} MB on the device: weights {:.1f}, other constants {:.1f}, activations and scratch {:.1f}, inputs and outputs {:.1f}; kernels, graph and rounding the rest\n",
                             o.words[1].substr(o.words[1].rfind('/') + 1), numerics.precision, options.tf32 ? " tf32" : "", batch, profile["graph_ms"].get<double>(),
                             profile["graph_back_to_back_ms"].get<double>(), profile["steps"].size(), sum, host[host.size() / 2], host[0], errors, tuned, prepared, megabytes(free_before) - megabytes(free_after), megabytes(use.weights),
                             megabytes(use.constants), megabytes(use.activations), megabytes(use.ports))
              << std::flush;
    if (o.has("profile")) {
      std::map<std::string, std::pair<double, int>> by_kind;
      std::vector<std::string> lines;
      for (const auto& s : profile["steps"]) {
        auto& entry = by_kind[fmt::format("{} {}", s["op"].get<std::string>(), s["tactic"].get<std::string>().substr(0, 12))];
        entry.first += s["ms"].get<double>();
        ++entry.second;
        lines.push_back(fmt::format("    {:8.4f} {:6.2f} TB/s {:5.0f} TFLOP/s {:12} {:40} {}", s["ms"].get<double>(), s["bytes"].get<double>() / s["ms"].get<double>() / 1e9, s["flops"].get<double>() / s["ms"].get<double>() / 1e9, s["op"].get<std::string>(), s["tactic"].get<std::string>(), s["name"].get<std::string>()));
      }
      for (const auto& [kind, entry] : by_kind) std::cout << fmt::format("  {:9.4f} ms {:4} x {}\n", entry.first, entry.second, kind);
      if (o.has("steps"))
        for (const std::string& line : lines) std::cout << line << "\n";
    }
  }
  return failed;
}

int Main(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!StartsWith(word, "--")) {
      o.words.push_back(word);
    } else {
      const bool value = i + 1 < argc && !StartsWith(argv[i + 1], "--");
      o.flags[word.substr(2)] = value ? argv[i + 1] : "";
      i += value;
    }
  }
  if (o.words.empty()) {
    std::cout << "usage: gpu_test ops | engine | compile | network FILE\n";
    return 2;
  }
  BackendOptions options;
  options.kernel_cache = o.get("cache", "");
  if (o.words[0] == "network") {
    auto result = RunNetwork(o);
    if (!result.ok()) std::cout << o.words[1] << ": " << result.status().ToString() << "\n";
    return result.ok() ? *result : 1;
  }
  if (o.words[0] == "engine") return CheckEngines(options.kernel_cache, std::stoi(o.get("runs", "10000"))) > 0;
  auto device = o.words[0] == "compile" ? cuda::Device::Offline(std::stoi(o.get("arch", "90"))) : cuda::Device::Get(0);
  if (!device.ok()) {
    std::cout << device.status().ToString() << "\n";
    return 1;
  }
  std::cout << (*device)->fingerprint() << "\n";
  const cuda::CudaBackend backend(**device, options);
  return RunOps(o, backend);
}

}  // namespace
}  // namespace tfengine::gpu

int main(int argc, char** argv) { return tfengine::gpu::Main(argc, argv); }
