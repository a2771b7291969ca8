// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tfengine {

// True while tfengine_tf_fail_engines(1) is in force: tests use it to see every segment run
// natively.
bool EnginesMadeToFail();

}  // namespace tfengine
