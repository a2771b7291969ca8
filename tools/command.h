// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <memory>

#include "tfengine/status.h"

namespace tfengine::cli {

// One subcommand: defines its flags, then runs. Results go to stdout, everything else to stderr.
class Command {
 public:
  virtual ~Command() = default;
  virtual void DefineFlags(CLI::App& app) = 0;
  virtual Status Run() = 0;
};

// One factory per file; main.cc has the table.
std::unique_ptr<Command> NewBenchCommand();
std::unique_ptr<Command> NewCalibrateCommand();
std::unique_ptr<Command> NewCompareCommand();
std::unique_ptr<Command> NewConvertCommand();
std::unique_ptr<Command> NewExplainCommand();
std::unique_ptr<Command> NewInspectCommand();
std::unique_ptr<Command> NewRunCommand();

}  // namespace tfengine::cli
