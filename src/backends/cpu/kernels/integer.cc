// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/integer.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "base/errors.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 16384;  // elements worth a task of their own

// Wraps around where signed arithmetic would overflow.
template <typename T>
using Wide = std::conditional_t<sizeof(T) < 8, uint32_t, uint64_t>;

template <typename T>
bool IsMinusOne(T v) {
  return std::is_signed_v<T> && v == static_cast<T>(-1);
}

struct Add {
  template <typename T>
  static T Of(T a, T b) { return static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b)); }
};
struct Sub {
  template <typename T>
  static T Of(T a, T b) { return static_cast<T>(static_cast<Wide<T>>(a) - static_cast<Wide<T>>(b)); }
};
struct Mul {
  template <typename T>
  static T Of(T a, T b) { return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b)); }
};
struct SquaredDifference {
  template <typename T>
  static T Of(T a, T b) { return Mul::Of(Sub::Of(a, b), Sub::Of(a, b)); }
};
struct Min {
  template <typename T>
  static T Of(T a, T b) { return b < a ? b : a; }
};
struct Max {
  template <typename T>
  static T Of(T a, T b) { return a < b ? b : a; }
};
// The lowest number divided by -1 must not trap.
struct Div {
  template <typename T>
  static T Of(T a, T b) { return IsMinusOne(b) ? Sub::Of(T(0), a) : static_cast<T>(a / b); }
};
struct FloorDiv {
  template <typename T>
  static T Of(T a, T b) {
    if (IsMinusOne(b)) return Sub::Of(T(0), a);
    return static_cast<T>(a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0));
  }
};
struct TruncateMod {
  template <typename T>
  static T Of(T a, T b) { return IsMinusOne(b) ? T(0) : static_cast<T>(a % b); }
};
struct FloorMod {
  template <typename T>
  static T Of(T a, T b) {
    const T rest = TruncateMod::Of(a, b);
    return rest != 0 && (a < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
  }
};
struct Equal {
  template <typename T>
  static bool Of(T a, T b) { return a == b; }
};
struct NotEqual {
  template <typename T>
  static bool Of(T a, T b) { return a != b; }
};
struct Less {
  template <typename T>
  static bool Of(T a, T b) { return a < b; }
};
struct LessEqual {
  template <typename T>
  static bool Of(T a, T b) { return a <= b; }
};
struct Greater {
  template <typename T>
  static bool Of(T a, T b) { return a > b; }
};
struct GreaterEqual {
  template <typename T>
  static bool Of(T a, T b) { return a >= b; }
};

template <typename Op, typename T>
void Loop(const void* left, int64_t a_step, const void* right, int64_t b_step, void* result, int64_t n) {
  const T *a = static_cast<const T*>(left), *b = static_cast<const T*>(right);
  auto* y = static_cast<decltype(Op::template Of<T>(T(), T()))*>(result);
  if (a_step == 1 && b_step == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = Op::Of(a[i], b[i]);
  } else if (a_step == 1 && b_step == 0) {
    const T one = *b;
    for (int64_t i = 0; i < n; ++i) y[i] = Op::Of(a[i], one);
  } else if (a_step == 0 && b_step == 1) {
    const T one = *a;
    for (int64_t i = 0; i < n; ++i) y[i] = Op::Of(one, b[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = Op::Of(a[i * a_step], b[i * b_step]);
  }
}

template <typename Op>
IntegerLoop LoopFor(DType dtype) {
  switch (dtype) {
    case DType::kInt8: return Loop<Op, int8_t>;
    case DType::kInt16: return Loop<Op, int16_t>;
    case DType::kInt32: return Loop<Op, int32_t>;
    case DType::kInt64: return Loop<Op, int64_t>;
    case DType::kUint8: return Loop<Op, uint8_t>;
    case DType::kUint16: return Loop<Op, uint16_t>;
    case DType::kUint32: return Loop<Op, uint32_t>;
    case DType::kUint64: return Loop<Op, uint64_t>;
    default: return nullptr;
  }
}

struct Row {
  const char* kind;
  IntegerLoop (*loop)(DType);
  bool predicate = false, divides = false;
};
constexpr Row kRows[] = {
    {"add", LoopFor<Add>},
    {"sub", LoopFor<Sub>},
    {"mul", LoopFor<Mul>},
    {"squared_difference", LoopFor<SquaredDifference>},
    {"min", LoopFor<Min>},
    {"max", LoopFor<Max>},
    {"div", LoopFor<Div>, false, true},
    {"floor_div", LoopFor<FloorDiv>, false, true},
    {"truncate_mod", LoopFor<TruncateMod>, false, true},
    {"floor_mod", LoopFor<FloorMod>, false, true},
    {"equal", LoopFor<Equal>, true},
    {"not_equal", LoopFor<NotEqual>, true},
    {"less", LoopFor<Less>, true},
    {"less_equal", LoopFor<LessEqual>, true},
    {"greater", LoopFor<Greater>, true},
    {"greater_equal", LoopFor<GreaterEqual>, true},
};

bool HasZero(const void* values, size_t size, int64_t n) {
  auto any = [&]<typename T>(const T* v) { return std::find(v, v + n, T(0)) != v + n; };
  switch (size) {
    case 1: return any(static_cast<const uint8_t*>(values));
    case 2: return any(static_cast<const uint16_t*>(values));
    case 4: return any(static_cast<const uint32_t*>(values));
    default: return any(static_cast<const uint64_t*>(values));
  }
}

}  // namespace

IntegerBinary FindIntegerBinary(std::string_view kind, DType dtype) {
  IntegerBinary op;
  op.dtype = dtype;
  for (const Row& row : kRows) {
    if (kind != row.kind) continue;
    op.loop = row.loop(dtype == DType::kBool && row.predicate ? DType::kUint8 : dtype);
    op.result_size = row.predicate ? sizeof(bool) : DTypeSize(dtype);
    op.divides = row.divides;
  }
  return op;
}

Status RunIntegerBinary(const IntegerBinary& op, const LoopNest& loops, const void* a, const void* b, int64_t b_size, void* y,
                        Gang& gang) {
  const auto size = static_cast<int64_t>(DTypeSize(op.dtype)), result_size = static_cast<int64_t>(op.result_size);
  if (op.divides && loops.size > 0 && HasZero(b, static_cast<size_t>(size), b_size))
    return Error(ErrorId::kArithmetic, "integer division by zero");
  const int last = loops.rank - 1;
  const int64_t a_step = loops.strides[0][last], b_step = loops.strides[1][last];
  ParallelParts(gang, loops.size, kPart, [&](int64_t begin, int64_t end) {
    ForEachRun(loops, begin, end, [&](int64_t at, int64_t n, const int64_t* offsets) {
      op.loop(static_cast<const char*>(a) + offsets[0] * size, a_step, static_cast<const char*>(b) + offsets[1] * size, b_step,
              static_cast<char*>(y) + at * result_size, n);
    });
  });
  return OkStatus();
}

}  // namespace tfengine::cpu
