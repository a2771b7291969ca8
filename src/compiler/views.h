// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "network/network.h"

namespace tfengine {

// Which values live inside the memory of another one, so that a concatenation or slice copies nothing.
struct ViewPlan {
  struct Place {
    ValueId in = kNoValue;  // the value whose memory holds this one
    int input = -1;         // of the concat that makes `in`; -1: this is a slice of `in`
    int64_t offset = 0;     // elements from the start of `in`
  };
  // By the value that a chain of reshapes starts with (its root).
  std::vector<Place> places;
  std::vector<int64_t> pitches;  // elements from one row (of the last dim) to the next; 0: rows lie together
};

// What the planner must know of a network at fixed shapes. All vectors by value.
struct ViewRequest {
  const Network& network;
  const std::vector<std::vector<int64_t>>& shapes;
  const std::vector<int>& roots;                                // of chains of reshapes; a value of another kind is its own
  const std::vector<bool>& fixed;                               // roots that keep memory of their own: the network's outputs
  std::function<std::vector<int64_t>(int node)> slice_begin;    // of a slice node
  std::function<bool(int node, const ViewPlan& plan)> accepts;  // whether there is a kernel for the node at the plan's pitches
};

// Inputs of a concat move into its result, slices into what they are cut from, where memory allows it: rows lie at one
// distance, and the kernels of the producer and all readers accept that. A value moves into one concat at most; what cannot
// move is copied as ever. Concats of concats end in the memory of the last one.
ViewPlan PlanViews(const ViewRequest& request);

}  // namespace tfengine
