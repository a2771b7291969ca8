// SPDX-License-Identifier: Apache-2.0
#include "runtime/executable.h"

namespace tfengine {

Status Executable::Run(const void* const* in, void* const* out, void* memory, Gang& gang,
                       const std::function<void(int, void* const*)>& after_step) const {
  constexpr int kInlineOperands = 64;
  const void* inline_in[kInlineOperands];
  void* inline_out[kInlineOperands];
  std::vector<const void*> many_in;
  char* arena = static_cast<char*>(memory);
  void* scratch = arena + arena_bytes;
  // By kind. Kernels only read inputs and constants; the cast lets one function serve operands of both directions.
  const void* const arenas[] = {arena};
  const void* const* const tables[] = {arenas, in, out};
  auto resolve = [&](const BufferRef& ref) {
    const void* base = ref.kind == BufferRef::Kind::kConstant ? constants[ref.index]->data() : tables[static_cast<int>(ref.kind)][ref.index];
    return const_cast<char*>(static_cast<const char*>(base)) + ref.offset;
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const void** step_in = inline_in;
    if (step.in.size() > kInlineOperands) {
      many_in.resize(step.in.size());
      step_in = many_in.data();
    }
    for (size_t k = 0; k < step.in.size(); ++k) step_in[k] = resolve(step.in[k]);
    for (size_t k = 0; k < step.out.size(); ++k) inline_out[k] = resolve(step.out[k]);
    Status status = step.kernel->Run(step_in, inline_out, scratch, gang);
    if (!status.ok()) return status.WithContext(step.name);
    if (after_step) after_step(static_cast<int>(i), inline_out);
  }
  return OkStatus();
}

}  // namespace tfengine
