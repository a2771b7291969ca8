// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "tfengine/status.h"

namespace tfengine {

// Every error a user can see, by number. Rows live in error_list.inc; docs/errors.md has a paragraph for each.
enum class ErrorId : int {
#define TFE_ERROR(number, name, code, summary) name = number,
#include "base/error_list.inc"
#undef TFE_ERROR
};

// `message` goes through Printable, so that names from a damaged file cannot break the line or the terminal.
Status MakeError(ErrorId id, std::string message);

// `text` with every byte that is not printable UTF-8 as \xNN; line ends stay if `keep_lines`.
std::string Printable(std::string_view text, bool keep_lines = false);

// Error(ErrorId::kUnknownTag, "{}: no MetaGraph with tags {{{}}}; present: {}", dir, want, have)
template <typename... Args>
Status Error(ErrorId id, fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(id, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tfengine

// For our own bugs only: never reachable from input.
#define TFE_CHECK(cond)                                                         \
  do {                                                                          \
    if (!static_cast<const bool&>(cond))                                        \
      ::tfengine::internal::CheckFailed(#cond, __FILE__, __LINE__);             \
  } while (0)

namespace tfengine::internal {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}
