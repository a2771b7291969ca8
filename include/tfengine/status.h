// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "tfengine/export.h"

namespace tfengine {

// Same numbers as absl::StatusCode, so that the TensorFlow op maps them 1:1.
enum class StatusCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
};

// The result of an operation: OK, or a code, an error number (docs/errors.md) and one line of text
// that says where, what was expected, what was found and what to do.
class [[nodiscard]] TFENGINE_API Status {
 public:
  Status() = default;
  Status(StatusCode code, int error_id, std::string message)
      : code_(code), error_id_(error_id), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  int error_id() const { return error_id_; }
  const std::string& message() const { return message_; }
  // "E-0107 invalid-argument: <message>", or "OK".
  std::string ToString() const;
  // The same error with `context + ": "` in front of its message.
  Status WithContext(const std::string& context) const;

 private:
  StatusCode code_ = StatusCode::kOk;
  int error_id_ = 0;
  std::string message_;
};

inline Status OkStatus() { return Status(); }

// A value or an error. Reading the value of an error aborts the process.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}        // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace tfengine
