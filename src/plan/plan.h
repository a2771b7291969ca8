// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "quant/assign.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

class MappedFile;

// What was chosen by timing at one set of sizes; serves the sizes that are nearest to it.
struct ShapeChoices {
  std::map<std::string, int64_t> sizes;        // symbol → size
  std::map<std::string, std::string> tactics;  // node's first output value name → tactic
  // How a batch is cut: samples per pass, and whether each thread takes passes of its own (see compiler/batching.h).
  int micro_batch = 0;  // 0: the whole batch in one pass
  bool sample_parallel = false;
  bool operator==(const ShapeChoices&) const = default;
};

// What was chosen for one kind of device.
struct DeviceChoices {
  std::vector<ShapeChoices> at;  // empty: nothing was timed
  bool operator==(const DeviceChoices&) const = default;
};

// In which precision layers work. The typed network follows from it for the device at hand (quant/assign.h).
struct Numerics {
  std::string precision = "FP32";  // FP32, BF16, FP16, FP8 or INT8
  std::map<std::string, quant::Range> ranges;      // FP8, INT8: what values take, by value name
  std::map<std::string, quant::Precision> limits;  // layers that must be more exact, by the name of their first output
  bool operator==(const Numerics&) const = default;
};

// The engine file: a portable part (network text, constants) from which any machine can rebuild the engine, and per
// device fingerprint the choices made there.
//
// Layout, little-endian:
//   64-byte header: "TFENGINE", u32 format version, u32 section count, u64 file size, zeros, u32 CRC-32C of the first
//   60 bytes at offset 60
//   section table: per section u32 kind, u32 CRC-32C, u64 offset, u64 bytes; then u32 CRC-32C of the table
//   sections: META (JSON), NETWORK (text), CONSTANTS (JSON index: dtype, shape, offset, bytes, crc), DATA (raw,
//   4096-aligned, each constant 64-aligned; checked per constant)
struct Plan {
  std::string network_text;
  std::vector<std::shared_ptr<const Tensor>> constants;  // in the order of their numbers in the text
  Numerics numerics;
  std::map<std::string, DeviceChoices> devices;  // by fingerprint
  std::vector<std::vector<std::vector<int64_t>>> prepared_shapes;  // buffer plans to make on load
  std::shared_ptr<const MappedFile> file;  // what the constants view; null for a plan made in memory

  // Writes to a temporary file beside `path`, then renames it.
  Status Save(const std::string& path) const;
  // Maps the file; constants view the mapping. Verifies every checksum. Errors: kFileMissing, kPlanCorrupt (truncated,
  // checksum, malformed), kPlanVersion (not an engine file, or a newer format).
  static Result<Plan> Load(const std::string& path);
};

// Engine files of a converted model are called <prefix><engine name>, as TF-TRT called them.
inline constexpr char kEngineFilePrefix[] = "trt-serialized-engine.";
inline constexpr uint32_t kPlanFormatVersion = 2;

}  // namespace tfengine
