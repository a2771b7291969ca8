// SPDX-License-Identifier: Apache-2.0
#include "compiler/timing_cache.h"

#include <cstdio>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/errors.h"

namespace tfengine {

TimingCache TimingCache::Load(const std::string& path) {
  TimingCache cache;
  std::ifstream in(path);
  const auto document = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return cache;
  try {
    if (document.value("format", 0) != 1) return cache;
    // What did not exist may do so in another version.
    const bool same = document.value("version", "") == TFENGINE_VERSION;
    for (const auto& [device, layers] : document.at("times").items())
      for (const auto& [layer, tactics] : layers.items())
        for (const auto& [tactic, time] : tactics.items())  // JSON has no infinity
          if (same || !time.is_null()) cache.times_[device][layer][tactic] = time.is_null() ? std::numeric_limits<double>::infinity() : time.get<double>();
  } catch (const nlohmann::json::exception&) {
    cache.times_.clear();
  }
  return cache;
}

Status TimingCache::Save(const std::string& path) const {
  const std::string temporary = path + ".partial";
  {
    std::ofstream out(temporary, std::ios::trunc);
    out << nlohmann::json{{"format", 1}, {"version", TFENGINE_VERSION}, {"times", times_}}.dump(1);
    if (!out.good()) return Error(ErrorId::kOutputUnwritable, "{}: cannot write the timing cache", path);
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::remove(temporary.c_str());
    return Error(ErrorId::kOutputUnwritable, "{}: cannot replace the timing cache", path);
  }
  return OkStatus();
}

std::optional<double> TimingCache::Find(const std::string& fingerprint, const std::string& key,
                                        const std::string& tactic) const {
  auto device = times_.find(fingerprint);
  if (device == times_.end()) return std::nullopt;
  auto layer = device->second.find(key);
  if (layer == device->second.end()) return std::nullopt;
  auto time = layer->second.find(tactic);
  if (time == layer->second.end()) return std::nullopt;
  return time->second;
}

void TimingCache::Put(const std::string& fingerprint, const std::string& key, const std::string& tactic,
                      double milliseconds) {
  times_[fingerprint][key][tactic] = milliseconds;
}

}  // namespace tfengine
