# SPDX-License-Identifier: Apache-2.0
"""The SavedModels that the end-to-end tests and the demo convert. Weights are random: nothing is downloaded.

Batch-norm statistics are moved away from 0 and 1, so that folding them is really tested; classifiers end in logits,
so that an error is not hidden by a softmax.
"""

import dataclasses
import os
from typing import Callable

import keras
import numpy as np
import tensorflow as tf

L = keras.layers


def randomize_batch_norm(model):
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, L.BatchNormalization):
            *scale, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [rng.uniform(0.8, 1.2, g.shape) for g in scale]
                + [rng.normal(0, 0.1, beta.shape), rng.normal(0, 0.1, mean.shape), rng.uniform(0.8, 1.2, variance.shape)]
            )
    return model


def export(model, directory):
    model.export(directory, format="tf_saved_model", verbose=False)


def resnet50(directory):
    export(randomize_batch_norm(keras.applications.ResNet50(weights=None, classifier_activation=None)), directory)


def mobilenetv2(directory):
    export(randomize_batch_norm(keras.applications.MobileNetV2(weights=None, classifier_activation=None)), directory)


def vgg16(directory):
    export(keras.applications.VGG16(weights=None, classifier_activation=None), directory)


def vgg16_features(directory):
    """The convolutions of VGG16 under a small head: all its op kinds without the 100 M weights of its dense layers."""
    features = keras.applications.VGG16(weights=None, include_top=False, input_shape=(96, 96, 3))
    export(keras.Sequential([features, L.Flatten(), L.Dense(64, activation="relu"), L.Dense(10)]), directory)


def digits_model():
    return keras.Sequential(
        [
            L.Input((8, 8, 1), name="image"),
            L.Conv2D(32, 3, padding="same"),
            L.BatchNormalization(),
            L.ReLU(),
            L.Conv2D(64, 3, padding="same", activation="relu"),
            L.MaxPooling2D(2),
            L.Flatten(),
            L.Dense(128, activation="relu"),
            L.Dropout(0.3),
            L.Dense(10, activation="softmax"),
        ]
    )


def digits(directory):
    export(randomize_batch_norm(digits_model()), directory)


def trained_digits(directory, epochs, test_size=0.25):
    """Trains the CNN on scikit-learn's digits; returns training images, test images, test labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(1)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype("float32").reshape(-1, 8, 8, 1)
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=test_size, random_state=1)
    model = digits_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train_x, train_y, epochs=epochs, batch_size=32, verbose=0)
    export(model, directory)
    return train_x, test_x, test_y


def bert_model(layers=12, width=768, heads=12, vocabulary=30522, length=128):
    ids = L.Input((length,), dtype="int32", name="input_ids")
    mask = L.Input((length,), dtype="int32", name="input_mask")
    x = L.Embedding(vocabulary, width)(ids)
    x = x + L.Embedding(length, width)(keras.ops.arange(length)[None])
    x = L.LayerNormalization(epsilon=1e-12)(x)
    attention_mask = keras.ops.cast(mask, "bool")[:, None, :]
    for _ in range(layers):
        attention = L.MultiHeadAttention(heads, width // heads)(x, x, attention_mask=attention_mask)
        x = L.LayerNormalization(epsilon=1e-12)(L.Add()([x, attention]))
        hidden = L.Dense(4 * width, activation="gelu")(x)
        x = L.LayerNormalization(epsilon=1e-12)(L.Add()([x, L.Dense(width)(hidden)]))
    return keras.Model([ids, mask], [x, L.Dense(width, activation="tanh")(x[:, 0])])


def bert_small(directory):
    export(bert_model(layers=2, width=64, heads=4, vocabulary=1000, length=32), directory)


def bert_base(directory):
    export(bert_model(), directory)


def tf_module(directory):
    """A tf.Module with two signatures that share weights."""

    class Net(tf.Module):
        def __init__(self):
            rng = tf.random.Generator.from_seed(1)
            self.filters = tf.Variable(rng.normal([3, 3, 3, 8], stddev=0.3))
            self.bias = tf.Variable(rng.normal([8]))
            self.dense = tf.Variable(rng.normal([8 * 16 * 16, 10], stddev=0.1))

        def features(self, x):
            return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, self.filters, 2, "SAME"), self.bias))

        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], name="image")])
        def classify(self, image):
            logits = tf.matmul(tf.reshape(self.features(image), [-1, 8 * 16 * 16]), self.dense)
            return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], name="image")])
        def embed(self, image):
            return {"features": tf.reduce_mean(self.features(image), [1, 2]), "image": image}

    net = Net()
    tf.saved_model.save(net, directory, signatures={"serving_default": net.classify, "embed": net.embed})


def tf1(directory, use_resource):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        x = v1.placeholder(tf.float32, [None, 16, 16, 3], name="x")
        with v1.variable_scope("net", use_resource=use_resource):
            w1 = v1.get_variable("w1", [3, 3, 3, 16])
            b1 = v1.get_variable("b1", [16], initializer=v1.random_normal_initializer())
            w2 = v1.get_variable("w2", [16, 5])
        hidden = tf.nn.max_pool2d(tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, w1, 1, "SAME"), b1)), 2, 2, "VALID")
        logits = tf.matmul(tf.reduce_mean(hidden, [1, 2]), w2, name="logits")
        scores = tf.nn.softmax(logits, name="scores")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, directory, {"x": x}, {"logits": logits, "scores": scores})


def strings(directory):
    """Raw image bytes are decoded and a word is looked up in a table before a CNN; the answer is a word again."""

    class Net(tf.Module):
        def __init__(self):
            vocabulary = os.path.join(os.path.dirname(directory), "vocabulary.txt")
            with open(vocabulary, "w", encoding="utf-8") as f:
                f.write("red\ngreen\nblue\n")
            self.asset = tf.saved_model.Asset(vocabulary)
            initializer = tf.lookup.TextFileInitializer(
                self.asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=1)
            rng = tf.random.Generator.from_seed(2)
            self.embedding = tf.Variable(rng.normal([4, 3]))
            self.filters = tf.Variable(rng.normal([3, 3, 3, 8], stddev=0.3))
            self.filters2 = tf.Variable(rng.normal([3, 3, 8, 8], stddev=0.2))
            self.dense = tf.Variable(rng.normal([8, 6]))

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string, name="pixels"), tf.TensorSpec([None], tf.string, name="word")]
        )
        def __call__(self, pixels, word):
            image = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), [-1, 16, 16, 3])
            image = tf.cast(image, tf.float32) / 255.0
            tint = tf.gather(self.embedding, self.table.lookup(tf.strings.lower(tf.strings.strip(word))))
            x = image + tint[:, None, None, :]
            x = tf.nn.relu(tf.nn.conv2d(x, self.filters, 1, "SAME"))
            x = tf.nn.relu(tf.nn.conv2d(x, self.filters2, 2, "SAME"))
            logits = tf.matmul(tf.reduce_mean(x, [1, 2]), self.dense)
            return {"logits": logits, "answer": tf.strings.as_string(tf.argmax(logits, 1))}

    net = Net()
    tf.saved_model.save(net, directory, signatures={"serving_default": net.__call__})


class QuantizationAware(tf.Module):
    """Ranges from training. The codes of inner values are 16 bits wide: of 8 bits a rounding error would show."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(5)
        self.kernel = tf.Variable(rng.normal(0, 0.2, (3, 3, 4, 8)).astype("float32"))
        self.dense = tf.Variable(rng.normal(0, 0.2, (8, 10)).astype("float32"))
        self.low = tf.Variable(-rng.uniform(0.3, 0.8, 8).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 12, 12, 4], name="x")])
    def serve(self, x):
        raw = tf.raw_ops
        x = tf.quantization.fake_quant_with_min_max_args(x, -1.0, 1.0)
        kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            self.kernel, self.low, -self.low, narrow_range=True
        )
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        x = tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 4.0, num_bits=16)
        x = tf.reduce_mean(x, [1, 2])
        dense = raw.QuantizeAndDequantizeV2(input=self.dense, input_min=-0.7, input_max=0.6, range_given=True)
        x = raw.QuantizeAndDequantizeV4(input=x, input_min=0.0, input_max=2.0, range_given=True, num_bits=16)
        return x @ dense


