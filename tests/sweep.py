# SPDX-License-Identifier: Apache-2.0
"""Many models, every precision, against native TensorFlow: heavier than a test, run by hand.

    python tests/sweep.py [--models NAME ...] [--precisions fp32,bf16,int8] [--out docs/benchmarks/sweep.md]

Every model has random weights and runs at a batch that its engines were tuned for and at one they were not. Exit code 1 if an error
is above its bound. One process per model, so that one failure stays alone.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

BOUNDS = {"fp32": 5e-5, "bf16": 5e-2, "int8": 0.35}  # relative error, root mean square, of the worst output
APPLICATIONS = (
    "ResNet50 ResNet101V2 MobileNet MobileNetV2 MobileNetV3Small MobileNetV3Large EfficientNetB0 EfficientNetV2B0 DenseNet121 InceptionV3"
    " InceptionResNetV2 Xception NASNetMobile ConvNeXtTiny VGG16"
).split()
LEGACY = ("MobileNetV2", "EfficientNetB0", "ResNet50V2")  # by tf_keras


def application(keras, name, size=160):
    import numpy as np

    model = getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3))
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            low_high = {"gamma": (0.8, 1.2), "moving_variance": (0.8, 1.2)}
            values = {w.name.split("/")[-1].split(":")[0]: w for w in layer.weights}
            for key, w in values.items():
                w.assign(rng.uniform(*low_high[key], w.shape) if key in low_high else rng.normal(0, 0.1, w.shape))
    return model


def pieces(keras):
    """Small networks that hold what applications lack: (model, input shape) by name."""
    L = keras.layers

    def functional(shape, *layers):
        x = inputs = L.Input(shape)
        for layer in layers:
            x = layer(x)
        return keras.Model(inputs, x), shape

    def attention():
        x = inputs = L.Input((37, 48))
        y = L.MultiHeadAttention(4, 12)(x, x, use_causal_mask=True)
        x = L.LayerNormalization()(L.Add()([x, y]))
        return keras.Model(inputs, L.Dense(10, activation="gelu")(x)), (37, 48)

    def inception():
        x = inputs = L.Input((30, 30, 24))
        for _ in range(3):
            x = L.Concatenate()([L.Conv2D(16, 1, activation="relu")(x), L.Conv2D(24, (1, 7), padding="same", activation="relu")(x),
                                 L.Conv2D(8, (7, 1), padding="same")(x), L.AveragePooling2D(3, 1, padding="same")(x)])
        return keras.Model(inputs, L.GlobalMaxPooling2D()(x)), (30, 30, 24)

    def squeeze_excite():
        x = inputs = L.Input((28, 28, 16))
        for stride, width in ((1, 48), (2, 96)):
            y = L.Conv2D(width, 1, activation="silu")(x)
            y = L.DepthwiseConv2D(5, stride, padding="same", activation="silu")(y)
            s = L.Dense(width, activation="sigmoid")(L.Dense(8, activation="silu")(L.GlobalAveragePooling2D(keepdims=True)(y)))
            x = L.Conv2D(24, 1)(L.Multiply()([y, s]))
        return keras.Model(inputs, x), (28, 28, 16)

    return {
        "squeeze_excite": squeeze_excite,
        "inception": inception,
        "attention": attention,
        "mlp": lambda: functional((70,), L.Dense(300, activation="elu"), L.Dense(301, activation="selu"), L.Dense(7, activation="softmax")),
        "conv1d": lambda: functional((500, 3), L.Conv1D(32, 9, 2, activation="relu"), L.Conv1D(40, 3, dilation_rate=4, padding="causal"),
                                     L.AveragePooling1D(2), L.Flatten(), L.Dense(5)),
        "conv3d": lambda: functional((12, 20, 20, 3), L.Conv3D(16, 3, padding="same", activation="relu"), L.MaxPooling3D(2),
                                     L.Conv3D(24, 3, strides=2), L.GlobalAveragePooling3D(), L.Dense(6)),
        "dilated": lambda: functional((41, 37, 3), L.Conv2D(32, 3, dilation_rate=2, activation="relu"), L.Conv2D(20, 5, padding="same"),
                                      L.SeparableConv2D(33, 3, padding="same"), L.Conv2D(33, 3, groups=11), L.Cropping2D(2)),
        "upsampling": lambda: functional((16, 20, 12), L.UpSampling2D(2, interpolation="bilinear"), L.Conv2D(16, 3, activation="leaky_relu"),
                                         L.Conv2DTranspose(9, 4, 2, padding="same"), L.UpSampling2D(3), L.ZeroPadding2D(1)),
        "norms": lambda: functional((18, 18, 32), L.GroupNormalization(8), L.Conv2D(32, 3, padding="same"), L.LayerNormalization(),
                                    L.PReLU(), L.UnitNormalization()),
        "lstm": lambda: functional((12, 20), L.LSTM(33, unroll=True, return_sequences=True), L.GRU(17, unroll=True), L.Dense(3)),
        "bidirectional": lambda: functional((9, 8), L.Bidirectional(L.LSTM(16, unroll=True)), L.Dense(3)),
        "loop": lambda: functional((9, 8), L.LSTM(16), L.Dense(300, activation="relu"), L.Dense(300, activation="relu"), L.Dense(3)),
        "embedding": lambda: functional((23,), L.Embedding(50, 24), L.Conv1D(16, 3, activation="mish"), L.GlobalMaxPooling1D(), L.Dense(2)),
    }


def every_model():
    return [*APPLICATIONS, *(f"tf_keras.{n}" for n in LEGACY), *pieces_names()]


def pieces_names():
    import types

    class Anything:
        def __getattr__(self, _):
            return Anything()

    return list(pieces(types.SimpleNamespace(layers=Anything())))


def build(name):
    """The model and a maker of inputs."""
    import numpy as np

    if name.startswith("tf_keras."):
        import tf_keras as keras
    else:
        import keras
    keras.utils.set_random_seed(1)
    short = name.removeprefix("tf_keras.")
    model, shape = (application(keras, short), (160, 160, 3)) if short[0].isupper() else pieces(keras)[short]()

    def inputs(batch, seed):
        rng = np.random.default_rng(seed)
        if name == "embedding":
            return rng.integers(0, 50, (batch, *shape)).astype(np.float32)
        x = rng.standard_normal((batch, *shape))
        if len(shape) == 3 and shape[2] == 3:  # smooth, as photographs are
            coarse = rng.standard_normal((batch, -(-shape[0] // 8), -(-shape[1] // 8), shape[2]))
            x = np.kron(coarse, np.ones((1, 8, 8, 1)))[:, : shape[0], : shape[1]] + 0.25 * x
        return x.astype(np.float32)

    return model, inputs


def run_one(name, precisions, threads):
    """Prints one JSON line per precision."""
    import numpy as np
    import tensorflow as tf

    import tfengine

    model, inputs = build(name)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if name.startswith("tf_keras."):
            model.save(folder / "model", save_format="tf", include_optimizer=False)
        else:
            model.export(folder / "model", format="tf_saved_model", verbose=False)

        def load(path):
            loaded = tf.saved_model.load(str(path))
            signature = loaded.signatures["serving_default"]
            (key,) = signature.structured_input_signature[1]

            def call(x, loaded=loaded):
                return {k: v.numpy() for k, v in signature(**{key: tf.constant(x)}).items()}

            return call, key

        native, key = load(folder / "model")

        def error(call, x, want):
            return max(
                float(np.sqrt(np.mean((got - want[k]) ** 2, dtype=np.float64) / max(np.mean(want[k] ** 2, dtype=np.float64), 1e-30)))
                for k, got in call(x).items()
            )

        for precision in precisions:
            options = {}
            if precision == "int8":
                tfengine.convert(folder / "model", folder / "exact", build_engines=False)
                call, _ = load(folder / "exact")
                calibration = tfengine.Calibration.start()
                for seed in range(4):
                    call(inputs(4, 100 + seed))
                calibration.stop()
                options["calibration"] = calibration
            start = time.time()
            report = json.loads(tfengine.convert(folder / "model", folder / precision, precision=precision.upper(), threads=threads, **options).json)
            seconds = time.time() - start
            errors = {}
            call, _ = load(folder / precision)
            tfengine.wait_for_engines()
            alone = None
            with contextlib.suppress(tfengine.TfEngineError):
                free = tfengine.Model(folder / precision, threads=threads)
                free.run({key: inputs(1, 0)}, "serving_default")
                alone = lambda x: free.run({key: x}, "serving_default")  # noqa: E731
            for batch in (1, 3):
                x = inputs(batch, batch)
                want = native(x)
                errors[f"TF {batch}"] = error(call, x, want)
                if alone:
                    errors[f"alone {batch}"] = error(alone, x, want)
            row = {"model": name, "precision": precision, "errors": errors, "seconds": round(seconds, 1),
                   "converted": report["converted_share"], "engines": report["engines"]}
            print("ROW " + json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=None)
    parser.add_argument("--precisions", default="fp32,bf16,int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="Markdown file for the table")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    precisions = args.precisions.split(",")
    if args.one:
        run_one(args.one, precisions, args.threads)
        return 0
    rows, failures = [], []
    names = args.models or every_model()
    for i, name in enumerate(names):
        command = [sys.executable, __file__, "--one", name, "--precisions", args.precisions, "--threads", str(args.threads)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
        new = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("ROW ")]
        rows += new
        for row in new:
            worst = max(row["errors"].values())
            bad = not worst <= BOUNDS[row["precision"]]
            print(f"[{i + 1}/{len(names)}] {name:24} {row['precision']:5} error {worst:8.1e}{' ABOVE THE BOUND' if bad else ''}"
                  f"  converted {row['converted']:.0%}  {row['seconds']} s", flush=True)
            if bad:
                failures.append(f"{name} {row['precision']}: error {worst:.2e}")
        if done.returncode or len(new) < len(precisions):
            failures.append(f"{name}: exit code {done.returncode}")
            print(f"[{i + 1}/{len(names)}] {name}: exit code {done.returncode}\n" + "\n".join((done.stdout + done.stderr).splitlines()[-8:]), flush=True)
    if args.out:
        pathlib.Path(args.out).write_text(table(rows, failures))
    print("\n".join(["", f"{len(rows)} rows, {len(failures)} failures", *failures]))
    return 1 if failures else 0


def table(rows, failures):
    lines = ["# Sweep over models", "", "Relative error of the worst output, root mean square, against native TensorFlow; worst of batches 1 and 3,",
             "in TensorFlow and without it. Random weights, so INT8 errors are larger than of trained networks. `python tests/sweep.py`.", "",
             "| model | converted nodes | fp32 | bf16 | int8 |", "| --- | --- | --- | --- | --- |"]
    for name in dict.fromkeys(row["model"] for row in rows):
        mine = {row["precision"]: row for row in rows if row["model"] == name}
        cells = [f"{max(mine[p]['errors'].values()):.1e}" if p in mine else "–" for p in BOUNDS]
        share = next(iter(mine.values()))["converted"]
        lines.append(f"| {name} | {share:.0%} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"* {f}" for f in failures), ""])


if __name__ == "__main__":
    sys.exit(main())
