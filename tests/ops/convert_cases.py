# SPDX-License-Identifier: Apache-2.0
"""Writes the cases of the converters' conformance test. Usage: convert_cases.py OUT"""
import itertools
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np
import tensorflow as tf

from case_file import Arg, CaseFile

raw = tf.raw_ops
f = CaseFile()
rng = np.random.default_rng(7)


def const(*shape, dtype="float32", scale=1.0):
    return tf.constant(rng.normal(size=shape).astype(dtype) * scale)


def ints(*values, dtype="int32"):
    return tf.constant(values, dtype=dtype)


# --- convolutions -------------------------------------------------------------------------------------------------
def weights(*shape):
    return (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype("float32")


def conv(name, x, filter_shape, op=raw.Conv2D, expect=None, runs=None, **attrs):
    w = weights(*filter_shape)
    attrs = {"strides": [1, 1, 1, 1], "padding": "SAME", **attrs}
    f.add(name, lambda v: op(input=v, filter=tf.constant(w), **attrs), [x], expect=expect, runs=runs)


image = Arg(None, 9, 11, 6)
for pad, s, d, k in itertools.product(["SAME", "VALID"], [1, 2, 3], [1, 2], [1, 2, 3]):
    if d > 1 and (s > 1 or k == 1):
        continue
    conv(f"conv_{pad}_s{s}_d{d}_k{k}", image, [k, k, 6, 5], padding=pad, strides=[1, s, s, 1], dilations=[1, d, d, 1])
conv("conv_uneven", image, [3, 2, 6, 4], strides=[1, 2, 1, 1])
conv("conv_dilated_uneven", image, [3, 2, 6, 4], dilations=[1, 1, 3, 1])
conv("conv_strided_dilated", image, [3, 3, 6, 4], strides=[1, 2, 2, 1], dilations=[1, 2, 2, 1], padding="VALID")
conv("conv_explicit", image, [3, 3, 6, 4], padding="EXPLICIT", explicit_paddings=[0, 0, 1, 2, 3, 0, 0, 0])
conv("conv_groups", image, [3, 3, 3, 4])
conv("conv_groups_6", image, [3, 3, 1, 12], strides=[1, 2, 2, 1])
conv("conv_open_size", Arg(None, None, None, 3), [3, 3, 3, 4], strides=[1, 2, 2, 1],
     runs=[[[1, 8, 9, 3]], [[2, 5, 4, 3]], [[1, 1, 1, 3]]])
conv("conv_open_size_valid", Arg(None, None, 7, 3), [3, 3, 3, 4], padding="VALID", runs=[[[1, 8, 7, 3]], [[2, 3, 7, 3]]])
for s, m in itertools.product([1, 2], [1, 3]):
    conv(f"depthwise_s{s}_m{m}", image, [3, 3, 6, m], op=raw.DepthwiseConv2dNative, strides=[1, s, s, 1])
conv("depthwise_valid", image, [2, 3, 6, 1], op=raw.DepthwiseConv2dNative, padding="VALID")
conv("depthwise_dilated", image, [3, 3, 6, 2], op=raw.DepthwiseConv2dNative, dilations=[1, 2, 2, 1])
conv("depthwise_explicit", image, [3, 3, 6, 1], op=raw.DepthwiseConv2dNative, padding="EXPLICIT",
     explicit_paddings=[0, 0, 0, 1, 2, 1, 0, 0])
kernel = f.variable(weights(3, 3, 6, 4))
f.add("conv_variable", lambda x: tf.nn.conv2d(x, kernel, 2, "SAME"), [image])
f.add("conv_filter_computed", lambda x: tf.nn.conv2d(x, tf.nn.l2_normalize(kernel, axis=[0, 1, 2]), 1, "SAME"), [image])
f.add("conv_filter_is_input", lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), [image, Arg(3, 3, 6, 2)],
      expect="not-constant")
f.add("conv_half", lambda x: tf.nn.conv2d(x, tf.cast(kernel, tf.float16), 1, "SAME"), [Arg(None, 5, 5, 6, dtype="float16")],
      expect="dtype")
for s, pad, k in itertools.product([1, 2, 3], ["SAME", "VALID"], [2, 3]):
    w = weights(k, k, 5, 6)
    size = lambda n: n * s if pad == "SAME" else n * s + max(k - s, 0)
    f.add(f"conv_transpose_{pad}_s{s}_k{k}",
          lambda x, w=w, s=s, pad=pad, size=size: tf.nn.conv2d_transpose(
              x, tf.constant(w), [tf.shape(x)[0], size(4), size(7), 5], s, pad), [Arg(None, 4, 7, 6)])
w_t = weights(3, 3, 5, 6)
f.add("conv_transpose_smaller", lambda x: tf.nn.conv2d_transpose(x, tf.constant(w_t), [tf.shape(x)[0], 7, 13, 5], 2, "SAME"),
      [Arg(None, 4, 7, 6)])
f.add("conv_transpose_open", lambda x: tf.nn.conv2d_transpose(
    x, tf.constant(w_t), tf.stack([tf.shape(x)[0], tf.shape(x)[1] * 2, tf.shape(x)[2] * 2, 5]), 2, "SAME"),
      [Arg(None, None, None, 6)], runs=[[[1, 4, 7, 6]], [[2, 3, 3, 6]]])
f.add("conv_transpose_explicit", lambda x: raw.Conv2DBackpropInput(
    input_sizes=tf.stack([tf.shape(x)[0], 7, 13, 5]), filter=tf.constant(w_t), out_backprop=x, strides=[1, 2, 2, 1],
    padding="EXPLICIT", explicit_paddings=[0, 0, 1, 1, 0, 2, 0, 0]), [Arg(None, 4, 7, 6)])
f.add("bias_add", lambda x: tf.nn.bias_add(x, const(6)), [image])
f.add("bias_add_2d", lambda x: tf.nn.bias_add(x, const(6)), [Arg(None, 6)])
f.add("bias_add_nchw", lambda x: tf.nn.bias_add(x, const(9), data_format="NCHW"), [image])
f.add("bias_add_ncw", lambda x: raw.BiasAdd(value=x, bias=const(5), data_format="NCHW"), [Arg(None, 5, 4)])


# --- channels first: computed by transposing around the NHWC op ---------------------------------------------------
def nchw(name, op, **attrs):
    """op(x, data_format, place) for x [N,C,H,W]; place(h, w) puts two numbers into a list of four for that format."""
    last = lambda x: tf.transpose(op(tf.transpose(x, [0, 2, 3, 1]), "NHWC", lambda h, w: [1, h, w, 1]), [0, 3, 1, 2])
    f.add(name, lambda x: op(x, "NCHW", lambda h, w: [1, 1, h, w]), [Arg(None, 6, 9, 11)], reference=last, **attrs)