def quantization_aware(directory):
    module = QuantizationAware()
    tf.saved_model.save(module, directory, signatures=module.serve)


def tiny(directory):
    """The smallest model that converts; for tests of everything around it."""

    class Net(tf.Module):
        def __init__(self):
            self.w = tf.Variable(tf.random.stateless_normal([4, 4], [1, 2]))

        @tf.function(input_signature=[tf.TensorSpec([None, 4], name="x")])
        def __call__(self, x):
            return {"y": tf.nn.softmax(tf.nn.relu(tf.matmul(x, self.w) + 1.0))}

    net = Net()
    tf.saved_model.save(net, directory, signatures={"serving_default": net.__call__})


def images(*size):
    return lambda batch, rng: rng.standard_normal((batch, *size)).astype(np.float32)


def tokens(vocabulary, length):
    def make(batch, rng):
        mask = np.ones((batch, length), np.int32)
        mask[:, length - length // 4 :] = 0
        return {"input_ids": rng.integers(0, vocabulary, (batch, length)).astype(np.int32), "input_mask": mask}

    return make


def words(batch, rng):
    pixels = [rng.integers(0, 256, 16 * 16 * 3).astype(np.uint8).tobytes() for _ in range(batch)]
    return {"pixels": np.array(pixels, object), "word": np.array([" Red", "BLUE", "pink"][:batch], object)}


@dataclasses.dataclass
class Model:
    make: Callable[[str], None]
    inputs: Callable  # (batch, rng) -> array of the only input, or dict by name
    whole: bool = True  # runs without TensorFlow
    slow: bool = False
    share: float = 0.95  # of the compute nodes that must be inside engines
    native: tuple = ()  # ops that must still be native


MODELS = {
    "digits": Model(digits, images(8, 8, 1)),
    "mobilenetv2": Model(mobilenetv2, images(224, 224, 3)),
    "resnet50": Model(resnet50, images(224, 224, 3)),
    "vgg16_features": Model(vgg16_features, images(96, 96, 3)),
    "vgg16": Model(vgg16, images(224, 224, 3), slow=True),
    "bert_small": Model(bert_small, tokens(1000, 32)),
    "bert_base": Model(bert_base, tokens(30522, 128), slow=True),
    "tf_module": Model(tf_module, images(32, 32, 3)),
    "tf1_ref_variables": Model(lambda d: tf1(d, False), images(16, 16, 3)),
    "tf1_resource_variables": Model(lambda d: tf1(d, True), images(16, 16, 3)),
    "strings": Model(strings, words, whole=False, share=0.65, native=("LookupTableFindV2", "DecodeRaw", "AsString")),
    "quantization_aware": Model(quantization_aware, images(12, 12, 4)),
    "tiny": Model(tiny, images(4)),
}
