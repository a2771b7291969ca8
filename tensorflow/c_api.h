// SPDX-License-Identifier: Apache-2.0
// C functions of libtfengine_tf.so, for Python's ctypes and for servers. Thread-safe.
#pragma once

#include "tfengine/export.h"

extern "C" {

// Statistics of all live engines as a JSON array; free with tfengine_tf_free.
TFENGINE_API char* tfengine_tf_engine_stats();
TFENGINE_API void tfengine_tf_free(char* text);
// Waits until no engine is being built in the background; 0 if that took longer than `seconds`.
TFENGINE_API int tfengine_tf_wait_for_engines(double seconds);
// For tests: 1 makes every engine run fail, 0 ends it.
TFENGINE_API void tfengine_tf_fail_engines(int fail);

}  // extern "C"
