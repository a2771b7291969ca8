// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/stopwatch.h"

#include <algorithm>
#include <limits>
#include <random>

#include "backends/ref/element.h"

namespace tfengine::cuda {
namespace {

constexpr double kFailed = std::numeric_limits<double>::infinity();

// What a measurement makes in the driver.
struct Recording {
  const DriverApi& api;
  CUstream stream = nullptr;
  CUevent start = nullptr, stop = nullptr;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;

  explicit Recording(const DriverApi& driver) : api(driver) {}
  ~Recording() {
    if (exec) api.GraphExecDestroy(exec);
    if (graph) api.GraphDestroy(graph);
    if (start) api.EventDestroy(start);
    if (stop) api.EventDestroy(stop);
    if (stream) api.StreamDestroy(stream);
  }
  bool Open() {
    return api.StreamCreate(&stream, CU_STREAM_NON_BLOCKING) == 0 && api.EventCreate(&start, CU_EVENT_DEFAULT) == 0 && api.EventCreate(&stop, CU_EVENT_DEFAULT) == 0;
  }
  // Milliseconds between the events around `work`.
  template <typename F>
  double Time(F&& work) {
    float ms = 0;
    const bool ok = api.EventRecord(start, stream) == 0 && work() && api.EventRecord(stop, stream) == 0 && api.EventSynchronize(stop) == 0 && api.EventElapsedTime(&ms, start, stop) == 0;
    return ok ? static_cast<double>(ms) : kFailed;
  }
};

}  // namespace

void* Stopwatch::Take(size_t bytes) {
  size_t best = buffers_.size();
  for (size_t i = 0; i < buffers_.size(); ++i)
    if (!taken_[i] && buffers_[i].bytes() >= bytes && (best == buffers_.size() || buffers_[i].bytes() < buffers_[best].bytes())) best = i;
  // A much larger one may be wanted next.
  if (best == buffers_.size() || buffers_[best].bytes() > 4 * bytes + (size_t{1} << 20)) {
    auto fresh = DeviceBuffer::Allocate(device_, std::max<size_t>(bytes, 256));
    if (!fresh.ok()) return nullptr;
    best = buffers_.size();
    buffers_.push_back(std::move(*fresh));
    taken_.push_back(false);
  }
  taken_[best] = true;
  return buffers_[best].data();
}

bool Stopwatch::FillWithSamples(const Operand& o, void* to) const {
  const size_t bytes = static_cast<size_t>(o.num_elements()) * DTypeSize(o.dtype);
  constexpr size_t kBlock = size_t{1} << 18;
  std::vector<char> block(std::min(bytes, kBlock), 0);
  std::minstd_rand random(1);
  auto number = [&] { return static_cast<float>(random() % 2001) * 1e-3f - 1.0f; };
  for (size_t i = 0; i < block.size() && o.quant.quantized(); ++i) block[i] = static_cast<char>(random() >> 8);
  for (size_t i = 0; i < block.size() / DTypeSize(o.dtype) && !o.quant.quantized(); ++i) {
    if (o.dtype == DType::kFloat32) reinterpret_cast<float*>(block.data())[i] = number();
    if (o.dtype == DType::kFloat16) reinterpret_cast<uint16_t*>(block.data())[i] = ref::FloatToHalf(number());
    if (o.dtype == DType::kBfloat16) reinterpret_cast<uint16_t*>(block.data())[i] = ref::FloatToBfloat16(number());
  }
  const DriverApi& api = device_.driver();
  char* at = static_cast<char*>(to);
  if (!block.empty() && api.MemcpyHtoD(DevicePointer(at), block.data(), block.size()) != 0) return false;
  for (size_t done = block.size(); done > 0 && done < bytes; done += std::min(done, bytes - done))
    if (api.MemcpyDtoDAsync(DevicePointer(at + done), DevicePointer(at), std::min(done, bytes - done), nullptr) != 0) return false;
  return true;
}

double Stopwatch::Measure(const Lowered& lowered, const ConcreteNode& node, bool cold, double best_so_far) {
  const auto& kernel = static_cast<const DeviceKernel&>(*lowered.kernel);
  const Device::Scope scope(device_);
  const DriverApi& api = device_.driver();
  Reset();
  std::vector<const void*> in;
  std::vector<void*> out;
  size_t moved = 0;
  for (int i : lowered.in) {
    const Operand& o = node.inputs[static_cast<size_t>(i)];
    const size_t bytes = static_cast<size_t>(o.num_elements()) * DTypeSize(o.dtype);
    void* data = Take(bytes);
    if (data == nullptr || !(o.constant ? api.MemcpyHtoD(DevicePointer(data), o.constant->data(), o.constant->num_bytes()) == 0 : FillWithSamples(o, data))) return kFailed;
    in.push_back(data);
    moved += bytes;
  }
  for (const Operand& o : node.outputs) {
    const size_t bytes = static_cast<size_t>(o.num_elements()) * DTypeSize(o.dtype);
    out.push_back(Take(bytes));
    if (out.back() == nullptr) return kFailed;
    moved += bytes;
  }
  const size_t scratch_bytes = (kernel.scratch_bytes(1) + 255) / 256 * 256;
  void* scratch = Take(scratch_bytes + 256);
  if (scratch == nullptr) return kFailed;
  // Cold weights: so many copies, read in turns, that the L2 cache has lost one when its turn comes. Large operands put
  // everything else out of the cache by themselves.
  constexpr size_t kBeyondCaches = size_t{96} << 20, kMostCopies = 64;
  const DeviceBuffer* weights = cold && moved < kBeyondCaches / 4 ? kernel.weights() : nullptr;
  size_t copies = 0, pitch = 0;
  char* copied = nullptr;
  if (weights != nullptr && weights->bytes() > 0) {
    copies = std::min((kBeyondCaches + weights->bytes() - 1) / weights->bytes(), kMostCopies);
    pitch = (weights->bytes() + 255) / 256 * 256;
    copied = static_cast<char*>(Take(copies * pitch));
    if (copied == nullptr) copies = 0;
  }
  for (size_t i = 0; i < copies; ++i)
    if (api.MemcpyDtoDAsync(DevicePointer(copied) + i * pitch, DevicePointer(weights->data()), weights->bytes(), nullptr) != 0) return kFailed;
  if (api.StreamSynchronize(nullptr) != 0) return kFailed;

  Recording r(api);
  if (!r.Open()) return kFailed;
  Launch launch{device_};
  launch.stream = r.stream;
  launch.scratch = scratch;
  launch.error = reinterpret_cast<int*>(static_cast<char*>(scratch) + scratch_bytes);
  auto run = [&] { return kernel.Enqueue(in.data(), out.data(), launch).ok(); };
  if (!run() || api.StreamSynchronize(r.stream) != 0) return kFailed;
  // Launches take some 10 us themselves, and now and then milliseconds: other threads load kernels at the same time.
  constexpr double kLaunch = 0.02;
  double rough = kFailed;
  for (int attempt = 0; attempt < 4 && rough > 4 * best_so_far + kLaunch; ++attempt) rough = std::min(rough, r.Time(run));
  if (rough > 4 * best_so_far + kLaunch) return rough;
  // Stream launches would hide the differences of short kernels; a graph of several runs shows them.
  const size_t repeats = std::max<size_t>(moved > kBeyondCaches ? 4 : 10, copies);
  if (api.StreamBeginCapture(r.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) != 0) return kFailed;
  bool ok = true;
  for (size_t i = 0; ok && i < repeats; ++i) {
    if (copies > 0) launch.weights = copied + i % copies * pitch;
    ok = run();
  }
  if (api.StreamEndCapture(r.stream, &r.graph) != 0 || !ok || api.GraphInstantiate(&r.exec, r.graph, 0) != 0) return kFailed;
  double best = kFailed;
  for (int round = 0; round < 6; ++round) {
    const double ms = r.Time([&] { return api.GraphLaunch(r.exec, r.stream) == 0; }) / static_cast<double>(repeats);
    if (ms == kFailed) return kFailed;
    if (round > 0) best = std::min(best, ms);
    if (round > 1 && best > 1.5 * best_so_far) break;
  }
  return best;
}

}  // namespace tfengine::cuda
