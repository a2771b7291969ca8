// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/driver.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>

#include "base/status_macros.h"

namespace tfengine::cuda {
namespace {

// Folders of loaded libraries that lie in ".../nvidia/<package>/lib" of Python packages, and their siblings' pattern:
// a process that has, say, PyTorch or TensorFlow in it finds the CUDA libraries of its environment this way.
std::vector<std::string> PackageRoots() {
  std::vector<std::string> roots;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto* found = static_cast<std::vector<std::string>*>(data);
        const std::string path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
        const size_t at = path.rfind("/site-packages/");
        if (at == std::string::npos) return 0;
        const std::string root = path.substr(0, at) + "/site-packages/nvidia/";
        if (std::find(found->begin(), found->end(), root) == found->end()) found->push_back(root);
        return 0;
      },
      &roots);
  return roots;
}

std::vector<std::string> Candidates(const std::vector<std::string>& sonames, const std::vector<std::string>& packages) {
  std::vector<std::string> names = sonames;
  for (const std::string& root : PackageRoots())
    for (const std::string& package : packages)
      for (const std::string& soname : sonames) names.push_back(root + package + "/lib/" + soname);
  for (const std::string& soname : sonames) names.push_back("/usr/local/cuda/lib64/" + soname);
  return names;
}

#define TFE_CUDA_SYMBOL(name, symbol, parameters) {symbol, reinterpret_cast<void**>(&api.name)},

constexpr const char* kToolkitRemedy =
    "install the CUDA 12 or 13 toolkit, or the Python packages nvidia-cuda-nvrtc, nvidia-cublas and nvidia-cudnn-cu13, and "
    "put their folders into LD_LIBRARY_PATH";

Result<DriverApi> OpenDriver() {
  DriverApi api;
  void* handle = nullptr;
  TFE_RETURN_IF_ERROR(internal::OpenLibrary("the NVIDIA driver (libcuda.so.1)", {"libcuda.so.1"},
                                            {TFE_CUDA_DRIVER_FUNCTIONS(TFE_CUDA_SYMBOL)},
                                            "install the NVIDIA driver, or use the device \"cpu\"", &handle));
  if (const int result = api.Init(0); result != CUDA_SUCCESS)
    return Error(ErrorId::kDeviceUnavailable, "the NVIDIA driver is installed but finds no usable GPU: {}", DriverError(api, result));
  api.DriverGetVersion(&api.version);
  if (api.version < 12000)
    return Error(ErrorId::kDeviceUnavailable, "the NVIDIA driver supports CUDA {}.{}; 12.0 or later is needed", api.version / 1000,
                 api.version % 1000 / 10);
  return api;
}

Result<NvrtcApi> OpenNvrtc() {
  NvrtcApi api;
  void* handle = nullptr;
  TFE_RETURN_IF_ERROR(internal::OpenLibrary("NVRTC (libnvrtc.so)",
                                            Candidates({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}, {"cu13", "cuda_nvrtc"}),
                                            {TFE_NVRTC_FUNCTIONS(TFE_CUDA_SYMBOL)}, kToolkitRemedy, &handle));
  int major = 0, minor = 0;
  api.Version(&major, &minor);
  api.version = major * 1000 + minor * 10;
  return api;
}

Result<CublasLtApi> OpenCublasLt() {
  CublasLtApi api;
  void* handle = nullptr;
  TFE_RETURN_IF_ERROR(internal::OpenLibrary("cuBLASLt (libcublasLt.so)",
                                            Candidates({"libcublasLt.so.13", "libcublasLt.so.12"}, {"cu13", "cublas"}),
                                            {TFE_CUBLASLT_FUNCTIONS(TFE_CUDA_SYMBOL)}, kToolkitRemedy, &handle));
  if (auto* version = reinterpret_cast<size_t (*)()>(dlsym(handle, "cublasLtGetVersion"))) api.version = version();
  return api;
}

Result<CudnnApi> OpenCudnn() {
  CudnnApi api;
  void* handle = nullptr;
  TFE_RETURN_IF_ERROR(internal::OpenLibrary("cuDNN 9 (libcudnn.so.9)", Candidates({"libcudnn.so.9"}, {"cudnn"}),
                                            {TFE_CUDNN_FUNCTIONS(TFE_CUDA_SYMBOL)}, kToolkitRemedy, &handle));
  if (auto* version = reinterpret_cast<size_t (*)()>(dlsym(handle, "cudnnGetVersion"))) api.version = version();
  return api;
}
#undef TFE_CUDA_SYMBOL

template <typename Api>
Result<const Api*> Pointer(const Result<Api>& api) {
  if (!api.ok()) return api.status();
  return &*api;
}

}  // namespace

Status internal::OpenLibrary(const char* what, const std::vector<std::string>& names, const std::vector<Symbol>& symbols,
                             const char* remedy, void** handle) {
  std::string reason;
  for (const std::string& name : names) {
    *handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (*handle != nullptr) break;
    if (const char* why = dlerror(); reason.empty() && why != nullptr) reason = why;
  }
  if (*handle == nullptr) return Error(ErrorId::kDeviceUnavailable, "{} cannot be loaded ({}): {}", what, reason, remedy);
  for (const Symbol& symbol : symbols) {
    *symbol.slot = dlsym(*handle, symbol.name);
    if (*symbol.slot == nullptr)
      return Error(ErrorId::kDeviceUnavailable, "{} has no function {}: it is too old; {}", what, symbol.name, remedy);
  }
  return OkStatus();
}

Result<const DriverApi*> LoadDriver() {
  static const Result<DriverApi> kApi = OpenDriver();
  return Pointer(kApi);
}
Result<const NvrtcApi*> LoadNvrtc() {
  static const Result<NvrtcApi> kApi = OpenNvrtc();
  return Pointer(kApi);
}
Result<const CublasLtApi*> LoadCublasLt() {
  static const Result<CublasLtApi> kApi = OpenCublasLt();
  return Pointer(kApi);
}
Result<const CudnnApi*> LoadCudnn() {
  static const Result<CudnnApi> kApi = OpenCudnn();
  return Pointer(kApi);
}

std::string DriverError(const DriverApi& api, int result) {
  const char *name = nullptr, *text = nullptr;
  api.GetErrorName(result, &name);
  api.GetErrorString(result, &text);
  return fmt::format("{}: {}", name == nullptr ? fmt::format("CUDA error {}", result) : name, text == nullptr ? "unknown" : text);
}

Status CheckDriver(const DriverApi& api, int result, const char* what) {
  if (result == CUDA_SUCCESS) return OkStatus();
  const ErrorId id = result == CUDA_ERROR_OUT_OF_MEMORY ? ErrorId::kOutOfMemory : ErrorId::kDeviceFailed;
  return Error(id, "{}: {}", what, DriverError(api, result));
}

Status CheckCublasLt(int result, const char* what) {
  if (result == 0) return OkStatus();
  return Error(ErrorId::kDeviceFailed, "{}: cuBLASLt status {}", what, result);
}

Status CheckCudnn(int result, const char* what) {
  if (result == 0) return OkStatus();
  return Error(ErrorId::kDeviceFailed, "{}: cuDNN status {}", what, result);
}

}  // namespace tfengine::cuda
