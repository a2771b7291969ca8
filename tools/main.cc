// SPDX-License-Identifier: Apache-2.0
// tfengine: converts TensorFlow SavedModels and runs them without TensorFlow.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <vector>

#include "base/errors.h"
#include "command.h"

namespace tfengine::cli {
namespace {

struct Row {
  const char* name;
  const char* summary;
  std::unique_ptr<Command> (*make)();
};

constexpr Row kCommands[] = {
    {"convert", "Convert a SavedModel into one that runs on engines", NewConvertCommand},
    {"explain", "Show what would be converted, and why the rest would not", NewExplainCommand},
    {"inspect", "Show the signatures and engines of a converted model", NewInspectCommand},
    {"calibrate", "Measure the ranges of a converted model's values on sample data, for INT8 and FP8",
     NewCalibrateCommand},
    {"compare", "Compare the values inside two conversions of a model, FP32 and INT8 say, on data",
     NewCompareCommand},
    {"run", "Run a converted model on .npy files, without TensorFlow", NewRunCommand},
    {"bench", "Time a converted model, without TensorFlow", NewBenchCommand},
};

// Errors are one line: whoever wrote the text, nothing in it may break that.
void PrintError(const Status& status) {
  std::string line = status.ToString();
  for (char& c : line)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  fmt::print(stderr, "error: {}\n", line);
}

int ExitCode(const Status& status) {
  if (status.ok()) return 0;
  PrintError(status);
  return status.error_id() == static_cast<int>(ErrorId::kBadFlag) ? 2 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("tfengine " TFENGINE_VERSION ": TensorFlow SavedModels on fast CPU engines",
               "tfengine");
  app.set_version_flag("--version", "tfengine " TFENGINE_VERSION);
  app.require_subcommand(1);
  std::vector<std::pair<CLI::App*, std::unique_ptr<Command>>> commands;
  for (const Row& row : kCommands) {
    CLI::App* sub = app.add_subcommand(row.name, row.summary);
    commands.emplace_back(sub, row.make());
    commands.back().second->DefineFlags(*sub);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return ExitCode(Error(ErrorId::kBadFlag, "{}; see tfengine --help", error.what()));
  }
  for (auto& [sub, command] : commands)
    if (sub->parsed()) return ExitCode(command->Run());
  return 2;
}

}  // namespace
}  // namespace tfengine::cli

int main(int argc, char** argv) {
  using tfengine::ErrorId;
  try {
    return tfengine::cli::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    return tfengine::cli::ExitCode(tfengine::Error(ErrorId::kOutOfMemory, "not enough memory"));
  } catch (const std::exception& error) {
    return tfengine::cli::ExitCode(tfengine::Error(ErrorId::kInternalError, "{}", error.what()));
  }
}
