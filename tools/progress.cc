// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace tfengine::cli {
namespace {

constexpr auto kQuietTime = std::chrono::seconds(2);
constexpr int kBarWidth = 30;

// ", 12 s left", once enough is done to tell.
std::string TimeLeft(std::chrono::duration<double> spent, double fraction) {
  if (fraction < 0.05 || fraction >= 1) return "";
  return fmt::format(", {:.0f} s left", spent.count() * (1 - fraction) / fraction);
}

}  // namespace

ProgressLine::ProgressLine()
    : terminal_(isatty(STDERR_FILENO) == 1), start_(Clock::now()), shown_(start_) {}

ProgressLine::~ProgressLine() {
  if (bar_visible_) fmt::print(stderr, "\r\033[K");
}

void ProgressLine::Update(const std::string& stage, double fraction) {
  Clock::time_point now = Clock::now();
  if (now - start_ < kQuietTime) return;
  auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(2000);
  bool first = shown_ == start_;
  if (!first && now - shown_ < interval && (terminal_ || stage == stage_)) return;
  shown_ = now;
  stage_ = stage;
  fraction = std::clamp(fraction, 0.0, 1.0);
  if (!terminal_) {
    fmt::print(stderr, "{:3.0f}% {}{}\n", 100 * fraction, stage, TimeLeft(now - start_, fraction));
    return;
  }
  int filled = static_cast<int>(fraction * kBarWidth);
  fmt::print(stderr, "\r\033[K[{}{}] {:3.0f}% {}{}", std::string(filled, '#'),
             std::string(kBarWidth - filled, '.'), 100 * fraction, stage.substr(0, 60),
             TimeLeft(now - start_, fraction));
  std::fflush(stderr);
  bar_visible_ = true;
}

}  // namespace tfengine::cli
