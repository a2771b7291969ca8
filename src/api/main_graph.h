// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tfengine/status.h"
#include "tfgraph/build.h"
#include "tfgraph/graph.h"

namespace tfengine {

// TensorFlow 1: a signature names tensors of the main graph, so those names must go on to exist.
// Where a returned tensor is now made by another node (an engine), adds an IdentityN under the old
// name with the old ports. Returns a reason if that cannot be done, else an empty string.
std::string KeepReturnNames(const saved_model::SignatureDef& def,
                            tfgraph::SignatureGraph& signature);

}  // namespace tfengine
