// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "api/choose_signature.h"
#include "api/npy.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "command.h"
#include "flags.h"
#include "tfengine/model.h"

namespace tfengine::cli {
namespace {

class RunCommand : public Command {
 public:
  void DefineFlags(CLI::App& app) override {
    app.add_option("MODEL", model_, "Converted SavedModel directory")->required();
    app.add_option("--input", inputs_, "NAME=FILE.npy, once per input");
    app.add_option("--output", output_, "Directory for one .npy file per output")->required();
    app.add_option("--signature", signature_,
                   "Signature to run (default: serving_default, or the only one)");
    DefineDeviceFlags(app, &options_);
    app.add_option("--threads", options_.threads, "Threads; 0: all CPUs")
        ->check(CLI::NonNegativeNumber);
  }

  Status Run() override {
    std::map<std::string, Tensor> inputs;
    for (const std::string& input : inputs_) {
      TFE_ASSIGN_OR_RETURN(auto pair, SplitPair("--input", input));
      if (inputs.count(pair.first))
        return Error(ErrorId::kBadFlag, "--input: \"{}\" is given twice", pair.first);
      TFE_ASSIGN_OR_RETURN(inputs[pair.first], ReadNpy(pair.second));
    }
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, Model::Load(model_, options_));
    TFE_ASSIGN_OR_RETURN(const SignatureInfo* signature, ChooseSignature(*model, signature_));
    TFE_ASSIGN_OR_RETURN(auto outputs, model->Run(signature->name, inputs));
    std::error_code error;
    std::filesystem::create_directories(output_, error);
    if (error) return Error(ErrorId::kOutputUnwritable, "{}: {}", output_, error.message());
    for (const auto& [name, tensor] : outputs) {
      std::string file = name;
      for (char& c : file)
        if (c == '/') c = '_';
      std::string path = (std::filesystem::path(output_) / (file + ".npy")).string();
      TFE_RETURN_IF_ERROR(WriteNpy(path, tensor));
      fmt::print("{}: {}{} -> {}\n", name, DTypeName(tensor.dtype()), ShapeToString(tensor.shape()),
                 path);
    }
    return OkStatus();
  }

 private:
  std::string model_, output_, signature_;
  std::vector<std::string> inputs_;
  EngineOptions options_;
};

}  // namespace

std::unique_ptr<Command> NewRunCommand() { return std::make_unique<RunCommand>(); }

}  // namespace tfengine::cli
