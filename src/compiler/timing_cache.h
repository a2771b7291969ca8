// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>

#include "tfengine/status.h"

namespace tfengine {

// Measured times by (device fingerprint, layer key, tactic); a JSON file that many builds share, so that a second build
// of the same layers is fast and chooses the same.
class TimingCache {
 public:
  // A missing file is an empty cache; a damaged one too (it is only a cache), and is replaced by Save.
  static TimingCache Load(const std::string& path);
  // Writes beside, then renames.
  Status Save(const std::string& path) const;

  // Infinity: there is no such kernel.
  std::optional<double> Find(const std::string& fingerprint, const std::string& key, const std::string& tactic) const;
  void Put(const std::string& fingerprint, const std::string& key, const std::string& tactic, double milliseconds);

 private:
  std::map<std::string, std::map<std::string, std::map<std::string, double>>> times_;
};

}  // namespace tfengine
