// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "api/signature_plan.h"
#include "partition/partition.h"
#include "tfengine/convert.h"
#include "tfengine/status.h"

namespace tfengine {

// Every name must be an input of one of the signatures, every shape fit it. Error: kBadFlag.
Status CheckBuildShapes(const std::vector<SignaturePlan*>& plans,
                        const std::vector<ShapeMap>& sets);

// The input shapes that an engine sees when its signature is called with these: one list per set,
// one shape per input that is not a resource. Sets that say nothing about this signature, or from
// which the shapes do not follow, are left out; inputs that a set does not name have size 1 where
// it is unknown.
std::vector<std::vector<std::vector<int64_t>>> ShapesForSegment(const SignaturePlan& plan,
                                                                const partition::Segment& segment,
                                                                const std::vector<ShapeMap>& sets);

}  // namespace tfengine
