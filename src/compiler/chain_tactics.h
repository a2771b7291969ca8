// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "compiler/tactics.h"

namespace tfengine {

// Decides which nodes run as one kernel, and how, given the tactic of each; adds that to `chosen`. `cold`: as of ChooseTactics.
Status ChooseChains(const Network& network, const CompileBackend& backend, const TacticOptions& options, bool cold, TacticMap* chosen);

}  // namespace tfengine
