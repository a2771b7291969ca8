// SPDX-License-Identifier: Apache-2.0
#include "backends/compile_backend.h"

#include <cstring>

#include "base/status_macros.h"

namespace tfengine {
namespace {

class CopyKernel : public Kernel {
 public:
  explicit CopyKernel(size_t bytes) : bytes_(bytes) {}
  Status Run(const void* const* in, void* const* out, void*, Gang&) const override {
    std::memcpy(out[0], in[0], bytes_);
    return OkStatus();
  }

 private:
  size_t bytes_;
};

}  // namespace

std::shared_ptr<const Kernel> CompileBackend::Copy(size_t bytes) const { return std::make_shared<CopyKernel>(bytes); }

template <typename T>
std::shared_ptr<WeightStore::Slot<T>> WeightStore::SlotOf(Slots<T>& slots, const std::string& key) {
  std::lock_guard<std::mutex> lock(mu_);
  auto& slot = slots[key];
  if (!slot) slot = std::make_shared<Slot<T>>();
  return slot;
}

std::shared_ptr<const AlignedBuffer> WeightStore::Get(const std::string& key, size_t bytes,
                                                      FunctionRef<void(void*)> fill) {
  const auto slot = SlotOf(buffers_, key);
  std::lock_guard<std::mutex> lock(slot->mu);
  if (!slot->made) {
    auto fresh = std::make_shared<AlignedBuffer>(bytes);
    if (fresh->data() == nullptr) return nullptr;
    fill(fresh->data());
    slot->made = fresh;
    constexpr size_t kReleaseEvery = size_t{16} << 20;
    if (source_ && packed_since_release_.fetch_add(bytes) + bytes > kReleaseEvery) {
      packed_since_release_ = 0;
      source_->Release();
    }
  }
  return slot->made;
}

Result<std::shared_ptr<const void>> WeightStore::GetObject(const std::string& key, size_t bytes,
                                                           FunctionRef<Result<std::shared_ptr<const void>>()> make) {
  const auto slot = SlotOf(objects_, key);
  std::lock_guard<std::mutex> lock(slot->mu);
  if (!slot->made) {
    TFE_ASSIGN_OR_RETURN(slot->made, make());
    slot->bytes = bytes;
  }
  return slot->made;
}

void WeightStore::DropUnusedObjects() {
  std::lock_guard<std::mutex> lock(mu_);
  for (auto it = objects_.begin(); it != objects_.end();) {
    bool unused = it->second.use_count() == 1;  // nobody is about to take it: slots are found under the lock
    if (unused) {
      std::lock_guard<std::mutex> slot_lock(it->second->mu);
      unused = it->second->made.use_count() <= 1;
    }
    it = unused ? objects_.erase(it) : std::next(it);
  }
}

size_t WeightStore::ObjectBytes() {
  Slots<void> objects;
  {
    std::lock_guard<std::mutex> lock(mu_);
    objects = objects_;
  }
  size_t sum = 0;
  for (const auto& [key, slot] : objects) {
    std::lock_guard<std::mutex> slot_lock(slot->mu);
    sum += slot->bytes;
  }
  return sum;
}

void WeightStore::Visit(FunctionRef<void(const AlignedBuffer&)> visit) const {
  for (const auto& [key, slot] : buffers_)
    if (slot->made) visit(*slot->made);
}

}  // namespace tfengine
