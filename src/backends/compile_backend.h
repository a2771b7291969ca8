// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/mapped_file.h"
#include "network/network.h"
#include "runtime/kernel.h"
#include "runtime/memory_pool.h"

// The compile side of a backend: what the compiler knows of it.
namespace tfengine {

// Packed weights, made once per (constants, layout) and shared by every shape and context. Thread-safe.
class WeightStore {
 public:
  // `key` must name the constants and everything else that the packed form depends on; `fill` writes `bytes` bytes.
  // A second caller of a key waits for the first. nullptr: out of memory.
  std::shared_ptr<const AlignedBuffer> Get(const std::string& key, size_t bytes, FunctionRef<void(void*)> fill);
  // The same for what is no host memory (copies of weights on a device). After an error the next caller tries again.
  Result<std::shared_ptr<const void>> GetObject(const std::string& key, size_t bytes,
                                                FunctionRef<Result<std::shared_ptr<const void>>()> make);
  // Forgets the objects that no kernel holds: those of ways that turned out impossible, and of shapes that are gone.
  void DropUnusedObjects();
  // Bytes of the objects.
  size_t ObjectBytes();
  // The mapped file that the constants lie in: its pages are given back to the system now and then while weights are
  // packed, so that a process does not hold them twice. Called before the first Get.
  void SetSource(std::shared_ptr<const MappedFile> file) { source_ = std::move(file); }
  // Calls `visit` for every packed buffer. Not to be called together with Get.
  void Visit(FunctionRef<void(const AlignedBuffer&)> visit) const;

 private:
  template <typename T>
  struct Slot {
    std::mutex mu;
    std::shared_ptr<const T> made;
    size_t bytes = 0;  // of an object
  };
  template <typename T>
  using Slots = std::map<std::string, std::shared_ptr<Slot<T>>>;
  template <typename T>
  std::shared_ptr<Slot<T>> SlotOf(Slots<T>& slots, const std::string& key);

  std::shared_ptr<const MappedFile> source_;
  std::atomic<size_t> packed_since_release_{0};
  std::mutex mu_;
  Slots<AlignedBuffer> buffers_;
  Slots<void> objects_;
};

struct Operand {
  bool present = false;
  DType dtype = DType::kInvalid;
  std::vector<int64_t> shape;
  Quant quant;                             // of a quantized u8 or f8e4m3 tensor
  std::shared_ptr<const Tensor> constant;  // set if the value is known at compile time
  int64_t pitch = 0;                       // elements from one row (of the last dim) to the next if they lie apart; 0: dense
  bool placed = false;                     // an input of concat that lies in the result already

  int64_t num_elements() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
};

// A node at fixed shapes: every Dim attribute is a number.
struct ConcreteNode {
  Op op;
  Attrs attrs;
  std::vector<Operand> inputs;  // absent optional inputs have present == false
  std::vector<Operand> outputs;