w_nchw, w_depth = weights(3, 2, 6, 4), weights(3, 3, 6, 2)
for pad in ["SAME", "VALID"]:
    nchw(f"conv_nchw_{pad}", lambda x, d, p, pad=pad: raw.Conv2D(
        input=x, filter=tf.constant(w_nchw), strides=p(2, 1), padding=pad, data_format=d))
    nchw(f"maxpool_nchw_{pad}", lambda x, d, p, pad=pad: raw.MaxPool(
        input=x, ksize=p(3, 2), strides=p(2, 1), padding=pad, data_format=d))
    nchw(f"avgpool_nchw_{pad}", lambda x, d, p, pad=pad: raw.AvgPool(
        value=x, ksize=p(3, 2), strides=p(2, 1), padding=pad, data_format=d))
nchw("conv_nchw_dilated", lambda x, d, p: raw.Conv2D(
    input=x, filter=tf.constant(w_nchw), strides=p(1, 1), dilations=p(1, 3), padding="SAME", data_format=d))
nchw("conv_nchw_explicit", lambda x, d, p: raw.Conv2D(
    input=x, filter=tf.constant(w_nchw), strides=p(1, 1), padding="EXPLICIT", data_format=d,
    explicit_paddings=[0, 0, 1, 2, 3, 0, 0, 0] if d == "NHWC" else [0, 0, 0, 0, 1, 2, 3, 0]))
nchw("depthwise_nchw", lambda x, d, p: raw.DepthwiseConv2dNative(
    input=x, filter=tf.constant(w_depth), strides=p(2, 2), padding="SAME", data_format=d))
nchw("depth_to_space_nchw", lambda x, d, p: raw.DepthToSpace(input=tf.concat([x, x + 1.0], 1 if d == "NCHW" else 3), block_size=2, data_format=d))

# --- pooling ------------------------------------------------------------------------------------------------------
for kind, pad, s, k in itertools.product(["MaxPool", "AvgPool"], ["SAME", "VALID"], [1, 2, 3], [1, 2, 3]):
    pool = getattr(raw, kind)
    f.add(f"{kind}_{pad}_s{s}_k{k}".lower(),
          lambda x, pool=pool, kind=kind, pad=pad, s=s, k=k: pool(
              **{"input" if kind == "MaxPool" else "value": x}, ksize=[1, k, k, 1], strides=[1, s, s, 1], padding=pad),
          [image])
f.add("maxpool_uneven", lambda x: tf.nn.max_pool2d(x, [2, 3], [2, 1], "SAME"), [image])
f.add("maxpool_explicit", lambda x: tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 0], [1, 1], [0, 0]]), [image])
f.add("maxpool_open", lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"), [Arg(None, None, None, 2)],
      runs=[[[1, 7, 8, 2]], [[2, 5, 4, 2]]])
f.add("avgpool_open", lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"), [Arg(None, None, None, 2)],
      runs=[[[1, 7, 8, 2]], [[2, 5, 4, 2]]])
