// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Scaled dot-product attention, float32, four-dimensional (or three-dimensional: one head):
//
//   q [B,Sq,H,D] ─ ·c ─ transpose ┐
//   k [B,Sk,H,D] ────── transpose ┴ matmul ─ ·c ─ + mask | select(mask, ·, -big) ─ softmax ┐
//   v [B,Sk,H,Dv] ───── transpose ───────────────────────────────────────────────────────── ┴ matmul ─ transpose
//        →   attention(q, k, v, mask?) {scale, mask_value}
//
// The scale may stand at q, at k, or behind the product, as factor or divisor. The mask stays in its compact form.
// select()'s value must be so low (≤ -1e8) that nothing survives it; the attention then uses -3e38, which keeps rows
// without a single true exact (uniform). Keras' extra select(mask, softmax, 0) is kept as a select on the result that
// asks whether the row has any true.
// New transposes stand where q, k, v or the result have the heads in front; simplification cancels them.
// Left alone: scores or probabilities with other users, masks that do not broadcast to [B,H,Sq,Sk], other types,
// matmuls with fused bias, residual or activation, batch dims of q, k and v that are not equal as written.
Result<bool> RecognizeAttention(Network& network);

}  // namespace tfengine::passes
