// SPDX-License-Identifier: Apache-2.0
#pragma once

// Marks what libtfengine.so exports; everything else is hidden.
#define TFENGINE_API [[gnu::visibility("default")]]