f.add("maxpool_v2", lambda x: raw.MaxPoolV2(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"), [image])
f.add("maxpool_negative", lambda x: tf.nn.max_pool2d(x - 10.0, 3, 1, "SAME"), [image])
f.add("maxpool_depth", lambda x: raw.MaxPool(input=x, ksize=[1, 1, 1, 2], strides=[1, 1, 1, 2], padding="VALID"), [image],
      expect="attribute")

# --- products -----------------------------------------------------------------------------------------------------
for ta, tb in itertools.product([False, True], repeat=2):
    b = const(*((5, 7) if tb else (7, 5)))
    f.add(f"matmul_{ta:d}{tb:d}", lambda x, b=b, ta=ta, tb=tb: raw.MatMul(a=x, b=b, transpose_a=ta, transpose_b=tb),
          [Arg(7, 4) if ta else Arg(None, 7)])
    f.add(f"batch_matmul_{ta:d}{tb:d}",
          lambda x, y, ta=ta, tb=tb: raw.BatchMatMulV2(x=x, y=y, adj_x=ta, adj_y=tb),
          [Arg(None, 2, 7, 4) if ta else Arg(None, 2, 4, 7), Arg(None, 2, 5, 7) if tb else Arg(None, 2, 7, 5)])
f.add("matmul_two_inputs", lambda x, y: x @ y, [Arg(None, 4), Arg(4, 3)])
f.add("batch_matmul_v1", lambda x, y: raw.BatchMatMul(x=x, y=y), [Arg(None, 3, 4), Arg(None, 4, 5)])
f.add("batch_matmul_v3", lambda x, y: raw.BatchMatMulV3(x=x, y=y, Tout=tf.float32), [Arg(None, 3, 4), Arg(None, 4, 5)])
f.add("batch_matmul_broadcast", lambda x, y: raw.BatchMatMulV2(x=x, y=y), [Arg(None, 2, 3, 4), Arg(2, 4, 5)])
f.add("batch_matmul_broadcast_ones", lambda x, y: raw.BatchMatMulV2(x=x, y=y), [Arg(None, 1, 3, 4), Arg(1, 5, 4, 2)])
EINSUMS = [
    ("abc,cd->abd", (None, 3, 4), (4, 5)), ("abc,cde->abde", (None, 3, 4), (4, 2, 5)),
    ("abcd,cde->abe", (None, 3, 2, 5), (2, 5, 4)), ("aecd,abcd->acbe", (None, 3, 2, 5), (None, 4, 2, 5)),
    ("acbe,aecd->abcd", (None, 2, 4, 3), (None, 3, 2, 5)), ("BTNH,BFNH->BNFT", (None, 3, 2, 5), (None, 4, 2, 5)),
    ("BNFT,BTNH->BFNH", (None, 2, 4, 3), (None, 3, 2, 5)), ("ij,jk->ik", (None, 3), (3, 4)),
    ("ij,kj->ik", (None, 3), (4, 3)), ("ji,jk->ik", (3, 2), (3, 4)), ("ij,ij->ij", (None, 3), (None, 3)),
    ("ij,ij->i", (None, 3), (None, 3)), ("ij,ij->", (None, 3), (None, 3)), ("i,j->ij", (3,), (4,)),
    ("i,i->", (3,), (3,)), ("ij->ji", (None, 3), None), ("ijk->j", (None, 3, 4), None), ("ij->", (None, 3), None),
    ("...ij,...jk->...ik", (None, 2, 3, 4), (None, 2, 4, 5)), ("...ij,jk->...ik", (None, 2, 3, 4), (4, 5)),
    ("b...,b...->b...", (None, 3, 4), (None, 3, 4)), ("...a,ab->...b", (None, 3, 4), (4, 5)),
    ("abc,ad->dbc", (None, 3, 4), (None, 5)), ("abc,adc->abd", (None, 3, 4), (None, 5, 4)),
    ("abc,adc->adb", (None, 3, 4), (None, 5, 4)), ("abc,bd->acd", (None, 3, 4), (3, 5)),
    ("abcd,bd->ac", (None, 3, 4, 5), (3, 5)), ("abc,dc->bad", (None, 3, 4), (5, 4)),
    ("abc,dcb->ad", (None, 3, 4), (5, 4, 3)), ("bhwc,hkc->bhwk", (None, 3, 4, 5), (3, 2, 5)),
    ("abij,abjk->baki", (None, 2, 3, 4), (None, 2, 4, 5)), ("...ij->...ji", (None, 2, 3), None),
]
for n, (equation, a, b) in enumerate(EINSUMS):
    args = [Arg(*a)] + ([Arg(*b)] if b else [])
    f.add(f"einsum_{n}", lambda *x, e=equation: raw.Einsum(inputs=list(x), equation=e), args)
f.add("einsum_broadcast", lambda x, y: raw.Einsum(inputs=[x, y], equation="...ij,...jk->...ik"),
      [Arg(None, 1, 3, 4), Arg(1, 5, 4, 2)])
f.add("einsum_diagonal", lambda x: raw.Einsum(inputs=[x], equation="ii->i"), [Arg(3, 3)], expect="attribute")
f.add("einsum_open", lambda x, y: raw.Einsum(inputs=[x, y], equation="abc,cde->abde"), [Arg(None, None, 4), Arg(4, 2, 5)],
      runs=[[[1, 3, 4], [4, 2, 5]], [[2, 6, 4], [4, 2, 5]]])

# --- elementwise --------------------------------------------------------------------------------------------------
UNARIES = {
    "Abs": "n", "Acos": "u:-1:1", "Acosh": "u:1:4", "Asin": "u:-1:1", "Asinh": "n", "Atan": "n", "Atanh": "u:-0.9:0.9",
    "Ceil": "u:-4:4", "Cos": "n", "Cosh": "n", "Elu": "n", "Erf": "n", "Erfc": "n", "Exp": "n", "Expm1": "n",
    "Floor": "u:-4:4", "Inv": "u:0.2:3", "Log": "u:0.1:4", "Log1p": "u:-0.9:4", "Neg": "n", "Reciprocal": "u:0.2:3",
    "Relu": "n", "Relu6": "u:-3:9", "LeakyRelu": "n", "Rint": "u:-4:4", "Round": "u:-4:4", "Rsqrt": "u:0.1:4", "Selu": "n",
    "Sigmoid": "n", "Sign": "n", "Sin": "n", "Sinh": "n", "Softplus": "u:-30:30", "Softsign": "n", "Sqrt": "u:0:4",
    "Square": "n", "Tan": "u:-1.2:1.2", "Tanh": "n"}
KEYS = {"Relu": "features", "Relu6": "features", "Elu": "features", "Selu": "features", "Softplus": "features",
        "Softsign": "features", "LeakyRelu": "features"}
for name, gen in UNARIES.items():
    op = getattr(raw, name)
    f.add(f"unary_{name}".lower(), lambda x, op=op, key=KEYS.get(name, "x"): op(**{key: x}), [Arg(None, 5, 7, gen=gen)])
for name in ["Round", "Rint"]:
    f.add(f"unary_{name}_halves".lower(), lambda x, op=getattr(raw, name): op(x=tf.cast(x, tf.float32) * 0.5),
          [Arg(None, 9, dtype="int32")])
for name in ["Abs", "Neg", "Sign", "Square"]:
    f.add(f"unary_{name}_int".lower(), lambda x, op=getattr(raw, name): op(x=x), [Arg(None, 70, dtype="int32")])
specials = tf.constant([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5], tf.float32)
for name in ["IsNan", "IsInf", "IsFinite"]:
    f.add(f"unary_{name}".lower(), lambda x, op=getattr(raw, name): op(x=x + specials), [Arg(None, 6)])
f.add("leaky_relu_alpha", lambda x: tf.nn.leaky_relu(x, 0.3), [Arg(None, 9)])
f.add("logical_not", lambda x: tf.logical_not(x), [Arg(None, 5, dtype="bool")])

PAIRS = [((None, 3, 4), (None, 3, 4)), ((None, 3, 4), (4,)), ((None, 3, 4), (3, 1)), ((4,), (None, 3, 4)), ((None, 3, 4), ()),
         ((None, 1, 4), (1, 3, 1))]
BINARIES = ["Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "Maximum", "Minimum", "SquaredDifference", "FloorDiv", "FloorMod",
            "DivNoNan", "MulNoNan", "Atan2", "Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual"]
for name in BINARIES:
    for n, (a, b) in enumerate(PAIRS if name in ("AddV2", "Mul") else PAIRS[:2]):
        op = getattr(raw, name)
        keys = ("y", "x") if name == "Atan2" else ("x", "y")
        # Quarters make equal elements likely and quotients exact.
        quarter = lambda v: tf.round(v * 2.0) / 4.0
        f.add(f"binary_{name}_{n}".lower(),
              lambda x, y, op=op, keys=keys: op(**dict(zip(keys, (quarter(x), quarter(y) if op not in (raw.FloorDiv, raw.FloorMod, raw.RealDiv, raw.Div) else quarter(y) + 9.5)))),
              [Arg(*a), Arg(*b)])
f.add("binary_pow", lambda x, y: raw.Pow(x=x, y=y), [Arg(None, 5, gen="u:0.1:3"), Arg(None, 5)])
f.add("binary_div_no_nan_zero", lambda x, y: raw.DivNoNan(x=x, y=tf.maximum(y, 0.0)), [Arg(None, 50), Arg(None, 50)])
for name, dtype in itertools.product(["AddV2", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference", "Less", "Equal"],
                                     ["int32", "int64"]):
    f.add(f"binary_{name}_{dtype}".lower(), lambda x, y, op=getattr(raw, name): op(x=x, y=y),
          [Arg(None, 70, dtype=dtype), Arg(70, dtype=dtype)])
for name in ["FloorDiv", "FloorMod", "TruncateDiv", "TruncateMod", "Div", "Mod"]:
    for divisor in [3, -3]:
        f.add(f"binary_{name}_int_{'neg' if divisor < 0 else 'pos'}".lower(),
              lambda x, op=getattr(raw, name), d=divisor: op(x=x, y=tf.constant(d)), [Arg(None, 70, dtype="int32")])
f.add("binary_int_by_input", lambda x, y: raw.FloorDiv(x=x, y=y), [Arg(None, 7, dtype="int32"), Arg(None, 7, dtype="int32", gen="i:1:5")],
      expect="not-constant")
for name in ["LogicalAnd", "LogicalOr"]:
    f.add(f"binary_{name}".lower(), lambda x, y, op=getattr(raw, name): op(x=x, y=y), [Arg(None, 5, dtype="bool"), Arg(5, dtype="bool")])
f.add("binary_double", lambda x, y: x * y + 1.0, [Arg(None, 5, dtype="float64"), Arg(5, dtype="float64")], expect="dtype")
f.add("double_constants", lambda x: x * tf.cast(tf.sqrt(tf.constant([1.0, 2.0], tf.float64)), tf.float32), [Arg(None, 2)])
f.add("add_n", lambda x, y, z: tf.add_n([x, y, z, x]), [Arg(None, 5), Arg(None, 5), Arg(None, 5)])
f.add("clip", lambda x: raw.ClipByValue(t=x, clip_value_min=-0.5, clip_value_max=0.75), [Arg(None, 50)])
f.add("clip_tensor", lambda x, y: raw.ClipByValue(t=x, clip_value_min=y - 0.2, clip_value_max=y + 0.2), [Arg(None, 50), Arg(None, 50)])
f.add("clip_crossed", lambda x: raw.ClipByValue(t=x, clip_value_min=0.75, clip_value_max=-0.5), [Arg(None, 50)])
f.add("clip_int", lambda x: raw.ClipByValue(t=x, clip_value_min=-2, clip_value_max=3), [Arg(None, 70, dtype="int32")])
f.add("select_v2", lambda c, x, y: tf.where(c, x, y), [Arg(None, 3, 1, dtype="bool"), Arg(None, 3, 4), Arg(4)])
f.add("select_scalar", lambda c, x, y: raw.Select(condition=c, x=x, y=y), [Arg(dtype="bool"), Arg(3, 4), Arg(3, 4)])
f.add("select_rows", lambda c, x, y: raw.Select(condition=c, x=x, y=y), [Arg(None, dtype="bool"), Arg(None, 4), Arg(None, 4)])
f.add("select_same", lambda c, x, y: raw.Select(condition=c, x=x, y=y), [Arg(None, 4, dtype="bool"), Arg(None, 4), Arg(None, 4)])
for a, b in [("float32", "int32"), ("float32", "int64"), ("int32", "float32"), ("int64", "float32"), ("bool", "float32"),
             ("float32", "bool"), ("int32", "int64"), ("int64", "int32"), ("uint8", "float32"), ("int32", "bool"), ("bool", "int32"),
             ("float32", "float64"), ("float64", "float32"), ("float32", "float16"), ("float16", "float32")]:
    f.add(f"cast_{a}_{b}", lambda x, b=b: tf.cast(x, b), [Arg(None, 70, dtype=a, gen=None if a != "uint8" else "i:0:256")])

# --- reductions and scans -----------------------------------------------------------------------------------------
for name, axes, keep in itertools.product(["Sum", "Mean", "Max", "Min", "Prod"], [[1], [1, 2], [-1], [0, 1, 2, 3], []], [False, True]):
    f.add(f"reduce_{name}_{'_'.join(str(a).replace('-', 'm') for a in axes) or 'none'}_{keep:d}".lower(),
          lambda x, op=getattr(raw, name), axes=axes, keep=keep: op(input=x, axis=tf.constant(axes, tf.int32), keep_dims=keep),
          [Arg(None, 5, 6, 3, gen="u:0.5:1.5")])
f.add("reduce_scalar_axis", lambda x: raw.Sum(input=x, axis=1), [Arg(None, 5)])
f.add("reduce_int64_axes", lambda x: raw.Sum(input=x, axis=ints(1, 0, dtype="int64")), [Arg(None, 5)])
f.add("reduce_int", lambda x: tf.reduce_sum(x, 1), [Arg(None, 70, dtype="int32")])
f.add("reduce_mean_int", lambda x: tf.reduce_mean(x, 1), [Arg(None, 70, dtype="int32")], expect="dtype")
f.add("reduce_all", lambda x: tf.reduce_all(x, 1), [Arg(None, 3, dtype="bool")])
f.add("reduce_any", lambda x: tf.reduce_any(x, [1], keepdims=True), [Arg(None, 3, dtype="bool")])
f.add("reduce_axes_are_input", lambda x, a: raw.Sum(input=x, axis=a), [Arg(2, 3), Arg(1, dtype="int32", gen="i:0:1")], expect="not-constant")
for name, axis, dtype in itertools.product(["ArgMax", "ArgMin"], [0, 1, -1], ["int32", "int64"]):
    f.add(f"{name}_{axis}_{dtype}".lower().replace("-", "m"), lambda x, op=getattr(raw, name), axis=axis, dtype=dtype: op(
        input=x, dimension=axis, output_type=tf.as_dtype(dtype)), [Arg(None, 6, 7)])
f.add("argmax_ties", lambda x: tf.argmax(x, 1), [Arg(None, 70, dtype="int32", gen="i:0:4")])
f.add("argmax_default", lambda x: raw.ArgMax(input=x, dimension=1), [Arg(None, 7)])
f.add("top_k", lambda x: tf.math.top_k(x, 4), [Arg(None, 9)])
f.add("top_k_ties", lambda x: tf.math.top_k(x, 20), [Arg(None, 30, dtype="int32", gen="i:0:4")])
f.add("top_k_3d", lambda x: tf.math.top_k(x, 2)[1], [Arg(None, 3, 9)])
f.add("top_k_int64", lambda x: raw.TopKV2(input=x, k=3, index_type=tf.int64), [Arg(None, 9)])
for name, exclusive, reverse in itertools.product(["Cumsum", "Cumprod"], [False, True], [False, True]):
    f.add(f"{name}_{exclusive:d}{reverse:d}".lower(), lambda x, op=getattr(raw, name), e=exclusive, r=reverse: op(
        x=x, axis=1, exclusive=e, reverse=r), [Arg(None, 5, 2)])
f.add("softmax", tf.nn.softmax, [Arg(None, 7)])
f.add("softmax_4d", tf.nn.softmax, [Arg(None, 2, 3, 7)])
f.add("softmax_large", lambda x: tf.nn.softmax(x * 1000.0), [Arg(None, 7)])
f.add("log_softmax", tf.nn.log_softmax, [Arg(None, 7)])
f.add("log_softmax_large", lambda x: tf.nn.log_softmax(x * 1000.0), [Arg(None, 7)])
f.add("softmax_axis", lambda x: tf.nn.softmax(x, axis=1), [Arg(None, 5, 3)])

# --- normalisation ------------------------------------------------------------------------------------------------
p4 = [np.abs(rng.normal(size=6)).astype("float32") + 0.3 for _ in range(4)]


def batch_norm(x, op=raw.FusedBatchNormV3, channels=None, **attrs):
    scale, offset, mean, variance = [tf.constant(p[:channels]) for p in p4]
    return op(x=x, scale=scale, offset=offset, mean=mean, variance=variance, **attrs)


for name in ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"]:
    f.add(f"{name}".lower(), lambda x, op=getattr(raw, name): batch_norm(x, op, is_training=False, epsilon=1e-3)[0], [image])
nchw("fusedbatchnorm_nchw", lambda x, d, p: batch_norm(x, is_training=False, data_format=d)[0])
nchw("fusedbatchnorm_nchw_training", lambda x, d, p: batch_norm(x, is_training=True, data_format=d)[0])
f.add("fusedbatchnorm_training", lambda x: batch_norm(x, is_training=True, epsilon=1e-3)[0], [image])
f.add("fusedbatchnorm_statistics", lambda x: batch_norm(x, is_training=False)[1], [image], expect="attribute")


def keras2_layer_norm(x):
    """What tf_keras.layers.LayerNormalization emits."""
    shape = tf.shape(x)
    pre = tf.constant(1)
    for d in [0, 1]:
        pre = pre * shape[d]
    flat = tf.reshape(x, tf.stack([1, pre, shape[2], 1]))
    ones = tf.fill([pre], 1.0)
    zeros = tf.fill([pre], 0.0)
    y = raw.FusedBatchNormV3(x=flat, scale=ones, offset=zeros, mean=tf.constant([], tf.float32),
                             variance=tf.constant([], tf.float32), epsilon=1e-3, data_format="NCHW", is_training=True)[0]
    return tf.reshape(y, shape) * tf.constant(p4[0]) + tf.constant(p4[1])


f.add("keras2_layer_norm", keras2_layer_norm, [Arg(None, 5, 6)])
f.add("keras2_layer_norm_open", keras2_layer_norm, [Arg(None, None, 6)], runs=[[[1, 4, 6]], [[3, 2, 6]]])


# --- shapes -------------------------------------------------------------------------------------------------------
seq = Arg(None, None, 6)
seq_runs = [[[1, 4, 6]], [[3, 5, 6]]]
f.add("shape", tf.shape, [seq], runs=seq_runs)
f.add("shape_int64", lambda x: tf.shape(x, out_type=tf.int64), [seq], runs=seq_runs)
f.add("shape_n", lambda x, y: raw.ShapeN(input=[x, y]), [Arg(None, 4), Arg(3, 2)])
f.add("size", tf.size, [seq], runs=seq_runs)
f.add("rank", lambda x: tf.rank(x) + tf.cast(tf.reduce_sum(x) * 0, tf.int32), [seq], runs=seq_runs)
f.add("reshape_flat", lambda x: tf.reshape(x, [tf.shape(x)[0], -1]), [Arg(None, 3, 4)])
f.add("reshape_minus_one", lambda x: tf.reshape(x, [-1, 12]), [Arg(None, 3, 4)])
f.add("reshape_heads", lambda x: tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], 2, 3]), [seq], runs=seq_runs)
f.add("reshape_heads_minus_one", lambda x: tf.reshape(x, [tf.shape(x)[0], -1, 2, 3]), [seq], runs=seq_runs)
f.add("reshape_merge", lambda x: tf.reshape(x, [-1, 6]), [seq], runs=seq_runs)
f.add("reshape_back", lambda x: tf.reshape(tf.reshape(x, [-1, 6]) * 2.0, tf.shape(x)), [seq], runs=seq_runs)
f.add("reshape_by_input", lambda x, s: tf.reshape(x, s), [Arg(9, 1), Arg(2, dtype="int32", gen="i:3:4")], expect="not-constant")
f.add("dense_tensordot", lambda x: tf.tensordot(x, const(6, 4), [[2], [0]]), [seq], runs=seq_runs)
f.add("keras_group_norm_like", lambda x: tf.reshape(tf.reshape(x, tf.stack([tf.shape(x)[0], 3, 3, 2, 4])), tf.shape(x)),
      [Arg(None, 3, 3, 8)])
