// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "tfengine/status.h"

namespace tfengine::python {

// Raises the class of tfengine.errors that belongs to an error. Needs the GIL.
[[noreturn]] void Raise(const Status& status);

inline void RaiseIfError(const Status& status) {
  if (!status.ok()) Raise(status);
}

template <typename T>
T ValueOrRaise(Result<T>&& result) {
  if (!result.ok()) Raise(result.status());
  return std::move(*result);
}

}  // namespace tfengine::python
