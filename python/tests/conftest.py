# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the legacy model, a small model made by TensorFlow, and its conversion."""

import functools
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
import tensorflow as tf

import tfengine

ROOT = pathlib.Path(__file__).parents[2]
LEGACY = ROOT / "tests" / "data" / "tftrt_2.0_saved_model"


class SmallModel(tf.Module):
    """A convolution, a dense layer, two signatures, an unconvertible op between two segments of `words`."""

    def __init__(self, seed=0):
        super().__init__()
        random = np.random.default_rng(seed)

        def weights(*shape):
            return tf.Variable(random.standard_normal(shape).astype(np.float32) * 0.2)

        self.filter = weights(3, 3, 3, 8)
        self.bias = weights(8)
        self.dense = weights(8, 5)
        self.square = weights(5, 5)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="image")])
    def classify(self, image):
        x = tf.nn.relu(tf.nn.conv2d(image, self.filter, 1, "SAME") + self.bias)
        x = tf.reduce_mean(x, [1, 2]) @ self.dense
        return {"probabilities": tf.nn.softmax(x), "logits": x}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 5], tf.float32, name="a"), tf.TensorSpec([None, 5], tf.float32, name="b")]
    )
    def mix(self, a, b):
        return {"mixed": tf.nn.relu(tf.nn.tanh(a @ self.square) * b - a)}


@functools.lru_cache(maxsize=None)
def original(seed=0):
    """The model itself, for reference results."""
    return SmallModel(seed)


def save_small_model(directory, seed=0):
    model = SmallModel(seed)
    tf.saved_model.save(model, str(directory), signatures={"serving_default": model.classify, "mix": model.mix})
    return directory


@pytest.fixture(scope="session")
def legacy_dir():
    return LEGACY


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def converted_dir(small_dir, tmp_path_factory):
    output = tmp_path_factory.mktemp("models") / "converted"
    report = tfengine.convert(small_dir, output)
    assert report.engines >= 2, report.text
    return output


@pytest.fixture
def images():
    return np.random.default_rng(7).standard_normal((2, 9, 11, 3)).astype(np.float32)


def engines_of(directory):
    """Statistics of the engines that were loaded from `directory`, by name."""
    return {stats.name: stats for stats in tfengine.engine_stats() if stats.source.startswith(f"{directory}/")}


def total_runs():
    """(engine runs, native runs) of all live engines."""
    stats = tfengine.engine_stats()
    return sum(s.runs for s in stats), sum(s.native_runs for s in stats)
