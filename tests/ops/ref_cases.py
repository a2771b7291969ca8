# SPDX-License-Identifier: Apache-2.0
"""Writes what TensorFlow computes for every op and kind of a network, for ref_cases_test.cc.

    python ref_cases.py OUTPUT_DIR

cases.txt holds one block per case ("case NAME ULPS MAGNITUDE ok|error", "in"/"out" lines with dtype, shape and offset,
then the network); cases.bin holds the elements. An output may differ from TensorFlow's value v by
ULPS * epsilon(dtype) * (|v| + MAGNITUDE); integers and bools must be equal.
"""
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf

R = tf.raw_ops
FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
ALL = FLOATS + INTS + ["bool"]
SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "bool": "bool"}
SHORT.update({d: d.replace("uint", "u").replace("int", "i") for d in INTS})
rng = np.random.default_rng(7)


def np_type(dtype):
    return tf.as_dtype(dtype).as_numpy_dtype


def rand(shape, dtype="float32", lo=-3.0, hi=3.0):
    """Random numbers of any dtype; small enough that products stay exact in integers of 8 bits."""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype in INTS:
        return rng.integers(0 if dtype[0] == "u" else int(lo), int(hi) + 1, shape).astype(dtype)
    return np.asarray(rng.uniform(lo, hi, shape)).astype(np_type(dtype))


def extremes(n, dtype):
    """Integers over the whole range, the ends included."""
    info = np.iinfo(dtype)
    v = rng.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    v[:3] = [info.min, info.max, 1]
    return v


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.7, -3.7, 1e-3, 10, -10, 88, -88, 0.999])


class Writer:
    def __init__(self, folder):
        self.text = open(os.path.join(folder, "cases.txt"), "w")
        self.data = open(os.path.join(folder, "cases.bin"), "wb")
        self.count = 0

    def tensor(self, kind, array):
        array = np.asarray(array)
        name = tf.as_dtype(array.dtype).name
        self.text.write(f"{kind} {name} {','.join(map(str, array.shape)) or '-'} {self.data.tell()}\n")
        self.data.write(np.ascontiguousarray(array).tobytes())

    def case(self, op, inputs, attrs, expected, ulps=0, magnitude=1.0):
        """`inputs`: arrays, or None where absent. `expected`: a function of the inputs as tensors, or "error"."""
        present = [i for i in inputs if i is not None]
        if expected == "error":
            outputs = []
        else:
            outputs = expected(*[tf.constant(i) for i in present])
            outputs = [o.numpy() for o in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]
        self.text.write(f"case {op}#{self.count} {ulps} {magnitude} {'error' if expected == 'error' else 'ok'}\n")
        self.count += 1
        for array in present:
            self.tensor("in", array)
        for array in outputs:
            self.tensor("out", array)
        self.text.write("network {\n")
        names = []
        for array in inputs:
            if array is None:
                names.append("_")
                continue
            array = np.asarray(array)
            names.append(f"%x{len(names)}")
            shape = ",".join(map(str, array.shape))
            self.text.write(f"  input {names[-1]}: {SHORT[tf.as_dtype(array.dtype).name]}[{shape}]\n")
        results = ["%y"] if op != "top_k" else ["%y", "%i"]
        words = ", ".join(f"{k}={self.attr(v)}" for k, v in attrs.items())
        self.text.write(f"  {', '.join(results)} = {op}({', '.join(names)}) {{{words}}}\n  return {', '.join(results)}\n}}\n")

    @staticmethod
    def attr(v):
        if isinstance(v, bool):
            return str(v).lower()
        if isinstance(v, (list, tuple)):
            return "[" + ",".join(map(str, v)) + "]"
        if isinstance(v, tf.DType):
            return SHORT[v.name]
        return repr(float(v)) if isinstance(v, float) else str(v)


