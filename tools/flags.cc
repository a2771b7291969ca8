// SPDX-License-Identifier: Apache-2.0
#include "flags.h"

#include <cstdlib>

#include "base/errors.h"
#include "tfengine/kernel_cache.h"

namespace tfengine::cli {
namespace {

std::string KernelCache() {
  return DefaultKernelCache(std::getenv("XDG_CACHE_HOME"), std::getenv("HOME"));
}

}  // namespace

void DefinePartitionFlags(CLI::App& app, ConvertOptions* options,
                          std::vector<std::string>* exclude) {
  app.add_option("--tags", options->tags, "Tags of the MetaGraph, separated by commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--signature", options->signatures,
                 "Signature to convert; may be repeated (default: all)");
  app.add_option("--precision", options->precision, "FP32, FP16, BF16, INT8 or FP8")->capture_default_str();
  app.add_option("--device", options->device, "cpu, cuda or cuda:<index>")->capture_default_str();
  app.add_flag("--tf32", options->tf32, "cuda: f32 products may round their operands to TF32");
  options->kernel_cache = KernelCache();
  app.add_option("--min-segment-size", options->minimum_segment_size,
                 "Fewest compute nodes of an engine")
      ->capture_default_str();
  app.add_option("--max-engines", options->max_engines, "Most engines of a signature; 0: no limit")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--exclude", *exclude,
                 "Op type or node name that stays in TensorFlow; may be repeated");
}

void DefineDeviceFlags(CLI::App& app, EngineOptions* options) {
  options->kernel_cache = KernelCache();
  app.add_option("--device", options->device, "cpu, cuda or cuda:<index>")->capture_default_str();
  app.add_option("--kernel-cache", options->kernel_cache, "cuda: directory of compiled kernels; empty: none")
      ->capture_default_str();
  app.add_flag("--tf32", options->tf32, "cuda: f32 products may round their operands to TF32");
}

void ApplyExclude(const std::vector<std::string>& exclude, ConvertOptions* options) {
  options->excluded_ops = exclude;
  options->excluded_nodes = exclude;
}

Result<std::pair<std::string, std::string>> SplitPair(const std::string& flag,
                                                      const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    return Error(ErrorId::kBadFlag, "{} \"{}\": expected NAME=VALUE", flag, text);
  return std::make_pair(text.substr(0, equals), text.substr(equals + 1));
}

}  // namespace tfengine::cli