f.add("squeeze", lambda x: tf.squeeze(x, [1, -1]), [Arg(None, 1, 4, 1)])
f.add("squeeze_all", lambda x: tf.squeeze(x), [Arg(3, 1, 4, 1)])
f.add("squeeze_all_open", lambda x: tf.squeeze(x), [Arg(None, 1, 4)], expect="unknown-shape")
for axis in [0, 1, -1, -2]:
    f.add(f"expand_dims_{axis}".replace("-", "m"), lambda x, a=axis: tf.expand_dims(x, a), [Arg(None, 4)])
f.add("transpose", lambda x: tf.transpose(x, [0, 3, 1, 2]), [image])
f.add("transpose_int", lambda x: tf.transpose(x, [1, 0]), [Arg(None, 4, dtype="int32")])
f.add("transpose_computed_perm", lambda x: tf.transpose(x), [Arg(None, 3, 4)])
f.add("broadcast_to", lambda x: tf.broadcast_to(x, [tf.shape(x)[0], 3, 4]), [Arg(None, 1, 4)])
f.add("fill", lambda x: tf.fill(tf.shape(x), 2.5) + x, [seq], runs=seq_runs)
f.add("fill_scalar_input", lambda x: tf.fill([2, 70], x), [Arg()])
f.add("zeros_like", lambda x: tf.zeros_like(x) + x, [seq], runs=seq_runs)
f.add("ones_like", lambda x: raw.OnesLike(x=x) - x, [seq], runs=seq_runs)
f.add("ones_like_bool", lambda x: raw.OnesLike(x=x), [Arg(None, 70, dtype="bool")])
f.add("tile", lambda x: tf.tile(x, [1, 3, 2]), [Arg(None, 2, 4)])
f.add("tile_batch", lambda x: tf.tile(const(1, 5), [tf.shape(x)[0], 1]) + x, [Arg(None, 5)])
f.add("range", lambda x: tf.cast(tf.range(tf.shape(x)[1]), tf.float32)[:, None] + x, [seq], runs=seq_runs)
f.add("range_step", lambda x: tf.range(1, tf.shape(x)[1] * 3, 2), [seq], runs=seq_runs)
f.add("range_down", lambda x: tf.range(tf.shape(x)[1], 0, -2), [seq], runs=seq_runs)
f.add("range_const", lambda x: tf.range(100) + x, [Arg(dtype="int32")])
f.add("range_float", lambda x: tf.range(0.5, 3.0, 0.3) + x, [Arg()])
f.add("positions", lambda x: tf.gather(const(9, 6), tf.range(tf.shape(x)[1])) + x, [seq], runs=seq_runs)
f.add("causal_mask", lambda x: tf.cast(tf.range(tf.shape(x)[1])[:, None] >= tf.range(tf.shape(x)[1]), tf.float32), [seq], runs=seq_runs)
f.add("eye_like", lambda x: tf.one_hot(tf.range(tf.shape(x)[1]), tf.shape(x)[1]) @ x, [seq], runs=seq_runs)
f.add("upsample_size", lambda x: tf.image.resize(x, tf.shape(x)[1:3] * [2, 3]), [Arg(None, None, None, 2)],
      runs=[[[1, 3, 4, 2]], [[2, 2, 5, 2]]])