def unary_cases(w):
    def scale(c, dtype):
        return tf.constant(c, dtype)

    kinds = {
        "abs": tf.abs, "neg": tf.negative, "exp": tf.exp, "expm1": tf.math.expm1, "log": tf.math.log,
        "log1p": tf.math.log1p, "sqrt": tf.sqrt, "rsqrt": tf.math.rsqrt, "square": tf.square,
        "reciprocal": tf.math.reciprocal, "sin": tf.sin, "cos": tf.cos, "tan": tf.tan, "asin": tf.asin, "acos": tf.acos,
        "atan": tf.atan, "sinh": tf.sinh, "cosh": tf.cosh, "asinh": tf.asinh, "acosh": tf.acosh, "atanh": tf.atanh,
        "tanh": tf.tanh, "sigmoid": tf.sigmoid, "erf": tf.math.erf, "erfc": tf.math.erfc, "relu": tf.nn.relu,
        "relu6": tf.nn.relu6, "selu": tf.nn.selu, "softplus": tf.math.softplus, "softsign": tf.nn.softsign,
        "silu": lambda x: x * tf.sigmoid(x), "gelu_erf": lambda x: scale(0.5, x.dtype) * x * (scale(1, x.dtype) + tf.math.erf(x * scale(0.5**0.5, x.dtype))),
        "gelu_tanh": lambda x: scale(0.5, x.dtype) * x * (scale(1, x.dtype) + tf.tanh(
            scale((2 / np.pi) ** 0.5, x.dtype) * (x + scale(0.044715, x.dtype) * x * x * x))),
        "hard_swish": lambda x: x * tf.nn.relu6(x + scale(3, x.dtype)) / scale(6, x.dtype),
        "hard_sigmoid": lambda x: tf.nn.relu6(x + scale(3, x.dtype)) / scale(6, x.dtype),
        "floor": tf.floor, "ceil": tf.math.ceil, "round": tf.round, "sign": tf.sign, "is_nan": tf.math.is_nan,
        "is_inf": tf.math.is_inf, "is_finite": tf.math.is_finite, "none": tf.identity,
    }
    # Composed of several rounded steps, or with a large derivative at the special values.
    steep = {"tan": 64, "selu": 16, "gelu_erf": 16, "gelu_tanh": 16, "silu": 16, "hard_swish": 16, "sinh": 100, "cosh": 100,
             "exp": 100, "expm1": 100, "erfc": 16}
    for kind, f in kinds.items():
        for d in FLOATS:
            ulps = steep.get(kind, 8)
            special = SPECIAL.astype(np_type(d))
            if d == "float64" and "erf" in kind:
                special = special[3:]  # TensorFlow 2.21: erf(inf) is NaN in f64
            w.case("unary", [special], {"kind": kind}, f, ulps)
            w.case("unary", [rand((3, 37), d)], {"kind": kind}, f, ulps)
        w.case("unary", [rand((), "float32", 0.1, 0.9)], {"kind": kind}, f, 16)
        w.case("unary", [rand((0, 3))], {"kind": kind}, f)
    for d in FLOATS:
        x = SPECIAL.astype(np_type(d))
        w.case("unary", [x], {"kind": "leaky_relu", "alpha": 0.25}, lambda x: tf.nn.leaky_relu(x, 0.25), 4)
        w.case("unary", [x], {"kind": "elu", "alpha": 1.0}, tf.nn.elu, 8)
        w.case("unary", [x], {"kind": "clip", "alpha": -1.5, "beta": 2.0},
               lambda x: tf.clip_by_value(x, tf.constant(-1.5, x.dtype), tf.constant(2.0, x.dtype)))
    for d in INTS:
        x = extremes(37, d)
        w.case("unary", [x], {"kind": "square"}, tf.square)
        w.case("unary", [x], {"kind": "relu"}, lambda x: R.Relu(features=x))
        w.case("unary", [x], {"kind": "relu6"}, lambda x: R.Relu6(features=x))
        w.case("unary", [x], {"kind": "clip", "alpha": 1.0, "beta": 5.0},
               lambda x: tf.minimum(tf.maximum(x, tf.constant(1, x.dtype)), tf.constant(5, x.dtype)))
        if d[0] != "u":
            for kind, f in (("abs", tf.abs), ("neg", tf.negative), ("sign", tf.sign)):
                w.case("unary", [x], {"kind": kind}, f)
    for d in ("int32", "int64"):
        w.case("unary", [extremes(9, d)], {"kind": "round"}, tf.round)
    w.case("unary", [rand((17,), "bool")], {"kind": "logical_not"}, tf.logical_not)
    w.case("unary", [rand((17,), "bool")], {"kind": "none"}, tf.identity)


