// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tfengine/model.h"
#include "tfengine/status.h"

namespace tfengine {

// What a conversion records beside the model, in assets.extra/tfengine.json: which engines there
// are and, for the signatures that converted whole, how to run them without TensorFlow. Paths are
// relative to the model's directory.
struct Manifest {
  struct Engine {
    std::string name;  // resource and node name
    std::string file;
    int64_t nodes = 0;  // TensorFlow nodes it replaced, constants not counted
  };
  // Where a tensor comes from.
  struct Source {
    enum class Kind {
      kInput,
      kCall,
      kConstant,
      kUnread,  // an engine input whose value the engine has already
    };
    Kind kind = Kind::kInput;
    int index = 0;     // kInput: of the signature's inputs; kCall: of its calls
    int output = 0;    // kCall: which output of that engine
    std::string file;  // kConstant: a .npy file
  };
  // One run of an engine; sources refer to inputs, constants and earlier calls.
  struct Call {
    int engine = 0;
    std::vector<Source> inputs;
  };
  struct Signature {
    SignatureInfo info;
    std::vector<int> engines;     // that its TensorFlow form uses
    std::vector<Call> calls;      // if whole
    std::vector<Source> results;  // if whole: one per output
    std::vector<std::string>
        defaults;  // one per input: .npy file with the value of an omitted input, or empty
  };

  std::string tfengine_version;
  std::string device;
  std::string precision;
  std::vector<Engine> engines;
  std::vector<Signature> signatures;

  std::string ToJson() const;
  // Every index and path of the result is checked. Error: kManifestInvalid, with `path` in its
  // message.
  static Result<Manifest> FromJson(std::string_view json, const std::string& path);

  // Reads it from a model directory. Errors: kFileMissing (no such directory, or not a converted
  // model), kManifestInvalid.
  static Result<Manifest> Load(const std::string& model_dir);
};

inline constexpr char kManifestFile[] = "assets.extra/tfengine.json";

// "float32[-1,224,224,3]"
std::string SpecToString(const TensorSpec& spec);

}  // namespace tfengine
