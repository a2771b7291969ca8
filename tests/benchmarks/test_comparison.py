# SPDX-License-Identifier: Apache-2.0
"""The comparison's own arithmetic: ratios, multiply-adds, what is kept on disk, and a run of two engines."""

import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent / "benchmarks"
sys.path.insert(0, str(FOLDER))

import count
import jobs
import models
import plot
import report
import run
import workers


def cell(precision="fp32", **milliseconds):
    results = {key: {"min_ms": ms, "median_ms": 2 * ms} for key, ms in milliseconds.items()}
    return {"model": "m", "batch": 2, "precision": precision, "multiply_adds": 1_000_000, "engines": results}


def judged(*cells):
    for one in cells:
        report.judge(one)
    return list(cells)


def test_the_best_peer_is_the_fastest_that_is_not_tfengine():
    (one,) = judged(cell(tfengine=2, tfengine_tf=1, openvino=3, litert=2.5, tensorflow=8))
    assert one["best_peer"] == "litert"
    assert one["ratio"] == one["ratio_median"] == 1.25
    assert one["ratio_in_tf"] == 8


def test_a_cell_without_peers_or_without_tfengine_has_no_ratio():
    assert [one["ratio"] for one in judged(cell(tfengine=1), cell(openvino=1), cell())] == [None] * 3


def test_the_summary_names_the_cells_that_are_too_slow():
    cells = judged(cell(tfengine=1, openvino=2), cell("int8", tfengine=2, openvino=1))
    summary = report.summarize(cells)
    assert summary["all"]["geometric_mean"] == pytest.approx(1)
    assert summary["fp32"]["below"] == [] and summary["all"]["below"] == ["m b2 int8"]


def test_the_share_of_the_peak_counts_two_operations_per_multiply_add():
    one = cell(tfengine=1)
    report.add_shares(one, {"fp32": 8.0})
    assert one["engines"]["tfengine"]["share_of_peak"] == pytest.approx(0.5)
    one = cell(tfengine=1)
    report.add_shares(one, {"fp32": None})
    assert "share_of_peak" not in one["engines"]["tfengine"]


def test_pages_show_failures_and_missing_engines():
    cells = judged(cell(tfengine=1, openvino=2), cell("int8", tfengine=1))
    cells[1]["engines"]["litert"] = {"failed": "RuntimeError: no `such` op"}
    results = {
        "machine": {"cpu": "c", "cores": 1, "threads": 1, "flags": [], "versions": {"numpy": "1"}},
        "peak": {"fp32": 1.0, "bf16": None},
        "date": "d",
        "settings": {"rounds": 1, "turn": 1},
        "cells": cells,
        "summary": report.summarize(cells),
    }
    page = report.markdown(results, "peers.svg")
    assert "LiteRT, m b2 int8: `RuntimeError: no 'such' op`" in page
    assert "| m | 2 | 1 | – |" in page
    assert "failed: LiteRT" in report.text_summary(results)
    assert xml.etree.ElementTree.fromstring(plot.svg(results)).tag.endswith("svg")


def test_outputs_are_matched_by_name_then_by_shape():
    a, b = np.ones((2, 3), np.float32), np.full((2, 4), 2, np.float32)
    assert run.relative_error({"x": a, "y": b}, {"y": b, "x": a}) == 0
    assert run.relative_error({"x": a, "y": b}, {"Identity_1:0": b * 1.5, "Identity:0": a}) == pytest.approx(0.5)
    assert run.relative_error({"x": a}, {"x": a * np.nan}) == float("inf")
    assert run.relative_error({"x": a}, {"x": b}) == float("inf")


@pytest.mark.parametrize("name", models.MODELS)
def test_inputs_are_repeatable_and_have_the_batch(name):
    spec = models.MODELS[name]
    arrays = [spec.inputs(2, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    names = ["x"] if set(arrays[0]) == {""} else list(arrays[0])
    assert set(models.make_inputs(name, 2, 0, names)) == set(names)
    assert all(array.shape[0] == 2 for array in arrays[0].values())
    assert all((arrays[0][key] == arrays[1][key]).all() for key in arrays[0])
    assert any((arrays[0][key] != arrays[2][key]).any() for key in arrays[0])


def test_multiply_adds(tmp_path):
    import keras

    L = keras.layers
    x = inputs = L.Input((8, 8, 4))
    x = L.Conv2D(6, 3, strides=2, padding="same")(x)  # 4*4*6 outputs of 3*3*4
    x = L.DepthwiseConv2D(3, padding="same")(x)  # 4*4*6 outputs of 3*3
    x = L.Conv2DTranspose(5, 2, strides=2)(x)  # 4*4*6 inputs to 2*2*5
    x = L.Flatten()(x)
    x = L.Dense(7)(x)  # 8*8*5 by 7
    keras.Model(inputs, x).export(tmp_path / "m", verbose=False)
    arrays = {"keras_tensor": np.zeros((3, 8, 8, 4), np.float32)}
    import tensorflow as tf

    (name,) = tf.saved_model.load(tmp_path / "m").signatures["serving_default"].structured_input_signature[1]
    got = count.multiply_adds(str(tmp_path / "m"), {name: arrays["keras_tensor"]})
    assert got == 3 * (96 * 36 + 96 * 9 + 96 * 20 + 320 * 7)


def failing(job, artefact):
    marker = pathlib.Path(job.path("attempts"))
    marker.write_text(marker.read_text() + "x" if marker.exists() else "x")
    raise ValueError("cannot")


def test_a_failed_conversion_is_remembered_until_asked_again(tmp_path):
    artefact = jobs.Artefact("a", failing, ("numpy",))
    for retry, attempts in ((False, 1), (False, 1), (True, 2)):
        store = workers.Store(tmp_path, 1, lambda text: None, retry_failed=retry)
        with pytest.raises(workers.Failed, match="ValueError: cannot"):
            store.artefact(store.job("mnist"), artefact)
        assert len((tmp_path / "mnist" / "attempts").read_text()) == attempts


@pytest.mark.slow
def test_two_engines_take_turns(tmp_path):
    arguments = [
        "--quick",
        "--models",
        "mnist",
        "--precisions",
        "fp32",
        "--peers",
        "tensorflow",
        "--turn",
        "0.01",
        "--batches",
        "1,512",
    ]
    command = [sys.executable, FOLDER / "run.py", *arguments, "--work", tmp_path / "work", "--out", tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "out" / "peers.json").read_text())
    assert [one["batch"] for one in results["cells"]] == [1, 512]
    for one in results["cells"]:
        assert {"tfengine", "tfengine_tf", "tensorflow"} == set(one["engines"])
        assert all(len(engine["turns"]) == 2 for engine in one["engines"].values()), one
        assert one["engines"]["tfengine"]["error_vs_fp32"] < 1e-4 and one["ratio"] > 0
    assert "mnist b1 fp32" in result.stdout