def fake_quant_cases(w):
    f32 = np.float32
    for lo, hi, bits in [(-1.0, 2.0, 8), (-0.3, 0.2, 4), (0.0, 5.0, 16)]:
        first, last = f32(0), f32(2**bits - 1)
        step, inverse = (f32(hi) - f32(lo)) / last, last / (f32(hi) - f32(lo))
        zero = np.round(first - f32(lo) / step)
        x = np.concatenate([SPECIAL.astype("float32"), rand(100), np.arange(-9, 40, dtype="float32") * step / 2])
        codes = [step, f32(first - zero), f32(last - zero)]
        w.case("fake_quant", [x, *codes, inverse], {"rounding": "offset"},
               lambda x, *_: R.FakeQuantWithMinMaxArgs(inputs=x, min=lo, max=hi, num_bits=bits))
        w.case("fake_quant", [x, *codes], {"rounding": "offset"},
               lambda x, *_: R.FakeQuantWithMinMaxVars(inputs=x, min=lo, max=hi, num_bits=bits))
    for axis, rounding in [(0, "even"), (1, "up"), (2, "even")]:
        x = rand((3, 4, 50))
        ends = np.linspace(0.5, 2, x.shape[axis]).astype("float32")
        codes = [ends / f32(127), np.full_like(ends, -128), np.full_like(ends, 127), f32(127) / ends]
        channels = lambda x, *_: tf.stack([
            R.QuantizeAndDequantizeV2(input=c, input_min=-e, input_max=e, range_given=True,
                                      round_mode="HALF_UP" if rounding == "up" else "HALF_TO_EVEN")
            for c, e in zip(tf.unstack(x, axis=axis), ends)], axis)
        w.case("fake_quant", [x, *codes], {"axis": axis, "rounding": rounding}, channels)


def binary_cases(w):
    arithmetic = {
        "add": R.AddV2, "sub": R.Sub, "mul": R.Mul, "div": R.Div, "floor_div": R.FloorDiv, "floor_mod": R.FloorMod,
        "min": R.Minimum, "max": R.Maximum, "squared_difference": R.SquaredDifference, "truncate_mod": R.TruncateMod,
        "pow": R.Pow, "div_no_nan": R.DivNoNan, "mul_no_nan": R.MulNoNan, "atan2": lambda x, y: R.Atan2(y=x, x=y),
    }
    predicates = {"equal": R.Equal, "not_equal": R.NotEqual, "less": R.Less, "less_equal": R.LessEqual,
                  "greater": R.Greater, "greater_equal": R.GreaterEqual}
    shapes = [((3, 1, 5), (4, 1)), ((), (3,)), ((0, 3), (1, 3)), ((2, 17), (2, 17))]
    call = lambda f: lambda x, y: f(x=x, y=y)
    for kind, f in {**arithmetic, **predicates}.items():
        ulps = 32 if kind == "pow" else 4
        for d in FLOATS:
            if kind == "truncate_mod" and d in ("float16", "bfloat16"):
                continue
            special = SPECIAL.astype(np_type(d))
            # Powers of two numbers that are both huge differ between TensorFlow's own implementations.
            w.case("binary", [special[:, None], special[None, :15]], {"kind": kind}, call(f), ulps * (8 if kind == "pow" else 1))
            for a, b in shapes:
                w.case("binary", [rand(a, d), rand(b, d)], {"kind": kind}, call(f), ulps)
        for d in INTS:
            if kind in ("div_no_nan", "mul_no_nan", "atan2") or (kind == "squared_difference" and d not in ("int32", "int64")):
                continue
            if kind == "truncate_mod" and d not in ("int32", "int64") or kind == "pow" and d[0] == "u":
                continue
            x, y = extremes(41, d), extremes(41, d)[::-1].copy()
            if kind == "pow":
                y = rng.integers(0, 12, 41).astype(d)
            elif kind not in ("add", "sub", "mul", "min", "max", "squared_difference") and kind not in predicates:
                y[y == 0] = 1
                # The quotient that does not fit traps in TensorFlow.
                x[0] = 0 if d[0] != "u" else x[0]
                if d[0] != "u":
                    x[(x == np.iinfo(d).min) & (y == -1)] = 5
            w.case("binary", [x, y], {"kind": kind}, call(f))
            small = rand((3, 7), d), np.maximum(rand((7,), d), np.array(1, d))
            w.case("binary", list(small), {"kind": kind}, call(f))
    for kind in ("equal", "not_equal"):
        w.case("binary", [rand((9,), "bool"), rand((4, 1), "bool")], {"kind": kind}, call(predicates[kind]))
    w.case("binary", [rand((9,), "bool"), rand((4, 1), "bool")], {"kind": "logical_and"}, call(R.LogicalAnd))
    w.case("binary", [rand((9,), "bool"), rand((4, 1), "bool")], {"kind": "logical_or"}, call(R.LogicalOr))
    w.case("binary", [rand((3, 4)), rand((4,))], {"kind": "add", "act": "relu"}, lambda x, y: tf.nn.relu(x + y), 2)
    for d in ("int32", "int64", "uint8"):
        for kind in ("div", "floor_div", "floor_mod"):
            w.case("binary", [np.array([1, 2], d), np.array([1, 0], d)], {"kind": kind}, "error")
    w.case("binary", [np.array([1, 2]), np.array([1, -1])], {"kind": "pow"}, "error")
    for d in ALL:
        w.case("select", [rand((4, 1), "bool"), rand((4, 5), d), rand((5,), d)], {}, tf.where)
    w.case("select", [rand((3, 1), "bool"), rand((), "float32"), rand((1, 4))], {}, tf.where)


