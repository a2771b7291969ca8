// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/api.h"
#include "base/errors.h"

namespace tfengine::cuda {

// Each library is opened once per process, when it is first asked for, and stays open. It is looked for under its
// plain names, and beside other loaded libraries of NVIDIA's Python packages. Error kDeviceUnavailable says which
// library is missing, or which version was found and which is needed. Thread-safe.
Result<const DriverApi*> LoadDriver();
Result<const NvrtcApi*> LoadNvrtc();
Result<const CublasLtApi*> LoadCublasLt();
Result<const CudnnApi*> LoadCudnn();

// What the driver's result code means: "CUDA_ERROR_OUT_OF_MEMORY: out of memory".
std::string DriverError(const DriverApi& api, int result);

// OK, or kDeviceFailed (kOutOfMemory where memory ran out) with `what` failed.
Status CheckDriver(const DriverApi& api, int result, const char* what);
Status CheckCublasLt(int result, const char* what);
Status CheckCudnn(int result, const char* what);

namespace internal {
// Opens the first of `names` that there is and looks up `symbols`; the error text names `what` and `remedy`.
struct Symbol {
  const char* name;
  void** slot;
};
Status OpenLibrary(const char* what, const std::vector<std::string>& names, const std::vector<Symbol>& symbols,
                   const char* remedy, void** handle);
}  // namespace internal

}  // namespace tfengine::cuda
