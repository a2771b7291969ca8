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

Result<std::shared_ptr<const void>> WeightStore::GetObject(const std::string& key,
                                                           FunctionRef<Result<std::shared_ptr<const void>>()> make) {
  std::lock_guard<std::mutex> lock(objects_mu_);
  auto& entry = objects_[key];
  if (!entry) {
    TFE_ASSIGN_OR_RETURN(entry, make());
  }
  return entry;
}

void WeightStore::Visit(FunctionRef<void(const AlignedBuffer&)> visit) const {
  for (const auto& [key, slot] : slots_)
    if (slot->buffer) visit(*slot->buffer);
}

}  // namespace tfengine
