// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/compile_backend.h"
#include "plan/plan.h"
#include "quant/assign.h"

namespace tfengine {

// The network that `backend` runs for an f32 network and its numerics. Error: kBadFlag for an unknown precision.
Result<quant::Assignment> AssignFor(const Network& network, const Numerics& numerics, const CompileBackend& backend);

}  // namespace tfengine