f.add("ensure_shape", lambda x: tf.ensure_shape(x, [None, 4, 6]), [seq], runs=[[[2, 4, 6]]])
f.add("broadcast_by_shape", lambda x, y: tf.broadcast_to(x, tf.shape(y)), [Arg(6), seq], runs=[[[6], [1, 4, 6]], [[6], [3, 5, 6]]])
f.add("prod_of_shape", lambda x: tf.reshape(x, [tf.reduce_prod(tf.shape(x)[:2]), 6]), [seq], runs=seq_runs)
f.add("max_of_shape", lambda x: tf.zeros([tf.maximum(tf.shape(x)[0], 2), 70]), [seq], runs=seq_runs)
f.add("half_of_shape", lambda x: x[:, : tf.shape(x)[1] // 2], [seq], runs=seq_runs)

# --- slices, joins ------------------------------------------------------------------------------------------------
block = Arg(None, 6, 5, 4)
SLICES = {
    "head": lambda x: x[:, 1:3], "end": lambda x: x[:, -2:], "step": lambda x: x[:, ::2], "step_end": lambda x: x[:, 1:-1:2],
    "reverse": lambda x: x[:, ::-1], "reverse_step": lambda x: x[:, 4:0:-2], "reverse_part": lambda x: x[:, -2::-1],
    "index": lambda x: x[:, 2], "index_last": lambda x: x[:, -1], "ellipsis": lambda x: x[..., 1], "ellipsis_2": lambda x: x[0:, ..., 1:3],
    "new_axis": lambda x: x[:, tf.newaxis], "new_axis_mid": lambda x: x[:, 1, tf.newaxis, 2:, tf.newaxis],
    "beyond": lambda x: x[:, 2:100], "empty": lambda x: x[:, 3:2], "batch": lambda x: x[0], "batch_last": lambda x: x[-1],
    "batch_reverse": lambda x: x[::-1], "batch_head": lambda x: x[:2], "batch_step": lambda x: x[::2], "many": lambda x: x[:, 1:4, ::2, -3:-1],
}
for name, fn in SLICES.items():
    f.add(f"strided_slice_{name}", fn, [block])
f.add("strided_slice_masks", lambda x: raw.StridedSlice(input=x, begin=[9, 1, 3], end=[2, 9, 2], strides=[1, 2, -1], begin_mask=1,
                                                        end_mask=3, ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=0), [block])
f.add("strided_slice_open", lambda x: x[:, 1:-1], [seq], runs=seq_runs)
f.add("strided_slice_open_cls", lambda x: x[:, 0], [seq], runs=seq_runs)
f.add("strided_slice_open_last", lambda x: x[:, -1], [seq], runs=seq_runs)
f.add("strided_slice_open_reverse", lambda x: x[:, ::-1], [seq], runs=seq_runs)
f.add("strided_slice_open_step", lambda x: x[:, 1::2], [seq], runs=seq_runs)
f.add("strided_slice_open_crop", lambda x: x[:, :4], [seq], runs=[[[1, 3, 6]], [[2, 9, 6]]])
f.add("strided_slice_by_shape", lambda x: const(1, 9, 6)[:, : tf.shape(x)[1]] + x, [seq], runs=seq_runs)
f.add("strided_slice_by_input", lambda x, n: x[:, :n], [block, Arg(dtype="int32", gen="i:1:3")], expect="not-constant")
f.add("slice", lambda x: tf.slice(x, [0, 1, 2, 0], [-1, 3, 2, -1]), [block])
f.add("slice_open", lambda x: tf.slice(x, [0, 1, 0], [tf.shape(x)[0], -1, 3]), [seq], runs=seq_runs)
f.add("reverse", lambda x: tf.reverse(x, [1, -1]), [block])
f.add("concat", lambda x, y: tf.concat([x, y, x], 1), [Arg(None, 2, 3), Arg(None, 4, 3)])
f.add("concat_last", lambda x, y: tf.concat([x, y], -1), [Arg(None, 2, 3), Arg(None, 2, 5)])
f.add("concat_v1", lambda x, y: raw.Concat(concat_dim=1, values=[x, y]), [Arg(None, 2), Arg(None, 5)])
f.add("concat_tokens", lambda x: tf.concat([tf.tile(const(1, 1, 6), [tf.shape(x)[0], 1, 1]), x], 1), [seq], runs=seq_runs)
for axis in [0, 1, -1]:
    f.add(f"pack_{axis}".replace("-", "m"), lambda x, y, a=axis: tf.stack([x, y], a), [Arg(None, 3), Arg(None, 3)])
    f.add(f"unpack_{axis}".replace("-", "m"), lambda x, a=axis: tf.unstack(x, axis=a), [Arg(2, 3, 4)])
f.add("split", lambda x: tf.split(x, 3, axis=1), [Arg(None, 6, 2)])
f.add("split_one_used", lambda x: tf.split(x, 3, axis=-1)[1], [Arg(None, 2, 6)])
f.add("split_v", lambda x: tf.split(x, [1, 2, -1], axis=1), [Arg(None, 6, 2)])
f.add("pad", lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 3]]), [Arg(None, 4, 3)])
f.add("pad_value", lambda x: tf.pad(x, [[0, 0], [1, 2]], constant_values=-7.5), [Arg(None, 4)])
f.add("pad_int", lambda x: tf.pad(x, [[0, 0], [1, 2]], constant_values=-7), [Arg(None, 70, dtype="int32")])
f.add("pad_reflect", lambda x: tf.pad(x, [[0, 0], [1, 2], [3, 0]], "REFLECT"), [Arg(None, 4, 5)])
f.add("pad_symmetric", lambda x: tf.pad(x, [[0, 0], [4, 2], [3, 0]], "SYMMETRIC"), [Arg(None, 4, 5)])
f.add("pad_image", lambda x: tf.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]]), [image])
f.add("pad_to_multiple", lambda x: tf.pad(x, [[0, 0], [0, (4 - tf.shape(x)[1] % 4) % 4], [0, 0]]), [seq], runs=[[[1, 4, 6]], [[3, 5, 6]]])

