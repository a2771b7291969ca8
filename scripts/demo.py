#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Converts ResNet-50, MobileNetV2 and a CNN trained on scikit-learn's digits, runs native TensorFlow and the converted
models side by side in one process, and prints one table; then what BF16 and INT8 do to the CNN's accuracy. Times are
minima. Usage: demo.py [--quick] [--digits] [--threads N]"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer epochs and shorter measurements")
    parser.add_argument("--digits", action="store_true", help="leave out the large models")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", help="keep the models in this directory (default: a temporary one)")
    return parser.parse_args()


def say(text):
    print(f"-- {text}", file=sys.stderr, flush=True)


def measure(functions, seconds):
    """The fastest run of each function in milliseconds. They take turns, so that what else the machine does hits both."""
    best = [float("inf")] * len(functions)
    for function in functions:
        function()
        function()
    end = time.perf_counter() + seconds * len(functions)
    while time.perf_counter() < end:
        for i, function in enumerate(functions):
            for _ in range(5):
                start = time.perf_counter()
                function()
                best[i] = min(best[i], 1e3 * (time.perf_counter() - start))
    return best


HEADER = [
    "model",
    "batch",
    "TF ms",
    "tfengine ms",
    "TF /s",
    "tfengine /s",
    "speed-up",
    "accuracy TF / tfengine",
    "max error",
    "engines",
    "ops converted",
]


def compare(name, directory, image_size, seconds, test_set=None):
    """Converts a model with one image input; returns its rows of the table."""
    import numpy as np
    import tensorflow as tf

    import tfengine

    batches = (1, 32)
    native = tf.saved_model.load(directory)
    signature = native.signatures["serving_default"]
    (key,) = signature.structured_input_signature[1]
    (output,) = signature.structured_outputs

    say(f"converting {name}")
    start = time.perf_counter()
    report = tfengine.convert(
        directory, directory + "_converted", build_shapes=[{key: (batch, *image_size)} for batch in batches]
    )
    say(f"converted {name} in {time.perf_counter() - start:.1f} s; measuring")
    converted = tf.saved_model.load(directory + "_converted")

    def run(model, x):
        return model.signatures["serving_default"](**{key: x})[output].numpy()

    accuracy = "-"
    if test_set is not None:
        x, labels = test_set
        shares = [100 * np.mean(run(model, tf.constant(x)).argmax(1) == labels) for model in (native, converted)]
        accuracy = "{:.2f} / {:.2f} %".format(*shares)
    rows = []
    for batch in batches:
        x = tf.random.stateless_uniform([batch, *image_size], [batch, 1])
        want, got = run(native, x), run(converted, x)
        error = np.abs(got - want).max() / (want.max() - want.min())
        slow, fast = measure([lambda: run(native, x), lambda: run(converted, x)], seconds)
        rows.append(
            [
                name,
                batch,
                f"{slow:.2f}",
                f"{fast:.2f}",
                f"{1e3 * batch / slow:.0f}",
                f"{1e3 * batch / fast:.0f}",
                f"{slow / fast:.2f}x",
                accuracy,
                f"{error:.1e}",
                report.engines,
                f"{100 * report.converted_share:.1f} %",
            ]
        )
    return rows


PRECISION_HEADER = [
    "digits CNN",
    "calibration",
    "layers INT8 / 16-bit / FP32",
    "top-1 on test images",
    "same answer as FP32",
    "error of the output",
    "worst layer",
    "ms, batch 1",
    "ms, batch 32",
]


def compare_precisions(directory, train_x, test_x, labels, seconds):
    """Converts the digits CNN in every precision, INT8 with several methods of calibration; returns rows of a table."""
    import json

    import numpy as np

    import tfengine

    shapes = [{"image": (batch, 8, 8, 1)} for batch in (1, 32)]
    exact = f"{directory}_FP32"
    models, cells = [], []
    for precision, method in (("FP32", None), ("BF16", None), ("INT8", "mse"), ("INT8", "minmax"), ("INT8", "entropy")):
        say(f"converting in {precision}" + (f", calibrating with {method}" if method else ""))
        calibration = None
        if method:
            calibration = tfengine.Calibration.start(method=method)
            for i in range(0, 512, 32):
                models[0].run({"image": train_x[i : i + 32]})
            calibration.stop()
        out = exact if precision == "FP32" else f"{directory}_{precision}_{method}"
        report = tfengine.convert(directory, out, precision=precision, calibration=calibration, build_shapes=shapes)
        models.append(tfengine.Model(out))
        compared = tfengine.compare(exact, out, {"image": test_x})
        (scores,) = models[-1].run({"image": test_x}).values()
        layers = json.loads(report.json)["signatures"][0]["engines"][0]["build"]["layers"]
        counts = [sum(l["precision"] == p for l in layers) for p in ("int8", "half", "fp32")]
        (output,) = compared.outputs
        cells.append(
            [
                precision,
                method or "-",
                "{} / {} / {}".format(*counts),
                f"{100 * np.mean(scores.argmax(1) == labels):.2f} %",
                f"{100 * output.top1_agreement:.2f} %",
                f"{100 * output.relative_rms:.2g} %",
                f"{compared.worst(1)[0].snr_db:.0f} dB" if precision != "FP32" else "-",
            ]
        )
    for batch in (1, 32):
        best = measure([lambda m=m: m.run({"image": test_x[:batch]}) for m in models], seconds / 5)
        for row, ms in zip(cells, best):
            row.append(f"{ms:.3f}")
    return cells


def print_table(header, rows):
    columns = [[str(cell) for cell in column] for column in zip(header, *rows)]
    widths = [max(map(len, column)) for column in columns]
    for i, line in enumerate(zip(*columns)):
        print("  ".join(cell.ljust(w) if j == 0 else cell.rjust(w) for j, (cell, w) in enumerate(zip(line, widths))))
        if i == 0:
            print("  ".join("-" * w for w in widths))


def main():
    arguments = parse_arguments()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    import model_zoo

    seconds = 1 if arguments.quick else 5
    with tempfile.TemporaryDirectory(prefix="tfengine_demo_") as scratch:
        out = pathlib.Path(arguments.out or scratch)
        say("training a small CNN on scikit-learn's digits")
        train_x, *test_set = model_zoo.trained_digits(str(out / "digits"), epochs=3 if arguments.quick else 15)
        rows = compare("digits CNN", str(out / "digits"), (8, 8, 1), seconds, test_set)
        if not arguments.digits:
            say("exporting ResNet-50 and MobileNetV2 (random weights)")
            model_zoo.resnet50(str(out / "resnet50"))
            model_zoo.mobilenetv2(str(out / "mobilenetv2"))
            rows += compare("MobileNetV2", str(out / "mobilenetv2"), (224, 224, 3), seconds)
            rows += compare("ResNet-50", str(out / "resnet50"), (224, 224, 3), seconds)
        precisions = compare_precisions(str(out / "digits"), train_x, *test_set, seconds)
    print(f"\n{arguments.threads} threads, TensorFlow {tf.__version__}; minima; error as a share of the output's range\n")
    print_table(HEADER, rows)
    print("\nReduced precision, without TensorFlow; errors against FP32 on the test images\n")
    print_table(PRECISION_HEADER, precisions)


if __name__ == "__main__":
    main()
