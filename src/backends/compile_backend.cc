// SPDX-License-Identifier: Apache-2.0
#include "backends/compile_backend.h"

namespace tfengine {

std::shared_ptr<const AlignedBuffer> WeightStore::Get(const std::string& key, size_t bytes,
                                                      FunctionRef<void(void*)> fill) {
  std::shared_ptr<Slot> slot;
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto& entry = slots_[key];
    if (!entry) entry = std::make_shared<Slot>();
    slot = entry;
  }
  std::lock_guard<std::mutex> lock(slot->mu);
  if (!slot->buffer) {
    auto fresh = std::make_shared<AlignedBuffer>(bytes);
    if (fresh->data() == nullptr) return nullptr;
    fill(fresh->data());
    slot->buffer = fresh;
    constexpr size_t kReleaseEvery = size_t{16} << 20;
    if (source_ && packed_since_release_.fetch_add(bytes) + bytes > kReleaseEvery) {
      packed_since_release_ = 0;
      source_->Release();
    }
  }
  return slot->buffer;
}

void WeightStore::Visit(FunctionRef<void(const AlignedBuffer&)> visit) const {
  for (const auto& [key, slot] : slots_)
    if (slot->buffer) visit(*slot->buffer);
}

}  // namespace tfengine
