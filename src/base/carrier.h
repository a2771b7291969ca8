// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tfengine/types.h"

namespace tfengine {

// TRTEngineOp takes few element types (bool, int8, float16, float32, int32), and its definition must not change.
// Tensors of other types cross its boundary bit-cast to a type that it takes, their carrier: 64-bit types as int32
// with a last dimension of 2, the others as a type of their size. kInvalid if `dtype` cannot cross.
inline DType CarrierOf(DType dtype) {
  switch (dtype) {
    case DType::kBool:
    case DType::kInt8:
    case DType::kFloat16:
    case DType::kFloat32:
    case DType::kInt32:
    case DType::kResource:
      return dtype;
    case DType::kUint8:
      return DType::kInt8;
    case DType::kInt16:
    case DType::kUint16:
    case DType::kBfloat16:
      return DType::kFloat16;
    case DType::kUint32:
    case DType::kInt64:
    case DType::kUint64:
    case DType::kFloat64:
      return DType::kInt32;
    default:
      return DType::kInvalid;
  }
}

}  // namespace tfengine