def cast_cases(w):
    for d in (tf.bfloat16, tf.float16):
        w.case("convert", [np.concatenate([SPECIAL.astype("float32"), rand(100)])], {"out": d.as_datatype_enum},
               lambda x: tf.cast(x, d))
    floats = np.array([0.0, -0.0, 0.7, 1.5, 2.5, 3.999, 100.3, 127.0], "float64")
    for src in ALL:
        for dst in ALL:
            x = floats.astype(np_type(src)) if src in FLOATS else rand((21,), src) if src == "bool" else extremes(21, src)
            if src in INTS and dst == "float16":
                x = x % np.array(100, src)
            w.case("cast", [x], {"dtype": tf.as_dtype(dst)}, lambda x: tf.cast(x, dst))
    huge = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1e20, -1e20, -1.5, 7e4] * 3)
    for src in ("float32", "float64"):
        for dst in ("int32", "int64", "uint64", "bool", "float16", "bfloat16", "float32"):
            w.case("cast", [huge.astype(src)], {"dtype": tf.as_dtype(dst)}, lambda x: tf.cast(x, dst))
    ties = np.concatenate([np.arange(0, 3000) * 2.0**-26, np.arange(1024, 4100) / 2, [65504, 65519, 65520, 1e-8]])
    w.case("cast", [ties.astype("float32")], {"dtype": tf.float16}, lambda x: tf.cast(x, tf.float16))
    w.case("cast", [ties.astype("float32")], {"dtype": tf.bfloat16}, lambda x: tf.cast(x, tf.bfloat16))
    every_half = np.arange(0, 65536, dtype="uint16").view("float16")
    w.case("cast", [every_half], {"dtype": tf.float32}, lambda x: tf.cast(x, tf.float32))


