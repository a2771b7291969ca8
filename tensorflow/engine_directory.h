// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "engine_state.h"

namespace tfengine {

// What this process knows about engines: the live ones, weakly, and the file each engine name was
// loaded from. Kernels of one device that mean the same engine share one state. Thread-safe.
class EngineDirectory {
 public:
  // `device`: identifies the device (its resource manager). `variant`: tells engines of the same
  // name apart.
  using Key = std::tuple<const void* /*device*/, std::string /*name*/, std::string /*variant*/>;
  using Create = std::function<std::shared_ptr<EngineState>()>;

  static EngineDirectory& Global();

  // The live state of `key`, or the one that `create` makes.
  std::shared_ptr<EngineState> FindOrCreate(const Key& key, const Create& create);
  // Remembers that engine `name` was last initialised from `path`.
  void RememberSource(const std::string& name, const std::string& path);
  // The remembered path, or "".
  std::string SourceOf(const std::string& name) const;
  // A JSON array with the statistics of all live engines.
  std::string StatsJson() const;

 private:
  mutable std::mutex mutex_;
  std::map<Key, std::weak_ptr<EngineState>> states_;
  std::map<std::string, std::string> sources_;
};

}  // namespace tfengine
