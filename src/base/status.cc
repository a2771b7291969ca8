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
  return Status(CodeOf(id), static_cast<int>(id), std::move(message));
}

namespace internal {
void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "tfengine bug: check failed: %s at %s:%d\n", condition, file, line);
  std::abort();
}
}  // namespace internal

}  // namespace tfengine
