// SPDX-License-Identifier: Apache-2.0
#include "engine_directory.h"

namespace tfengine {

EngineDirectory& EngineDirectory::Global() {
  static EngineDirectory& directory =
      *new EngineDirectory;  // kernels may outlive static destructors
  return directory;
}

std::shared_ptr<EngineState> EngineDirectory::FindOrCreate(const Key& key, const Create& create) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = states_.begin(); it != states_.end();)
    it = it->second.expired() ? states_.erase(it) : std::next(it);
  std::weak_ptr<EngineState>& slot = states_[key];
  std::shared_ptr<EngineState> state = slot.lock();
  if (state == nullptr) {
    state = create();
    slot = state;
  }
  return state;
}

void EngineDirectory::RememberSource(const std::string& name, const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  sources_[name] = path;
}

std::string EngineDirectory::SourceOf(const std::string& name) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto it = sources_.find(name);
  return it == sources_.end() ? "" : it->second;
}

std::string EngineDirectory::StatsJson() const {
  std::vector<std::shared_ptr<EngineState>> live;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [key, weak] : states_) {
      if (std::shared_ptr<EngineState> state = weak.lock()) live.push_back(std::move(state));
    }
  }
  std::string json = "[";
  for (const auto& state : live) {
    if (json.size() > 1) json += ",";
    json += state->StatsJson();
  }
  return json + "]";
}

}  // namespace tfengine