# --- gathers ------------------------------------------------------------------------------------------------------
table = const(9, 4)
ids = Arg(None, 5, dtype="int32", gen="i:0:9")
f.add("gather", lambda i: tf.gather(table, i), [ids])
f.add("gather_int64", lambda i: tf.gather(table, i), [Arg(None, 5, dtype="int64", gen="i:0:9")])
f.add("gather_v1", lambda i: raw.Gather(params=table, indices=i), [ids])
embedding = f.variable(rng.normal(size=(9, 4)).astype("float32"))
f.add("embedding", lambda i: tf.nn.embedding_lookup(embedding, i), [ids])
f.add("resource_gather", lambda i: raw.ResourceGather(resource=embedding.handle, indices=i, dtype=tf.float32), [ids])
f.add("gather_axis", lambda x, i: tf.gather(x, i, axis=2), [Arg(None, 2, 9), Arg(3, dtype="int32", gen="i:0:9")])
f.add("gather_batch", lambda x, i: tf.gather(x, i, batch_dims=1), [Arg(None, 9, 3), ids])
f.add("gather_batch_axis", lambda x, i: tf.gather(x, i, axis=2, batch_dims=1), [Arg(None, 2, 9), ids])
f.add("gather_const", lambda x: tf.gather(x, [2, 0, 1, 1], axis=1), [Arg(None, 3)])
f.add("gather_nd", lambda x, i: tf.gather_nd(x, i), [Arg(4, 5, 3), Arg(None, 2, dtype="int32", gen="i:0:4")])
f.add("gather_nd_batch", lambda x, i: tf.gather_nd(x, i, batch_dims=1), [Arg(None, 5, 3), Arg(None, 2, 1, dtype="int32", gen="i:0:5")])
f.add("one_hot", lambda i: tf.one_hot(i, 11), [ids])
f.add("one_hot_axis", lambda i: tf.one_hot(i, 7, 2.5, -1.5, axis=1), [ids])
f.add("one_hot_outside", lambda i: tf.one_hot(i, 3), [Arg(None, 5, dtype="int32", gen="i:-4:8")])
f.add("one_hot_int64", lambda i: tf.one_hot(i, 7, dtype=tf.int32), [Arg(None, 5, dtype="int64", gen="i:0:9")])

