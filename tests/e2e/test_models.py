# SPDX-License-Identifier: Apache-2.0
"""Whole models: converted output equals native TensorFlow, in TensorFlow and without it."""

import json

import numpy as np
import pytest
import tensorflow as tf
from model_zoo import MODELS

import tfengine  # noqa: F401  registers the engine op

TOLERANCE = 1e-4  # of the output's range

EVERY_MODEL = [pytest.param(n, marks=pytest.mark.slow if m.slow else ()) for n, m in MODELS.items()]


@pytest.fixture(scope="session")
def converted(cli, saved_models, tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            out = tmp_path_factory.mktemp("converted") / name
            made[name] = out, json.loads(cli.ok("convert", saved_models(name), out, "--json"))
        return made[name]

    return get


def named_inputs(model, signature, batch, rng):
    data = model.inputs(batch, rng)
    if isinstance(data, dict):
        return data
    (name,) = signature.structured_input_signature[1]
    return {name: data}


def output_types(signature):
    return {key: (spec.dtype, spec.shape.as_list()) for key, spec in signature.structured_outputs.items()}


def expect_close(got, want, what):
    assert got.dtype == want.dtype and got.shape == want.shape, what
    if want.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    spread = float(want.max() - want.min())
    error = float(np.abs(got - want).max())
    assert np.isfinite(want).all() and spread > 0, f"{what}: the native output says nothing"
    assert error <= TOLERANCE * spread, f"{what}: error {error:.3g}, range {spread:.3g}"


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_converted_equals_native(name, saved_models, converted, cli, tmp_path):
    model = MODELS[name]
    out, report = converted(name)
    # Both stay referenced: signatures do not keep their model alive.
    native, engines = tf.saved_model.load(str(saved_models(name))), tf.saved_model.load(str(out))
    assert set(engines.signatures) == set(native.signatures)
    for key, want_fn in native.signatures.items():
        got_fn = engines.signatures[key]
        assert got_fn.structured_input_signature == want_fn.structured_input_signature
        assert output_types(got_fn) == output_types(want_fn)
        for batch in (1, 3):
            inputs = named_inputs(model, want_fn, batch, np.random.default_rng(batch))
            feeds = {k: tf.constant(v) for k, v in inputs.items()}
            want = {k: v.numpy() for k, v in want_fn(**feeds).items()}
            got = {k: v.numpy() for k, v in got_fn(**feeds).items()}
            assert set(got) == set(want)
            for output in want:
                expect_close(got[output], want[output], f"{name} {key} {output} batch {batch} in TensorFlow")
            if model.whole:
                standalone = run_without_tensorflow(cli, out, key, inputs, tmp_path / f"{key}{batch}")
                for output in want:
                    expect_close(standalone[output], want[output], f"{name} {key} {output} batch {batch} alone")
    stats = {s.name: s for s in tfengine.engine_stats()}
    for signature in report["signatures"]:
        for engine in signature["engines"]:
            assert stats[engine["name"]].runs > 0 and stats[engine["name"]].native_runs == 0, stats[engine["name"]]


def run_without_tensorflow(cli, out, signature, inputs, directory):
    directory.mkdir()
    flags = []
    for key, value in inputs.items():
        np.save(directory / f"in_{key}.npy", value)
        flags += ["--input", f"{key}={directory / f'in_{key}.npy'}"]
    cli.ok("run", out, "--signature", signature, *flags, "--output", directory / "out")
    return {p.stem: np.load(p) for p in (directory / "out").iterdir()}


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_conversion_is_nearly_complete(name, converted):
    model = MODELS[name]
    _, report = converted(name)
    assert report["converted_share"] >= model.share
    for signature in report["signatures"]:
        assert signature["whole"] == model.whole, signature.get("reason")
        assert len(signature["engines"]) == 1


@pytest.mark.parametrize("name", ["digits", "strings", "tf1_ref_variables"])
def test_native_parts_stay_native(name, saved_models, converted):
    _, ops_before = read_graph_ops(saved_models(name))
    segment_ops, ops_after = read_graph_ops(converted(name)[0])
    for op in MODELS[name].native:
        assert op in ops_before and op in ops_after and op not in segment_ops, op
    assert "TRTEngineOp" in ops_after
    assert {"Conv2D", "MatMul"} <= segment_ops


def read_graph_ops(directory):
    """The op types inside native segments, and those elsewhere."""
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    segments, elsewhere = set(), {n.op for n in graph.node}
    for function in graph.library.function:
        inside = function.signature.name.endswith("_native_segment")
        (segments if inside else elsewhere).update(n.op for n in function.node_def)
    return segments, elsewhere


def test_other_functions_of_the_model_still_work(saved_models, converted):
    native = tf.saved_model.load(str(saved_models("tf_module")))
    engines = tf.saved_model.load(str(converted("tf_module")[0]))
    x = tf.random.stateless_normal([2, 32, 32, 3], [3, 4])
    np.testing.assert_allclose(engines.classify(x)["logits"], native.classify(x)["logits"], atol=1e-4)
    np.testing.assert_array_equal(engines.filters.numpy(), native.filters.numpy())


def test_a_converted_model_survives_a_second_save(converted, tmp_path):
    first = tf.saved_model.load(str(converted("digits")[0]))
    tf.saved_model.save(first, str(tmp_path / "again"), signatures=first.signatures)
    second = tf.saved_model.load(str(tmp_path / "again"))
    x = tf.random.stateless_normal([2, 8, 8, 1], [5, 6])
    a, b = (m.signatures["serving_default"](x) for m in (first, second))
    for key in a:
        np.testing.assert_allclose(a[key], b[key], atol=1e-6)


@pytest.mark.parametrize("name", ["tiny", "strings", "tf1_ref_variables"])
def test_conversion_is_deterministic(name, cli, saved_models, tmp_path):
    cache = tmp_path / "timings.json"
    for flags in (["--no-build"], ["--timing-cache", cache]):
        trees = []
        for attempt in ("warm", "a", "b"):  # the first one fills the cache
            out = tmp_path / f"{flags[0]}{attempt}"
            cli.ok("convert", saved_models(name), out, *flags)
            trees.append({str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()})
        assert trees[1].keys() == trees[2].keys()
        for path in trees[1]:
            assert trees[1][path] == trees[2][path], path


def test_excluded_ops_and_nodes_stay_native(cli, saved_models, tmp_path):
    report = json.loads(cli.ok("explain", saved_models("digits"), "--json", "--exclude", "MaxPool"))
    reasons = {n["op"]: n["reason"] for s in report["signatures"] for n in s["nodes"]}
    assert reasons["MaxPool"] == "excluded" and reasons["MatMul"] == "converted"
    assert report["engines"] == 2
    node = next(n["name"] for s in report["signatures"] for n in s["nodes"] if n["op"] == "MaxPool")
    assert json.loads(cli.ok("explain", saved_models("digits"), "--json", "--exclude", node))["engines"] == 2
    limited = json.loads(
        cli.ok("explain", saved_models("digits"), "--json", "--exclude", "MaxPool", "--max-engines", "1")
    )
    assert limited["engines"] == 1


def test_explain_says_why(cli, saved_models):
    text = cli.ok("explain", saved_models("strings"), "--nodes")
    for word in ("serving_default", "LookupTableFindV2", "resource", "DecodeRaw", "string"):
        assert word in text


def test_inspect_and_bench_describe_the_engine(cli, converted):
    out, _ = converted("digits")
    text = cli.ok("inspect", out, "--network")
    assert "runs without TensorFlow" in text and "conv2d" in text
    described = json.loads(cli.ok("inspect", out, "--json"))
    assert described["engines"][0]["bytes"] > 0 and described["precision"] == "FP32"
    measured = json.loads(cli.ok("bench", out, "--batch", "1,4", "--seconds", "0.1", "--json", "--profile"))
    assert [b["batch"] for b in measured["batches"]] == [1, 4]
    assert all(b["min_ms"] > 0 and b["profile"]["steps"] for b in measured["batches"])
