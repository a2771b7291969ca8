# SPDX-License-Identifier: Apache-2.0
"""Collects small TensorFlow functions and writes them, with TensorFlow's results, for the C++ conformance test.

OUT/model is a SavedModel with one signature per case. OUT/cases.json lists the cases:
  {"<signature>": {"expect": "<reason>" or null, "runs": [{"inputs": {key: tensor}, "outputs": {key: tensor}}]}}
where a tensor is {"dtype", "shape", "offset"} and its bytes lie at that offset in OUT/cases.bin.
"""
import json
import os
import zlib

import numpy as np
import tensorflow as tf


class Arg:
    """An argument: shape (None where it is unknown), element type, and how values are drawn."""

    def __init__(self, *shape, dtype="float32", gen=None):
        self.shape = list(shape)
        self.dtype = tf.as_dtype(dtype)
        self.gen = gen or {"bool": "b"}.get(self.dtype.name, "n" if self.dtype.is_floating else "i:-5:6")

    def draw(self, rng, shape):
        kind, *bounds = self.gen.split(":")
        if kind == "n":
            values = rng.normal(size=shape)
        elif kind == "u":
            values = rng.uniform(float(bounds[0]), float(bounds[1]), size=shape)
        elif kind == "i":
            values = rng.integers(int(bounds[0]), int(bounds[1]), size=shape)
        elif kind == "b":
            values = rng.integers(0, 2, size=shape) > 0
        else:
            raise ValueError(self.gen)
        return np.asarray(values).astype(self.dtype.as_numpy_dtype)


class CaseFile:
    def __init__(self):
        self.module = tf.Module()
        self.signatures = {}
        self.cases = {}
        self.data = bytearray()

    def variable(self, value):
        """A variable that the SavedModel keeps."""
        v = tf.Variable(value, trainable=False)
        self.module.variables_ = getattr(self.module, "variables_", []) + [v]
        return v

    def add(self, name, fn, args, runs=None, expect=None, reference=None):
        """fn(*args) returns a tensor or a list. `runs`: a list of shapes per run; by default an unknown batch is 1 and 3.

        `expect`: the reason that some node of the case is not converted; None if all must be.
        `reference`: computes the expected results where TensorFlow has no CPU kernel for what `fn` uses.
        """
        assert name not in self.cases, name
        rng = np.random.default_rng(zlib.crc32(name.encode()))

        def named(function):
            def wrapped(**kwargs):
                result = function(*[kwargs[f"x{i}"] for i in range(len(args))])
                result = result if isinstance(result, (list, tuple)) else [result]
                return {f"y{i}": r for i, r in enumerate(result)}
            return wrapped

        specs = {f"x{i}": tf.TensorSpec(a.shape, a.dtype, name=f"x{i}") for i, a in enumerate(args)}
        concrete = tf.function(named(fn)).get_concrete_function(**specs)
        run = tf.function(named(reference)).get_concrete_function(**specs) if reference else concrete
        if runs is None:
            batches = [1, 3] if any(None in a.shape for a in args) else [1]
            runs = [[[b if s is None else s for s in a.shape] for a in args] for b in batches]
        written = []
        for shapes in runs:
            inputs = {f"x{i}": a.draw(rng, s) for i, (a, s) in enumerate(zip(args, shapes))}
            outputs = run(**{k: tf.constant(v) for k, v in inputs.items()})
            written.append({
                "inputs": {k: self.blob(v) for k, v in inputs.items()},
                "outputs": {k: self.blob(v.numpy()) for k, v in outputs.items()},
            })
        self.signatures[name] = concrete
        self.cases[name] = {"expect": expect, "runs": written}

    def blob(self, array):
        array = np.asarray(array, order="C")
        self.data += b"\0" * (-len(self.data) % 64)
        entry = {"dtype": tf.as_dtype(array.dtype).name, "shape": list(np.shape(array)), "offset": len(self.data)}
        self.data += array.tobytes()
        return entry

    def write(self, out):
        os.makedirs(out, exist_ok=True)
        tf.saved_model.save(self.module, os.path.join(out, "model"), signatures=self.signatures)
        with open(os.path.join(out, "cases.bin"), "wb") as f:
            f.write(self.data)
        with open(os.path.join(out, "cases.json"), "w") as f:
            json.dump(self.cases, f)
