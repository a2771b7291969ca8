// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "tfengine/convert.h"

namespace tfengine::cli {

// Shows on stderr how far something is, once it has taken two seconds: a bar on a terminal, else a
// line now and then. Not thread-safe.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();  // clears the bar
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Update(const std::string& stage, double fraction);
  Progress callback() {
    return [this](const std::string& stage, double fraction) { Update(stage, fraction); };
  }

 private:
  using Clock = std::chrono::steady_clock;
  const bool terminal_;
  const Clock::time_point start_;
  Clock::time_point shown_;
  std::string stage_;
  bool bar_visible_ = false;
};

}  // namespace tfengine::cli