  bool has_input(size_t i) const { return i < inputs.size() && inputs[i].present; }
};

struct Lowered {
  std::shared_ptr<const Kernel> kernel;
  std::vector<int> in;   // which node inputs the kernel takes as pointers, in its order (baked-in weights are left out)
  int in_place = -1;     // a node input whose buffer output 0 may take over, or -1
  bool views = false;    // heeds the pitches of the node's operands; else all must be dense
  std::string tactic;
};

class CompileBackend {
 public:
  virtual ~CompileBackend() = default;
  // Names the kind of device: timings and packed forms made under one fingerprint fit another machine with the same.
  virtual std::string Fingerprint() const = 0;
  // The 16-bit type that products run in fast; kFloat32: none.
  virtual DType half() const = 0;
  // Whether products of quantized tensors are faster than those of f32.
  virtual bool int8() const = 0;
  // Whether it has products of E4M3.
  virtual bool fp8() const { return false; }
  // Whether there is a kernel for this f32 node with 16-bit and quantized operands and results.
  virtual bool RunsTyped(const Network& network, const Node& node) const = 0;
  // Ways to run this node, best guess first; never empty. Depends on shapes without the batch only where possible.
  virtual std::vector<std::string> Tactics(const ConcreteNode& node) const = 0;
  // `tactic`: one of Tactics(); an unknown or unusable name means the first. `threads`: of the Gang that will run it.
  virtual Result<Lowered> Lower(const ConcreteNode& node, const std::string& tactic, WeightStore& weights,
                                int threads) const = 0;
  // One kernel for nodes of which each but the first reads the one before as input 0, and nobody else does. `tactics`: one
  // per node; `wish`: one of ChainTactics() or "". Lowered::in numbers the nodes' inputs one node after the other. nullopt:
  // there is no such kernel.
  virtual Result<std::optional<Lowered>> LowerChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>& tactics,
                                                    const std::string& wish, WeightStore& weights, int threads) const {
    return std::optional<Lowered>();
  }
  // Ways to run the nodes as one kernel, best guess first, where there is a choice.
  virtual std::vector<std::string> ChainTactics(const std::vector<ConcreteNode>& nodes) const { return {}; }
  // One kernel for matmuls of one input (JointProducts); its result is theirs, one behind the other in memory. Tactics: as
  // above; empty: there is no such kernel. Lowered::in numbers the inputs of the first node.
  virtual std::vector<std::string> JointTactics(const std::vector<ConcreteNode>& nodes) const { return {}; }
  virtual Result<std::optional<Lowered>> LowerJoint(const std::vector<ConcreteNode>& nodes, const std::string& tactic, WeightStore& weights) const {
    return std::optional<Lowered>();
  }
  // One kernel for a layer_norm and a conversion of its result; its outputs are both results. Lowered::in numbers the inputs of
  // `norm`. nullopt: there is no such kernel.
  virtual Result<std::optional<Lowered>> LowerConverted(const ConcreteNode& norm, const ConcreteNode& convert, const std::string& tactic, WeightStore& weights) const {
    return std::optional<Lowered>();
  }
  // Whether operands may start anywhere inside a buffer, and Lower heeds pitches where it says so.
  virtual bool views() const { return false; }
  // Calls `job` with 0 to count - 1, jobs that lower nodes: on several threads where that means to compile code.
  virtual void LowerEach(size_t count, FunctionRef<void(size_t)> job) const {
    for (size_t i = 0; i < count; ++i) job(i);
  }
  // Copies one buffer of `bytes` bytes.
  virtual std::shared_ptr<const Kernel> Copy(size_t bytes) const;
  // Whether packed weights are host memory, whose place in the caches decides timings.
  virtual bool on_host() const { return true; }
  // Milliseconds of the kernel, measured by the backend itself; infinity if it fails. nullopt: it runs on the host and
  // the caller measures. `node`: whose inputs and outputs the kernel has. `cold`: weights come from memory, not from a cache.
  // What takes several times as long as `best_so_far` is measured roughly. Not to be called by two threads at once.
  virtual std::optional<double> Measure(const Lowered& lowered, const ConcreteNode& node, bool cold, double best_so_far) const { return std::nullopt; }
};

// The backend for "cpu"; nullptr for any other name.
const CompileBackend* FindBackend(const std::string& device);

struct BackendOptions {
  std::string kernel_cache;  // directory for compiled device code; empty: none
  bool tf32 = false;         // f32 products may use TF32
  int64_t workspace_bytes = int64_t{1} << 62;  // the most scratch memory of a library's kernel
};
// The backend of "cpu", "cuda" or "cuda:<index>". Errors: kDeviceUnavailable, kBadFlag for a name that means nothing.
Result<std::shared_ptr<const CompileBackend>> OpenBackend(const std::string& device, const BackendOptions& options = {});
// Stands for a device that this machine lacks: says what it can do, lowers nothing.
std::shared_ptr<const CompileBackend> AbsentBackend(const std::string& device);

}  // namespace tfengine