# --- images -------------------------------------------------------------------------------------------------------
for name, (align, half), size in itertools.product(["ResizeBilinear", "ResizeNearestNeighbor"],
                                                   [(False, False), (True, False), (False, True)],
                                                   [(18, 22), (7, 5), (9, 11), (1, 1), (13, 30)]):
    f.add(f"{name}_{align:d}{half:d}_{size[0]}".lower(),
          lambda x, op=getattr(raw, name), a=align, h=half, s=size: op(images=x, size=s, align_corners=a, half_pixel_centers=h), [image])
f.add("resize_bilinear_uint8", lambda x: tf.compat.v1.image.resize_bilinear(x, [5, 7]), [Arg(None, 4, 4, 3, dtype="uint8", gen="i:0:256")])
f.add("resize_nearest_uint8", lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [5, 7]), [Arg(None, 4, 4, 3, dtype="uint8", gen="i:0:256")])
f.add("depth_to_space", lambda x: tf.nn.depth_to_space(x, 2), [Arg(None, 3, 4, 8)])
f.add("space_to_depth", lambda x: tf.nn.space_to_depth(x, 2), [Arg(None, 4, 6, 3)])

# --- as older models spell dilated convolutions -------------------------------------------------------------------
f.add("space_to_batch", lambda x: raw.SpaceToBatchND(input=x, block_shape=[2, 3], paddings=[[1, 0], [0, 1]]), [image])
f.add("batch_to_space", lambda x: raw.BatchToSpaceND(input=x, block_shape=[2, 3], crops=[[1, 0], [0, 1]]), [Arg(6, 4, 5, 2)])
f.add("space_to_batch_1d", lambda x: raw.SpaceToBatchND(input=x, block_shape=[2], paddings=[[1, 1]]), [Arg(None, 4, 5)])
f.add("dilated_conv_by_batches", lambda x: raw.BatchToSpaceND(
    input=tf.nn.conv2d(raw.SpaceToBatchND(input=x, block_shape=[2, 2], paddings=[[2, 3], [2, 3]]), tf.constant(w_nchw[:, :, :, :3]), 1, "VALID"),
    block_shape=[2, 2], crops=[[0, 0], [1, 1]]), [image])
f.add("roll", lambda x: tf.roll(x, [2, -3], [1, 2]), [image])

# --- constants that converters need but the graph computes --------------------------------------------------------
f.add("folded_perm", lambda x: tf.transpose(x, tf.range(3)[::-1]), [Arg(None, 3, 4)])
f.add("folded_clip", lambda x: raw.ClipByValue(t=x, clip_value_min=tf.sqrt(0.25) * -1.0, clip_value_max=tf.exp(tf.constant(0.1))), [Arg(None, 50)])
f.add("folded_size", lambda x: tf.image.resize(x, tf.cast(tf.cast(tf.constant([9, 11]), tf.float32) * 1.5, tf.int32)), [image])
f.add("folded_condition", lambda x: tf.reshape(x, tf.where(tf.constant([1, 2]) < tf.constant([2, 2]), [-1, -1], [12, 12])), [Arg(None, 3, 4)])
f.add("folded_range", lambda x: x + tf.range(0.0, tf.cast(tf.constant(7), tf.float32)), [Arg(None, 7)])
f.add("folded_pad_value", lambda x: tf.pad(x, [[0, 0], [1, 2]], constant_values=-tf.exp(tf.constant(1.0))), [Arg(None, 4)])
f.add("folded_filter", lambda x: tf.nn.conv2d(x, kernel * tf.nn.softmax(const(4)), 1, "SAME"), [image])

