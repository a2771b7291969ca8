// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// What we call of NVIDIA's libraries, declared here so that neither building nor loading tfengine needs them. Names and
// numbers are those of the C headers (CUDA 12 and 13, cuDNN 9); tests/gpu/abi_check.cc compares the numbers.
namespace tfengine::cuda {

// --- libcuda.so.1 (the driver) ---
using CUdevice = int;
using CUdeviceptr = unsigned long long;
struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
using CUcontext = CUctx_st*;
using CUmodule = CUmod_st*;
using CUfunction = CUfunc_st*;
using CUstream = CUstream_st*;
using CUevent = CUevent_st*;
using CUgraph = CUgraph_st*;
using CUgraphExec = CUgraphExec_st*;

enum : int {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_STREAM_NON_BLOCKING = 1,
  CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1,
  CU_EVENT_DEFAULT = 0,
  CU_EVENT_DISABLE_TIMING = 2,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
  CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION = 4,
  CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6,
  CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,
  CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9,
  CU_MEMORYTYPE_DEVICE = 2,
};
struct alignas(8) CUlaunchAttribute {
  int id;
  char pad[4];
  union {
    char bytes[64];
    struct {
      unsigned x, y, z;
    } clusterDim;
    int programmaticStreamSerializationAllowed;
  } value;
};
struct CUlaunchConfig {
  unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
  CUstream hStream;
  CUlaunchAttribute* attrs;
  unsigned numAttrs;
};

enum : int {
  CU_TENSOR_MAP_DATA_TYPE_UINT8 = 0, CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6, CU_TENSOR_MAP_DATA_TYPE_FLOAT32 = 7, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9, CU_TENSOR_MAP_INTERLEAVE_NONE = 0,
  CU_TENSOR_MAP_SWIZZLE_64B = 2, CU_TENSOR_MAP_SWIZZLE_128B = 3, CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0,
};

// TFE_CUDA(field, symbol, parameters)
#define TFE_CUDA_DRIVER_FUNCTIONS(TFE_CUDA)                                                                        \
  TFE_CUDA(Init, "cuInit", (unsigned))                                                                             \
  TFE_CUDA(DriverGetVersion, "cuDriverGetVersion", (int*))                                                         \
  TFE_CUDA(GetErrorName, "cuGetErrorName", (int, const char**))                                                    \
  TFE_CUDA(GetErrorString, "cuGetErrorString", (int, const char**))                                                \
  TFE_CUDA(DeviceGetCount, "cuDeviceGetCount", (int*))                                                             \
  TFE_CUDA(DeviceGet, "cuDeviceGet", (CUdevice*, int))                                                             \
  TFE_CUDA(DeviceGetName, "cuDeviceGetName", (char*, int, CUdevice))                                               \
  TFE_CUDA(DeviceGetAttribute, "cuDeviceGetAttribute", (int*, int, CUdevice))                                      \
  TFE_CUDA(DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (CUcontext*, CUdevice))                             \
  TFE_CUDA(CtxSetCurrent, "cuCtxSetCurrent", (CUcontext))                                                          \
  TFE_CUDA(CtxGetCurrent, "cuCtxGetCurrent", (CUcontext*))                                                         \
  TFE_CUDA(MemGetInfo, "cuMemGetInfo_v2", (size_t*, size_t*))                                                      \
  TFE_CUDA(MemAlloc, "cuMemAlloc_v2", (CUdeviceptr*, size_t))                                                      \
  TFE_CUDA(MemFree, "cuMemFree_v2", (CUdeviceptr))                                                                 \
  TFE_CUDA(MemAllocHost, "cuMemAllocHost_v2", (void**, size_t))                                                    \
  TFE_CUDA(MemFreeHost, "cuMemFreeHost", (void*))                                                                  \
  TFE_CUDA(PointerGetAttribute, "cuPointerGetAttribute", (void*, int, CUdeviceptr))                                \
  TFE_CUDA(MemGetAddressRange, "cuMemGetAddressRange_v2", (CUdeviceptr*, size_t*, CUdeviceptr))                    \
  TFE_CUDA(MemcpyHtoD, "cuMemcpyHtoD_v2", (CUdeviceptr, const void*, size_t))                                      \
  TFE_CUDA(MemcpyDtoH, "cuMemcpyDtoH_v2", (void*, CUdeviceptr, size_t))                                            \
  TFE_CUDA(MemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", (CUdeviceptr, const void*, size_t, CUstream))                  \
  TFE_CUDA(MemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", (void*, CUdeviceptr, size_t, CUstream))                        \
  TFE_CUDA(MemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", (CUdeviceptr, CUdeviceptr, size_t, CUstream))                  \
  TFE_CUDA(MemsetD8Async, "cuMemsetD8Async", (CUdeviceptr, unsigned char, size_t, CUstream))                       \
  TFE_CUDA(StreamCreate, "cuStreamCreate", (CUstream*, unsigned))                                                  \
  TFE_CUDA(StreamDestroy, "cuStreamDestroy_v2", (CUstream))                                                        \
  TFE_CUDA(StreamSynchronize, "cuStreamSynchronize", (CUstream))                                                   \
  TFE_CUDA(StreamWaitEvent, "cuStreamWaitEvent", (CUstream, CUevent, unsigned))                                    \
  TFE_CUDA(StreamBeginCapture, "cuStreamBeginCapture_v2", (CUstream, int))                                         \
  TFE_CUDA(StreamEndCapture, "cuStreamEndCapture", (CUstream, CUgraph*))                                           \
  TFE_CUDA(GraphInstantiate, "cuGraphInstantiateWithFlags", (CUgraphExec*, CUgraph, unsigned long long))           \
  TFE_CUDA(GraphLaunch, "cuGraphLaunch", (CUgraphExec, CUstream))                                                  \
  TFE_CUDA(GraphDestroy, "cuGraphDestroy", (CUgraph))                                                              \
  TFE_CUDA(GraphExecDestroy, "cuGraphExecDestroy", (CUgraphExec))                                                  \
  TFE_CUDA(EventCreate, "cuEventCreate", (CUevent*, unsigned))                                                     \
  TFE_CUDA(EventDestroy, "cuEventDestroy_v2", (CUevent))                                                           \
  TFE_CUDA(EventRecord, "cuEventRecord", (CUevent, CUstream))                                                      \
  TFE_CUDA(EventSynchronize, "cuEventSynchronize", (CUevent))                                                      \
  TFE_CUDA(EventElapsedTime, "cuEventElapsedTime", (float*, CUevent, CUevent))                                     \
  TFE_CUDA(ModuleLoadData, "cuModuleLoadData", (CUmodule*, const void*))                                           \
  TFE_CUDA(ModuleUnload, "cuModuleUnload", (CUmodule))                                                             \
  TFE_CUDA(ModuleGetFunction, "cuModuleGetFunction", (CUfunction*, CUmodule, const char*))                         \
  TFE_CUDA(FuncSetAttribute, "cuFuncSetAttribute", (CUfunction, int, int))                                         \
  TFE_CUDA(OccupancyMaxActiveBlocks, "cuOccupancyMaxActiveBlocksPerMultiprocessor", (int*, CUfunction, int, size_t))               \
  TFE_CUDA(LaunchKernelEx, "cuLaunchKernelEx", (const CUlaunchConfig*, CUfunction, void**, void**))                \
  TFE_CUDA(TensorMapEncodeTiled, "cuTensorMapEncodeTiled",                                                         \
           (void*, int, unsigned, void*, const uint64_t*, const uint64_t*, const uint32_t*, const uint32_t*, int, int, int, int)) \
  TFE_CUDA(TensorMapEncodeIm2col, "cuTensorMapEncodeIm2col",                                                       \
           (void*, int, unsigned, void*, const uint64_t*, const uint64_t*, const int*, const int*, unsigned, unsigned, const uint32_t*, int, int, int, int))

// --- libnvrtc.so (the run-time compiler) ---
struct _nvrtcProgram;
using nvrtcProgram = _nvrtcProgram*;
#define TFE_NVRTC_FUNCTIONS(TFE_CUDA)                                                                              \
  TFE_CUDA(Version, "nvrtcVersion", (int*, int*))                                                                  \
  TFE_CUDA(CreateProgram, "nvrtcCreateProgram",                                                                    \
           (nvrtcProgram*, const char*, const char*, int, const char* const*, const char* const*))                 \
  TFE_CUDA(DestroyProgram, "nvrtcDestroyProgram", (nvrtcProgram*))                                                 \
  TFE_CUDA(CompileProgram, "nvrtcCompileProgram", (nvrtcProgram, int, const char* const*))                         \
  TFE_CUDA(GetProgramLogSize, "nvrtcGetProgramLogSize", (nvrtcProgram, size_t*))                                   \
  TFE_CUDA(GetProgramLog, "nvrtcGetProgramLog", (nvrtcProgram, char*))                                             \
  TFE_CUDA(GetCUBINSize, "nvrtcGetCUBINSize", (nvrtcProgram, size_t*))                                             \
  TFE_CUDA(GetCUBIN, "nvrtcGetCUBIN", (nvrtcProgram, char*))

// --- libcublasLt.so ---
enum : int {
  CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2, CUDA_R_8I = 3, CUDA_R_32I = 10, CUDA_R_16BF = 14,
  CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_64F = 70, CUBLAS_COMPUTE_32I = 72, CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
  CUBLAS_OP_N = 0, CUBLAS_OP_T = 1,
  CUBLASLT_MATMUL_DESC_TRANSA = 3, CUBLASLT_MATMUL_DESC_TRANSB = 4, CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE = 10, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE = 26,
  CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6,
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
  CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_RELU = 2, CUBLASLT_EPILOGUE_BIAS = 4, CUBLASLT_EPILOGUE_GELU = 32,
};
struct cublasLtMatmulAlgo_t {
  uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  int state;
  float wavesCount;
  int reserved[4];
};
// Handle, descriptors, layouts and preferences are opaque pointers.
#define TFE_CUBLASLT_FUNCTIONS(TFE_CUDA)                                                                           \
  TFE_CUDA(Create, "cublasLtCreate", (void**))                                                                     \
  TFE_CUDA(MatmulDescCreate, "cublasLtMatmulDescCreate", (void**, int, int))                                       \
  TFE_CUDA(MatmulDescDestroy, "cublasLtMatmulDescDestroy", (void*))                                                \
  TFE_CUDA(MatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute", (void*, int, const void*, size_t))            \
  TFE_CUDA(MatrixLayoutCreate, "cublasLtMatrixLayoutCreate", (void**, int, uint64_t, uint64_t, int64_t))           \
  TFE_CUDA(MatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy", (void*))                                            \
  TFE_CUDA(MatrixLayoutSetAttribute, "cublasLtMatrixLayoutSetAttribute", (void*, int, const void*, size_t))        \
  TFE_CUDA(MatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate", (void**))                                     \
  TFE_CUDA(MatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy", (void*))                                    \
  TFE_CUDA(MatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute", (void*, int, const void*, size_t)) \
  TFE_CUDA(MatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic",                                               \
           (void*, void*, void*, void*, void*, void*, void*, int, cublasLtMatmulHeuristicResult_t*, int*))         \
  TFE_CUDA(Matmul, "cublasLtMatmul",                                                                               \
           (void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*, void*,    \
            void*, void*, const cublasLtMatmulAlgo_t*, void*, size_t, CUstream))

// --- libcudnn.so.9 (backend API) ---
enum : int {
  CUDNN_DATA_FLOAT = 0, CUDNN_DATA_HALF = 2, CUDNN_DATA_BFLOAT16 = 9,
  CUDNN_TYPE_HANDLE = 0, CUDNN_TYPE_DATA_TYPE = 1, CUDNN_TYPE_BOOLEAN = 2, CUDNN_TYPE_INT64 = 3, CUDNN_TYPE_FLOAT = 4,
  CUDNN_TYPE_DOUBLE = 5, CUDNN_TYPE_VOID_PTR = 6, CUDNN_TYPE_CONVOLUTION_MODE = 7, CUDNN_TYPE_HEUR_MODE = 8,
  CUDNN_TYPE_KNOB_TYPE = 9, CUDNN_TYPE_NUMERICAL_NOTE = 11, CUDNN_TYPE_POINTWISE_MODE = 14,
  CUDNN_TYPE_BACKEND_DESCRIPTOR = 15,
  CUDNN_BACKEND_POINTWISE_DESCRIPTOR = 0, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR = 1, CUDNN_BACKEND_ENGINE_DESCRIPTOR = 2,
  CUDNN_BACKEND_ENGINECFG_DESCRIPTOR = 3, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR = 4,
  CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR = 5, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR = 7,
  CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR = 10, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR = 13,
  CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR = 15, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR = 16,
  CUDNN_BACKEND_TENSOR_DESCRIPTOR = 17,
  CUDNN_ATTR_POINTWISE_MODE = 0, CUDNN_ATTR_POINTWISE_MATH_PREC = 1, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP = 3,
  CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP = 4,
  CUDNN_ATTR_CONVOLUTION_COMP_TYPE = 100, CUDNN_ATTR_CONVOLUTION_CONV_MODE = 101, CUDNN_ATTR_CONVOLUTION_DILATIONS = 102,
  CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES = 103, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS = 104,
  CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS = 105, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS = 106,
  CUDNN_ATTR_ENGINEHEUR_MODE = 200, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH = 201, CUDNN_ATTR_ENGINEHEUR_RESULTS = 202,
  CUDNN_ATTR_ENGINECFG_ENGINE = 300, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES = 302,
  CUDNN_ATTR_EXECUTION_PLAN_HANDLE = 400, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG = 401,
  CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE = 402,
  CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE = 600, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE = 601,
  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA = 700, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA = 701,
  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC = 702, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W = 703,
  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X = 704, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y = 705,
  CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR = 750, CUDNN_ATTR_OPERATION_POINTWISE_XDESC = 751,
  CUDNN_ATTR_OPERATION_POINTWISE_BDESC = 752, CUDNN_ATTR_OPERATION_POINTWISE_YDESC = 753,
  CUDNN_ATTR_OPERATIONGRAPH_HANDLE = 800, CUDNN_ATTR_OPERATIONGRAPH_OPS = 801,
  CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT = 900, CUDNN_ATTR_TENSOR_DATA_TYPE = 901, CUDNN_ATTR_TENSOR_DIMENSIONS = 902,
  CUDNN_ATTR_TENSOR_STRIDES = 903, CUDNN_ATTR_TENSOR_UNIQUE_ID = 906, CUDNN_ATTR_TENSOR_IS_VIRTUAL = 907,
  CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS = 1000, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS = 1001,
  CUDNN_ATTR_VARIANT_PACK_WORKSPACE = 1003,
  CUDNN_ATTR_ENGINE_GLOBAL_INDEX = 1301, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE = 1303,
  CUDNN_NUMERICAL_NOTE_TENSOR_CORE = 0, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS = 1,
  CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION = 2, CUDNN_NUMERICAL_NOTE_FFT = 3, CUDNN_NUMERICAL_NOTE_WINOGRAD = 5,
  CUDNN_NUMERICAL_NOTE_TYPE_COUNT = 10,
  CUDNN_POINTWISE_ADD = 0, CUDNN_POINTWISE_RELU_FWD = 100,
  CUDNN_CROSS_CORRELATION = 1, CUDNN_HEUR_MODE_FALLBACK = 2, CUDNN_HEUR_MODE_A = 3,
};
// Handles and descriptors are opaque pointers.
#define TFE_CUDNN_FUNCTIONS(TFE_CUDA)                                                                              \
  TFE_CUDA(Create, "cudnnCreate", (void**))                                                                        \
  TFE_CUDA(SetStream, "cudnnSetStream", (void*, CUstream))                                                         \
  TFE_CUDA(BackendCreateDescriptor, "cudnnBackendCreateDescriptor", (int, void**))                                 \
  TFE_CUDA(BackendDestroyDescriptor, "cudnnBackendDestroyDescriptor", (void*))                                     \
  TFE_CUDA(BackendFinalize, "cudnnBackendFinalize", (void*))                                                       \
  TFE_CUDA(BackendSetAttribute, "cudnnBackendSetAttribute", (void*, int, int, int64_t, const void*))               \
  TFE_CUDA(BackendGetAttribute, "cudnnBackendGetAttribute", (const void*, int, int, int64_t, int64_t*, void*))     \
  TFE_CUDA(BackendExecute, "cudnnBackendExecute", (void*, void*, void*))

#define TFE_CUDA_FIELD(name, symbol, parameters) int(*name) parameters = nullptr;
struct DriverApi {
  TFE_CUDA_DRIVER_FUNCTIONS(TFE_CUDA_FIELD)
  int version = 0;  // 13000: CUDA 13.0
};
struct NvrtcApi {
  TFE_NVRTC_FUNCTIONS(TFE_CUDA_FIELD)
  int version = 0;  // 13000
};
struct CublasLtApi {
  TFE_CUBLASLT_FUNCTIONS(TFE_CUDA_FIELD)
  size_t version = 0;  // 130100
};
struct CudnnApi {
  TFE_CUDNN_FUNCTIONS(TFE_CUDA_FIELD)
  size_t version = 0;  // 91900
};
#undef TFE_CUDA_FIELD

}  // namespace tfengine::cuda
