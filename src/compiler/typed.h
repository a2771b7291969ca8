// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/compile_backend.h"
#include "base/mapped_file.h"
#include "plan/plan.h"
#include "quant/assign.h"

namespace tfengine {

// The network that `backend` runs for an f32 network and its numerics. `file`: what the constants view, or null; its pages
// are given back now and then. Error: kBadFlag for an unknown precision.
Result<quant::Assignment> AssignFor(const Network& network, const Numerics& numerics, const CompileBackend& backend,
                                    const MappedFile* file = nullptr);

}  // namespace tfengine
