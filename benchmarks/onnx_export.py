# SPDX-License-Identifier: Apache-2.0
"""SavedModel to ONNX: tf2onnx, and the op of today's Keras models that it lacks. For a process of its own."""

import math
import sys

import numpy as np
from tf2onnx import convert, handler


@handler.tf_op("Erfc")
class Erfc:
    """erfc(x) = 1 - erf(x). GELU's erfc(-x / sqrt(2)) becomes 1 + erf(x / sqrt(2)), the form that ONNX Runtime fuses."""

    @classmethod
    def version_9(cls, ctx, node, **kwargs):
        name, shape, dtype = node.output[0], ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])

        def constant(label, value):
            return ctx.make_const(f"{node.name}/{label}", np.array(value, np.float32)).output[0]

        x, sum_type = node.input[0], "Sub"
        inner = node.inputs[0]
        if inner.type == "Mul" and inner.inputs[0].type == "Neg" and inner.inputs[1].is_const():
            factor = inner.inputs[1].get_tensor_value(as_list=False)
            if np.allclose(factor, math.sqrt(0.5)):
                x = ctx.make_node("Div", [inner.inputs[0].input[0], constant("root", math.sqrt(2))]).output[0]
                sum_type = "Add"
        ctx.remove_node(node.name)
        erf = ctx.make_node("Erf", [x]).output[0]
        terms = [erf, constant("one", 1)] if sum_type == "Add" else [constant("one", 1), erf]
        ctx.make_node(sum_type, terms, outputs=[name], shapes=[shape], dtypes=[dtype])


def export(saved_model, output):
    sys.argv = ["tf2onnx", "--opset", "18", "--saved-model", saved_model, "--output", output]
    convert.main()
