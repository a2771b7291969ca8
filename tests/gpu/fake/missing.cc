// SPDX-License-Identifier: Apache-2.0
// Everything else that we load of NVIDIA's libraries: functions that refuse (x86-64).
#include "backends/cuda/api.h"

#define TFE_CUDA(name, symbol, parameters)                                                \
  __asm__(".text\n.weak " symbol "\n.type " symbol ", @function\n" symbol ":\n"            \
          "  movl $801, %eax\n  ret\n.size " symbol ", .-" symbol "\n"); /* not supported */

TFE_CUDA_DRIVER_FUNCTIONS(TFE_CUDA)
TFE_NVRTC_FUNCTIONS(TFE_CUDA)
TFE_CUBLASLT_FUNCTIONS(TFE_CUDA)
TFE_CUDNN_FUNCTIONS(TFE_CUDA)
