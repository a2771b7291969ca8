// SPDX-License-Identifier: Apache-2.0
#include "tfengine/status.h"

#include <cstdio>
#include <cstdlib>

#include "base/errors.h"

namespace tfengine {
namespace {

const char* CodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk: return "ok";
    case StatusCode::kCancelled: return "cancelled";
    case StatusCode::kUnknown: return "unknown";
    case StatusCode::kInvalidArgument: return "invalid-argument";
    case StatusCode::kNotFound: return "not-found";
    case StatusCode::kAlreadyExists: return "already-exists";
    case StatusCode::kPermissionDenied: return "permission-denied";
    case StatusCode::kResourceExhausted: return "resource-exhausted";
    case StatusCode::kFailedPrecondition: return "failed-precondition";
    case StatusCode::kAborted: return "aborted";
    case StatusCode::kOutOfRange: return "out-of-range";
    case StatusCode::kUnimplemented: return "unimplemented";
    case StatusCode::kInternal: return "internal";
    case StatusCode::kUnavailable: return "unavailable";
    case StatusCode::kDataLoss: return "data-loss";
  }
  return "unknown";
}

StatusCode CodeOf(ErrorId id) {
  switch (id) {
#define TFE_ERROR(number, name, code, summary) \
  case ErrorId::name:                          \
    return StatusCode::code;
#include "base/error_list.inc"
#undef TFE_ERROR
  }
  return StatusCode::kInternal;
}

}  // namespace

std::string Status::ToString() const {
  if (ok()) return "OK";
  return fmt::format("E-{:04d} {}: {}", error_id_, CodeName(code_), message_);
}

Status Status::WithContext(const std::string& context) const {
  if (ok()) return *this;
  return Status(code_, error_id_, context + ": " + message_);
}

Status MakeError(ErrorId id, std::string message) {
  return Status(CodeOf(id), static_cast<int>(id), Printable(message));
}

std::string Printable(std::string_view text, bool keep_lines) {
  // Bytes of the UTF-8 sequence that starts at `i`, 0 if it is malformed.
  auto sequence = [&](size_t i) -> size_t {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
    if (length == 0 || i + length > text.size()) return 0;
    for (size_t k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return 0;
    if (length < 3) return length;
    // Overlong forms, surrogates and what lies beyond U+10FFFF.
    const auto second = static_cast<unsigned char>(text[i + 1]);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second >= 0x90))
      return 0;
    return length;
  };
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = sequence(i);
    const bool control = length == 1 && (byte < 0x20 || byte == 0x7f) && !(keep_lines && byte == '\n');
    if (length == 0 || control) {
      out += fmt::format("\\x{:02x}", byte);
      ++i;
    } else {
      out += text.substr(i, length);
      i += length;
    }
  }
  return out;
}

namespace internal {
void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "tfengine bug: check failed: %s at %s:%d\n", condition, file, line);
  std::abort();
}
}  // namespace internal

}  // namespace tfengine