# --- simulated quantization ---------------------------------------------------------------------------------------
ranges = [(-1.0, 1.0), (-6.0, 6.0), (-0.1, 3.7), (0.0, 2.5), (-2.0, 0.0), (0.5, 2.0), (-1.7, -0.3), (-1e-4, 2e-4)]
many = Arg(None, 40, 25)
for (lo, hi), bits, narrow in itertools.product(ranges, [2, 4, 8, 16], [False, True]):
    name = f"{lo}_{hi}_{bits}_{narrow:d}".replace("-", "m").replace(".", "_")
    attrs = dict(num_bits=bits, narrow_range=narrow)
    f.add(f"fake_quant_args_{name}", lambda x, lo=lo, hi=hi, attrs=attrs: raw.FakeQuantWithMinMaxArgs(
        inputs=x * (abs(lo) + abs(hi)), min=lo, max=hi, **attrs), [many])
    f.add(f"fake_quant_vars_{name}", lambda x, lo=lo, hi=hi, attrs=attrs: raw.FakeQuantWithMinMaxVars(
        inputs=x * (abs(lo) + abs(hi)), min=lo, max=hi, **attrs), [many])
    for is_signed, mode in itertools.product([True, False], ["HALF_TO_EVEN", "HALF_UP"]):
        f.add(f"qdq_{name}_{is_signed:d}_{mode.lower()}", lambda x, lo=lo, hi=hi, a=attrs, s=is_signed, m=mode:
              raw.QuantizeAndDequantizeV2(input=x * (abs(lo) + abs(hi)), input_min=lo, input_max=hi, range_given=True,
                                          signed_input=s, round_mode=m, **a), [many])
for bits in [2, 8, 16]:
    f.add(f"fake_quant_channels_{bits}", lambda x, bits=bits: raw.FakeQuantWithMinMaxVarsPerChannel(
        inputs=x, min=tf.constant([-1.0, 0.0, -3.0, 0.0, -0.3]), max=tf.constant([1.0, 2.0, 0.0, 0.0, 7.7]), num_bits=bits),
          [Arg(None, 7, 30, 5)])
    for axis in range(3):
        limits = np.linspace(0.1, 2.0, [3, 6, 31][axis]).astype("float32")
        channels = lambda op, limits=limits, axis=axis, bits=bits: lambda x: op(
            input=x, input_min=tf.constant(-limits), input_max=tf.constant(limits[::-1].copy()), range_given=True, axis=axis,
            num_bits=bits)
        # TensorFlow 2.21 has a kernel for V2 and V4 along an axis, but its own check of the range refuses it.
        f.add(f"qdq_axis_{axis}_{bits}", channels(raw.QuantizeAndDequantizeV4), [Arg(3, 6, 31)],
              reference=channels(raw.QuantizeAndDequantizeV3))
f.add("fake_quant_vector", lambda x: raw.FakeQuantWithMinMaxVarsPerChannel(inputs=x, min=[-1.0] * 9, max=[0.5] * 9), [Arg(9)])
f.add("fake_quant_zero", lambda x: raw.FakeQuantWithMinMaxVars(inputs=x, min=0.0, max=0.0), [Arg(None, 5)])
f.add("fake_quant_defaults", lambda x: raw.FakeQuantWithMinMaxArgs(inputs=x * 9.0), [Arg(None, 5)])
f.add("fake_quant_ties", lambda x: raw.FakeQuantWithMinMaxArgs(inputs=x * 0.5, min=-8.0, max=7.0, num_bits=4),
      [Arg(None, 50, dtype="float32", gen="i:-30:30")])
for mode in ["HALF_TO_EVEN", "HALF_UP"]:
    f.add(f"qdq_ties_{mode}", lambda x, mode=mode: raw.QuantizeAndDequantizeV2(
        input=x * 0.5, input_min=-8.0, input_max=7.0, range_given=True, num_bits=4, round_mode=mode), [Arg(None, 50, gen="i:-30:30")])
f.add("qdq_zero", lambda x: raw.QuantizeAndDequantizeV2(input=x, input_min=0.0, input_max=0.0, range_given=True), [Arg(None, 5)])
f.add("qdq_v3", lambda x: raw.QuantizeAndDequantizeV3(input=x, input_min=-1.0, input_max=2.0, num_bits=6), [many])
f.add("qdq_v3_axis", lambda x: raw.QuantizeAndDequantizeV3(
    input=x, input_min=tf.constant([-1.0, -2.0]), input_max=tf.constant([1.0, 0.5]), num_bits=8, axis=1, narrow_range=True),
      [Arg(None, 2, 9)])
f.add("qdq_weights", lambda x: tf.nn.conv2d(x, raw.QuantizeAndDequantizeV2(
    input=kernel, input_min=-1.0, input_max=1.0, range_given=True), 1, "SAME"), [image])
f.add("fake_quant_weights", lambda x: x @ raw.FakeQuantWithMinMaxVarsPerChannel(
    inputs=tf.reshape(kernel, [54, 4]), min=[-1.0, -0.5, -0.2, -1.0], max=[1.0, 0.7, 0.3, 0.5], narrow_range=True), [Arg(None, 54)])
f.add("fake_quant_range_is_input", lambda x, hi: raw.FakeQuantWithMinMaxVars(inputs=x, min=-1.0, max=hi),
      [Arg(None, 5), Arg(gen="u:0.5:2")], expect="not-constant")
f.add("qdq_range_of_data", lambda x: raw.QuantizeAndDequantizeV2(input=x, input_min=0.0, input_max=0.0), [Arg(None, 5)],
      expect="attribute")
f.add("qdq_many_bits", lambda x: raw.QuantizeAndDequantizeV2(
    input=x, input_min=-1.0, input_max=1.0, range_given=True, num_bits=20), [Arg(None, 5)], expect="attribute")
f.add("qdq_double", lambda x: raw.QuantizeAndDequantizeV2(
    input=x, input_min=tf.constant(-1.0, x.dtype), input_max=tf.constant(1.0, x.dtype), range_given=True),
      [Arg(None, 5, dtype="float64")], expect="dtype")

# --- others -------------------------------------------------------------------------------------------------------
f.add("identity_chain", lambda x: tf.stop_gradient(tf.identity(x)) * 2.0, [Arg(None, 3)])
f.add("identity_n", lambda x, y: tf.identity_n([x, y]), [Arg(None, 3), Arg(None, 2)])
f.add("two_results", lambda x: [x, x + 1.0, tf.constant([1.0, 2.0])], [Arg(None, 3)])
f.add("unknown_op", lambda x: raw.Betainc(a=x, b=x, x=x * 0.1), [Arg(None, 3, gen="u:0.5:2")], expect="no-converter")
f.add("data_dependent", lambda x: tf.where(x > 0), [Arg(None, 3)], expect="data-dependent")
f.add("string", lambda x: tf.strings.length(tf.strings.as_string(x)), [Arg(None, 3)], expect="string")
f.add("control_flow", lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2.0), [0, x])[1], [Arg(None, 3)],
      expect="control-flow")

f.write(sys.argv[1])
print(len(f.cases), "cases")