def same(size, k, stride, dilation=1):
    total = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
    return [total // 2, total - total // 2]


def image_cases(w):
    for d in FLOATS + ["int32"]:
        for h, wd, cin, cout, k, s, dil, g, padding in [
                (8, 7, 3, 5, 3, 1, 1, 1, "SAME"), (8, 7, 3, 5, 3, 2, 1, 1, "SAME"), (9, 9, 4, 6, 1, 2, 1, 1, "VALID"),
                (9, 8, 4, 6, 3, 1, 2, 2, "SAME"), (7, 7, 2, 3, 5, 3, 1, 1, "VALID"), (2, 2, 2, 3, 3, 1, 1, 1, "SAME")]:
            if g > 1 and d not in ("float32",):
                continue
            if dil > 1 and d == "int32":
                continue
            x, f = rand((2, h, wd, cin), d), rand((k, k, cin // g, cout), d)
            pads = same(h, k, s, dil) + same(wd, k, s, dil) if padding == "SAME" else [0] * 4
            w.case("conv2d", [x, f], {"strides": [s, s], "dilations": [dil, dil], "pads": pads, "groups": g},
                   lambda x, f: tf.nn.conv2d(x, f, s, padding, dilations=dil), 16, 10.0 * k * k)
    x, f, b, r = rand((2, 5, 5, 3)), rand((3, 3, 3, 4)), rand((4,)), rand((2, 4, 3, 4))
    explicit = [[0, 0], [1, 0], [2, 0], [0, 0]]
    fused = {"pads": [1, 0, 2, 0], "strides": [1, 2], "act": "relu6"}
    conv = lambda x, f: tf.nn.conv2d(x, f, [1, 1, 2, 1], explicit)
    w.case("conv2d", [x, f, b, r], fused, lambda x, f, b, r: tf.nn.relu6(conv(x, f) + b + r), 16, 50.0)
    w.case("conv2d", [x, f, None, r], fused, lambda x, f, r: tf.nn.relu6(conv(x, f) + r), 16, 50.0)
    w.case("conv2d", [rand((0, 5, 5, 3)), f], {}, lambda x, f: tf.zeros([0, 3, 3, 4]))
    for d in FLOATS:
        for s in (1, 2):
            for m in (1, 2):
                x, f = rand((2, 7, 6, 3), d), rand((3, 3, 3, m), d)
                w.case("conv2d", [x, f.reshape(3, 3, 1, 3 * m)],
                       {"strides": [s, s], "pads": same(7, 3, s) + same(6, 3, s), "groups": 3},
                       lambda x, g: tf.nn.depthwise_conv2d(x, f, [1, s, s, 1], "SAME"), 16, 90.0)
    for d in FLOATS:
        for k, s, padding in [(3, 2, "SAME"), (2, 2, "VALID"), (4, 1, "SAME"), (3, 3, "VALID")]:
            x, f = rand((2, 4, 3, 5), d), rand((k, k, 2, 5), d)
            oh, ow = (4 * s, 3 * s) if padding == "SAME" else (3 * s + k, 2 * s + k)
            pads = same(oh, k, s) + same(ow, k, s) if padding == "SAME" else [0] * 4
            w.case("conv2d_transpose", [x, f], {"strides": [s, s], "pads": pads, "output_shape": [2, oh, ow, 2]},
                   lambda x, f: tf.nn.conv2d_transpose(x, f, [2, oh, ow, 2], s, padding), 16, 90.0)
    x, f, b = rand((1, 3, 3, 2)), rand((3, 3, 4, 2)), rand((4,))
    w.case("conv2d_transpose", [x, f, b], {"strides": [2, 2], "pads": [0, 1, 0, 1], "output_shape": [1, 6, 6, 4], "act": "relu"},
           lambda x, f, b: tf.nn.relu(tf.nn.conv2d_transpose(x, f, [1, 6, 6, 4], 2, "SAME") + b), 16, 90.0)
    for h, k, s, padding in [(8, 2, 2, "VALID"), (7, 3, 2, "SAME"), (5, 3, 1, "SAME"), (6, 5, 3, "VALID")]:
        pads = same(h, k, s) * 2 if padding == "SAME" else [0] * 4
        attrs = {"ksize": [k, k], "strides": [s, s], "pads": pads}
        window = dict(ksize=[1, k, k, 1], strides=[1, s, s, 1], padding=padding)
        for d in FLOATS + ["int8", "int16", "int32", "int64", "uint8", "uint16"]:
            x = rand((2, h, h, 3), d)
            w.case("pool", [x], {"kind": "max", **attrs}, lambda x: R.MaxPool(input=x, **window))
            if d in FLOATS:
                w.case("pool", [x], {"kind": "avg", **attrs}, lambda x: R.AvgPool(value=x, **window), 16, 3.0)
    resizable = FLOATS + ["int8", "int16", "int32", "int64", "uint8", "uint16"]
    for size in [(5, 9), (2, 3), (1, 1), (4, 4), (13, 2)]:
        for corners, half in [(False, False), (True, False), (False, True)]:
            attrs = {"size": list(size), "align_corners": corners, "half_pixel": half}
            options = dict(size=size, align_corners=corners, half_pixel_centers=half)
            for d in resizable if size == (5, 9) else ["float32"]:
                x = rand((2, 4, 5, 3), d)
                w.case("resize", [x], {"kind": "bilinear", **attrs}, lambda x: R.ResizeBilinear(images=x, **options), 16, 3.0)
                w.case("resize", [x], {"kind": "nearest", **attrs}, lambda x: R.ResizeNearestNeighbor(images=x, **options))
    w.case("resize", [rand((1, 0, 2, 1))], {"kind": "bilinear", "size": [2, 2]}, "error")
    for d in ALL:
        w.case("depth_to_space", [rand((2, 3, 2, 12), d)], {"block": 2}, lambda x: R.DepthToSpace(input=x, block_size=2))
        w.case("space_to_depth", [rand((2, 6, 3, 2), d)], {"block": 3}, lambda x: R.SpaceToDepth(input=x, block_size=3))


def product_cases(w):
    for d in FLOATS + ["int32", "int64"]:
        for a, b, ta, tb in [((3, 4), (4, 5), False, False), ((4, 3), (4, 5), True, False), ((3, 4), (5, 4), False, True),
                             ((2, 1, 3, 4), (5, 4, 2), False, False), ((2, 4, 3), (2, 5, 4), True, True),
                             ((0, 4), (4, 5), False, False), ((3, 0), (0, 5), False, False), ((1, 130), (130, 17), False, False)]:
            w.case("matmul", [rand(a, d), rand(b, d)], {"transpose_a": ta, "transpose_b": tb},
                   lambda x, y: tf.matmul(x, y, transpose_a=ta, transpose_b=tb), 16, 9.0 * a[-1] + 1)
    w.case("matmul", [rand((3, 4)), rand((4, 5)), rand((5,)), rand((3, 5))], {"act": "tanh"},
           lambda a, b, c, r: tf.tanh(a @ b + c + r), 64)
    for d in ["float32", "float64"]:
        q, k, v = rand((2, 5, 3, 8), d, -1, 1), rand((2, 7, 3, 8), d, -1, 1), rand((2, 7, 3, 6), d, -1, 1)

        def attention(q, k, v, bias=None):
            scores = tf.einsum("bqhd,bkhd->bhqk", q, k) * tf.constant(0.35, q.dtype)
            scores = scores if bias is None else scores + tf.cast(bias, q.dtype)
            return tf.einsum("bhqk,bkhd->bqhd", tf.nn.softmax(scores), v)

        w.case("attention", [q, k, v], {"scale": 0.35}, attention, 32)
        for mask in [(2, 1, 1, 7), (5, 7), (2, 3, 5, 7)]:
            w.case("attention", [q, k, v, rand(mask)], {"scale": 0.35}, attention, 32)
        keep = rand((2, 1, 1, 7), "bool")
        w.case("attention", [q, k, v, keep], {"scale": 0.35},
               lambda q, k, v, m: attention(q, k, v, tf.where(m, 0.0, -1e9)), 32)


def normalize_cases(w):
    for d in ["float32", "float16", "bfloat16"]:
        x, p = rand((2, 3, 4, 5), d), [rand((5,)), rand((5,)), rand((5,)), rand((5,), lo=0.1)]
        w.case("batch_norm", [x] + p, {"epsilon": 0.001},
               lambda x, s, o, m, v: R.FusedBatchNormV3(x=x, scale=s, offset=o, mean=m, variance=v, epsilon=0.001, is_training=False).y,
               16, 20.0)

    def layer_norm(x, g=None, b=None, eps=1e-5):
        mean, var = tf.nn.moments(x, -1, keepdims=True)
        y = (x - mean) / tf.sqrt(var + tf.constant(eps, x.dtype))
        return (y if g is None else y * g) + (0 if b is None else b)

    for d in ["float32", "float64"]:
        x, g, b, r = rand((3, 4, 19), d), rand((19,), d), rand((19,), d), rand((3, 4, 19), d)
        w.case("layer_norm", [x], {"epsilon": 1e-5}, layer_norm, 32)
        w.case("layer_norm", [x, g, b], {"epsilon": 1e-5}, layer_norm, 32, 4.0)
        w.case("layer_norm", [x, g, b, r], {"epsilon": 1e-5}, lambda x, g, b, r: layer_norm(x + r, g, b), 32, 4.0)
    for d in FLOATS:
        for shape in [(3, 17), (2, 2, 5), (4, 1), (0, 4), (7,)]:
            w.case("softmax", [rand(shape, d, -20, 20)], {}, lambda x: tf.nn.softmax(x), 16)
            w.case("log_softmax", [rand(shape, d, -20, 20)], {}, lambda x: tf.nn.log_softmax(x), 16, 20.0)
    w.case("softmax", [np.array([[-np.inf, -np.inf], [-np.inf, 2]], "float32")], {},
           lambda x: tf.nn.softmax(x), 8)


def reduce_cases(w):
    kinds = {"sum": tf.reduce_sum, "mean": tf.reduce_mean, "max": tf.reduce_max, "min": tf.reduce_min, "prod": tf.reduce_prod}
    for kind, f in kinds.items():
        for d in FLOATS + INTS:
            for shape, axes, keep in [((3, 4, 5), [1], False), ((3, 4, 5), [0, 2], True), ((17,), [0], False), ((2, 0), [1], False),
                                      ((2, 3), [], False), ((2, 3, 2, 2), [0, 1, 2, 3], False)]:
                x = rand(shape, d, -2, 2)
                if kind == "mean" and d in INTS and 0 in shape:
                    continue  # integer division by zero in TensorFlow
                w.case("reduce", [x], {"kind": kind, "axes": axes, "keepdims": keep}, lambda x: f(x, axes, keep), 32, 8.0)
    x = np.array([[np.nan, 1, 2], [3, 4, np.inf], [-np.inf, 0, -0.0]], "float32")
    for kind, f in kinds.items():
        w.case("reduce", [x], {"kind": kind, "axes": [1]}, lambda x: f(x, 1))
    for shape, axes in [((3, 4), [0]), ((0, 4), [0]), ((5,), [0])]:
        w.case("reduce", [rand(shape, "bool")], {"kind": "any", "axes": axes}, lambda x: tf.reduce_any(x, axes))
        w.case("reduce", [rand(shape, "bool")], {"kind": "all", "axes": axes}, lambda x: tf.reduce_all(x, axes))
    for d in ALL:
        for axis in (0, 1, 2):
            x = rand((3, 5, 4), d, 0, 3)
            w.case("arg_reduce", [x], {"kind": "max", "axis": axis, "dtype": tf.int64}, lambda x: tf.argmax(x, axis))
            w.case("arg_reduce", [x], {"kind": "min", "axis": axis, "dtype": tf.int32},
                   lambda x: tf.argmin(x, axis, output_type=tf.int32))
    w.case("arg_reduce", [rand((0, 2))], {"kind": "max", "axis": 0, "dtype": tf.int64}, "error")
    w.case("arg_reduce", [rand((0, 2))], {"kind": "max", "axis": 1, "dtype": tf.int64}, lambda x: tf.argmax(x, 1))
    for d in FLOATS + INTS:
        for k in (0, 1, 4, 9):
            x = np.round(rand((3, 9), d)) if d in FLOATS else rand((3, 9), d)
            w.case("top_k", [x], {"k": k}, lambda x: list(tf.math.top_k(x, k)))
        for exclusive in (False, True):
            for reverse in (False, True):
                x = np.round(rand((3, 5, 2), d, -2, 2)) if d in FLOATS else rand((3, 5, 2), d, -2, 2)
                attrs = {"axis": 1, "exclusive": exclusive, "reverse": reverse}
                w.case("cumulative", [x], {"kind": "sum", **attrs}, lambda x: tf.cumsum(x, 1, exclusive, reverse))
                w.case("cumulative", [x], {"kind": "prod", **attrs}, lambda x: tf.math.cumprod(x, 1, exclusive, reverse))


def movement_cases(w):
    for d in ALL:
        x = rand((2, 3, 4), d)
        w.case("reshape", [x], {"shape": [4, 6]}, lambda x: tf.reshape(x, [4, 6]))
        w.case("transpose", [x], {"perm": [2, 0, 1]}, lambda x: tf.transpose(x, [2, 0, 1]))
        w.case("broadcast", [rand((3, 1), d)], {"shape": [2, 3, 4]}, lambda x: tf.broadcast_to(x, [2, 3, 4]))
        w.case("concat", [x, rand((2, 0, 4), d), rand((2, 5, 4), d)], {"axis": 1}, lambda *t: tf.concat(t, 1))
        w.case("slice", [x], {"begin": [0, 2, 1], "size": [2, 3, 2], "strides": [1, -1, 2]}, lambda x: x[:, 2::-1, 1::2])
        w.case("slice", [x], {"begin": [1, 0, 0], "size": [1, 3, 0]}, lambda x: x[1:, :, 0:0])
        if d != "uint16":
            w.case("tile", [x], {"reps": [1, 3, 2]}, lambda x: tf.tile(x, [1, 3, 2]))
        value = True if d == "bool" else 3
        w.case("pad", [x], {"lo": [0, 1, 2], "hi": [1, 0, 3], "value": float(value)},
               lambda x: tf.pad(x, [[0, 1], [1, 0], [2, 3]], constant_values=tf.constant(value, x.dtype)))
        w.case("pad", [x], {"lo": [0, 2, 3], "hi": [1, 0, 1], "mode": "reflect"}, lambda x: tf.pad(x, [[0, 1], [2, 0], [3, 1]], "REFLECT"))
        w.case("pad", [x], {"lo": [2, 1, 4], "hi": [0, 3, 0], "mode": "symmetric"},
               lambda x: tf.pad(x, [[2, 0], [1, 3], [4, 0]], "SYMMETRIC"))
        for i in ("int32", "int64"):
            index = rng.integers(0, 3, (2, 5)).astype(i)
            w.case("gather", [x, index], {"axis": 1}, lambda x, i: tf.gather(x, i, axis=1))
            w.case("gather", [x, index], {"axis": 1, "batch_dims": 1}, lambda x, i: tf.gather(x, i, axis=1, batch_dims=1))
            w.case("gather", [x, np.array(2, i)], {"axis": 2}, lambda x, i: tf.gather(x, i, axis=2))
            w.case("gather", [x, np.array([-3, 2, -1, 0], i)], {"axis": 1, "wrap": True}, lambda x, i: tf.gather(x, tf.where(i < 0, i + 3, i), axis=1))
            pairs = np.stack([rng.integers(0, 2, (5,)), rng.integers(0, 3, (5,))], -1).astype(i)
            w.case("gather_nd", [x, pairs], {}, tf.gather_nd)
            w.case("gather_nd", [x, rng.integers(0, 3, (2, 4, 1)).astype(i)], {"batch_dims": 1},
                   lambda x, i: tf.gather_nd(x, i, batch_dims=1))
        w.case("one_hot", [np.array([[0, 3, -1], [4, 2, 1]])], {"depth": 4, "axis": 1, "on": 1.0, "off": 0.0, "dtype": tf.as_dtype(d)},
               lambda i: tf.one_hot(i, 4, tf.constant(1, d) if d != "bool" else True, tf.constant(0, d) if d != "bool" else False, axis=1))
    for i in ("int8", "uint8", "int32", "int64"):
        w.case("one_hot", [np.array([0, 2, 7], i)], {"depth": 3, "axis": 1, "on": 2.5, "off": -1.0, "dtype": tf.float32},
               lambda i: tf.one_hot(i, 3, 2.5, -1.0))
    x = rand((3, 2))
    for bad in (-1, 3):
        w.case("gather", [x, np.array([0, bad])], {"axis": 0}, "error")
        w.case("gather", [x, np.array([0, bad - 3 if bad < 0 else bad])], {"axis": 0, "wrap": True}, "error")
        w.case("gather_nd", [x, np.array([[0], [bad]])], {}, "error")
    w.case("gather", [x, np.zeros((0,), "int32")], {"axis": 0}, lambda x, i: tf.gather(x, i))
    w.case("gather_nd", [x, np.zeros((4, 0), "int32")], {}, tf.gather_nd)
    w.case("reshape", [rand((1, 1))], {"shape": []}, lambda x: tf.reshape(x, []))
    w.case("transpose", [rand(())], {"perm": []}, lambda x: tf.transpose(x, []))
    w.case("transpose", [rand((0, 3))], {"perm": [1, 0]}, tf.transpose)
    w.case("tile", [rand((2, 0))], {"reps": [2, 2]}, lambda x: tf.tile(x, [2, 2]))
    w.case("concat", [rand((3,))], {"axis": 0}, lambda x: tf.identity(x))
    for d in ("int32", "int64", "float32"):
        w.case("dims", [], {"values": [3, 0, 7], "dtype": tf.as_dtype(d), "shape": [3]}, lambda: tf.constant([3, 0, 7], d))
        w.case("dims", [], {"values": [5], "dtype": tf.as_dtype(d), "shape": []}, lambda: tf.constant(5, d))
        w.case("range", [], {"start": 3, "size": 4, "delta": -2, "dtype": tf.as_dtype(d)},
               lambda: tf.range(tf.constant(3, d), tf.constant(-5, d), tf.constant(-2, d)))


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    w = Writer(folder)
    for cases in (unary_cases, fake_quant_cases, binary_cases, cast_cases, image_cases, product_cases, normalize_cases, reduce_cases, movement_cases):
        cases(w)
    print(f"{w.count} cases")


if __name__ == "__main__":
    main()
