# SPDX-License-Identifier: Apache-2.0
"""Models of the comparison: builders of SavedModels with random weights, and their inputs. Nothing is downloaded."""

import dataclasses
import hashlib
import inspect
import pathlib
import sys
from typing import Callable

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

# --- inputs: the same generator makes calibration samples ---------------------------------------------------------


def images(*size):
    """Smooth blobs with a little noise, about normal: closer to photographs than white noise is."""

    def make(batch, rng):
        height, width, channels = size
        coarse = rng.standard_normal((batch, -(-height // 8), -(-width // 8), channels))
        blobs = np.kron(coarse, np.ones((1, 8, 8, 1)))[:, :height, :width]
        return {"": (blobs + 0.25 * rng.standard_normal(blobs.shape)).astype(np.float32)}

    return make


def signals(*size):
    """A few sines per channel and noise."""

    def make(batch, rng):
        length, channels = size
        time = np.arange(length)[None, :, None]
        frequency = rng.uniform(0.001, 0.2, (3, batch, 1, channels))
        phase = rng.uniform(0, 6, (3, batch, 1, channels))
        wave = np.sin(2 * np.pi * frequency * time + phase).sum(0) * 0.5
        return {"": (wave + 0.1 * rng.standard_normal(wave.shape)).astype(np.float32)}

    return make


def tokens(vocabulary, length):
    def make(batch, rng):
        mask = np.ones((batch, length), np.int32)
        mask[:, length - length // 8 :] = 0
        return {"input_ids": rng.integers(0, vocabulary, (batch, length)).astype(np.int32), "input_mask": mask}

    return make


def clicks(batch, rng):
    fields = np.stack([rng.integers(0, size, batch) for size in RECOMMENDER_VOCABULARIES], 1)
    return {"fields": fields.astype(np.int32), "numbers": rng.standard_normal((batch, 13)).astype(np.float32)}


# --- builders -----------------------------------------------------------------------------------------------------


def application(name, **options):
    def make():
        import keras
        import model_zoo

        model = getattr(keras.applications, name)(weights=None, classifier_activation=None, **options)
        return model_zoo.randomize_batch_norm(model)

    return make


def mnist():
    """The convolutional MNIST model of TensorFlow's official models."""
    import keras

    L = keras.layers
    return keras.Sequential(
        [
            L.Input((28, 28, 1)),
            L.Conv2D(32, 5, padding="same", activation="relu"),
            L.MaxPooling2D(2, 2, padding="same"),
            L.Conv2D(64, 5, padding="same", activation="relu"),
            L.MaxPooling2D(2, 2, padding="same"),
            L.Flatten(),
            L.Dense(1024, activation="relu"),
            L.Dropout(0.4),
            L.Dense(10),
        ]
    )


def bert():
    import model_zoo

    return model_zoo.bert_model()


def unet(size=128, widths=(32, 64, 128, 256)):
    """U-Net: convolutions and max pooling down, transposed convolutions and concatenation up."""
    import keras
    import model_zoo

    L = keras.layers

    def block(x, width):
        for _ in range(2):
            x = L.ReLU()(L.BatchNormalization()(L.Conv2D(width, 3, padding="same", use_bias=False)(x)))
        return x

    x = inputs = L.Input((size, size, 3))
    skips = []
    for width in widths[:-1]:
        x = block(x, width)
        skips.append(x)
        x = L.MaxPooling2D(2)(x)
    x = block(x, widths[-1])
    for width, skip in zip(widths[-2::-1], skips[::-1]):
        x = L.Conv2DTranspose(width, 2, strides=2)(x)
        x = block(L.Concatenate()([x, skip]), width)
    return model_zoo.randomize_batch_norm(keras.Model(inputs, L.Conv2D(4, 1)(x)))


def vit_tiny(size=224, patch=16, width=192, heads=3, layers=12):
    """The encoder of ViT-Tiny/16, mean-pooled."""
    import keras

    L = keras.layers
    inputs = L.Input((size, size, 3))
    x = L.Conv2D(width, patch, strides=patch)(inputs)
    count = (size // patch) ** 2
    x = L.Reshape((count, width))(x)
    x = x + L.Embedding(count, width)(keras.ops.arange(count)[None])
    for _ in range(layers):
        y = L.LayerNormalization(epsilon=1e-6)(x)
        x = L.Add()([x, L.MultiHeadAttention(heads, width // heads)(y, y)])
        y = L.LayerNormalization(epsilon=1e-6)(x)
        y = L.Dense(4 * width, activation="gelu")(y)
        x = L.Add()([x, L.Dense(width)(y)])
    x = L.LayerNormalization(epsilon=1e-6)(x)
    return keras.Model(inputs, L.Dense(1000)(L.GlobalAveragePooling1D()(x)))


def audio(length=16000):
    """Raw audio to keywords: strided and residual 1-D convolutions."""
    import keras
    import model_zoo

    L = keras.layers

    def conv(x, width, kernel, stride=1):
        x = L.Conv1D(width, kernel, strides=stride, padding="same", use_bias=False)(x)
        return L.ReLU()(L.BatchNormalization()(x))

    inputs = L.Input((length, 1))
    x = conv(inputs, 64, 80, 4)
    for width in (64, 128, 256):
        x = conv(L.MaxPooling1D(4)(x), width, 3)
        x = L.Add()([x, conv(conv(x, width, 3), width, 3)])
    return model_zoo.randomize_batch_norm(keras.Model(inputs, L.Dense(35)(L.GlobalAveragePooling1D()(x))))


def lstm(steps=32, features=40, units=128):
    """Two LSTM layers over filter-bank frames, unrolled: loops do not convert."""
    import keras

    L = keras.layers
    inputs = L.Input((steps, features))
    x = L.LSTM(units, unroll=True, return_sequences=True)(inputs)
    return keras.Model(inputs, L.Dense(35)(L.LSTM(units, unroll=True)(x)))


RECOMMENDER_VOCABULARIES = (1000, 2000, 5000, 10000, 20000, 50000, 100, 300)


def recommender(width=32):
    """Click prediction: embeddings of eight fields beside thirteen numbers, crossed, then a multilayer perceptron."""
    import keras

    L = keras.layers
    fields = L.Input((len(RECOMMENDER_VOCABULARIES),), dtype="int32", name="fields")
    numbers = L.Input((13,), name="numbers")
    rows = [L.Embedding(size, width)(fields[:, i]) for i, size in enumerate(RECOMMENDER_VOCABULARIES)]
    dense = L.Dense(width, activation="relu")(L.Dense(256, activation="relu")(numbers))
    stacked = keras.ops.stack([*rows, dense], 1)
    crossed = keras.ops.matmul(stacked, keras.ops.transpose(stacked, (0, 2, 1)))
    x = L.Concatenate()([L.Flatten()(crossed), dense])
    for units in (1024, 512, 256):
        x = L.Dense(units, activation="relu")(x)
    return keras.Model([fields, numbers], L.Dense(1)(x))


@dataclasses.dataclass(frozen=True)
class Spec:
    make: Callable  # () -> keras model
    inputs: Callable  # (batch, rng) -> dict of arrays by input name; "" is the only input, whatever its name
    batches: tuple
    transformer: bool = False


PHOTO = images(224, 224, 3)
MODELS = {
    "resnet50": Spec(application("ResNet50"), PHOTO, (1, 32)),
    "mobilenetv2": Spec(application("MobileNetV2"), PHOTO, (1, 32)),
    "mnist": Spec(mnist, images(28, 28, 1), (1, 512)),
    "bert": Spec(bert, tokens(30522, 128), (1, 8), transformer=True),
    "mobilenet": Spec(application("MobileNet"), PHOTO, (1, 32)),
    "mobilenetv3": Spec(application("MobileNetV3Small"), PHOTO, (1, 32)),
    "efficientnetb0": Spec(application("EfficientNetB0"), PHOTO, (1, 32)),
    "densenet121": Spec(application("DenseNet121"), PHOTO, (1, 32)),
    "inceptionv3": Spec(application("InceptionV3"), images(299, 299, 3), (1, 32)),
    "resnet50v2": Spec(application("ResNet50V2"), PHOTO, (1, 32)),
    "nasnetmobile": Spec(application("NASNetMobile"), PHOTO, (1, 32)),
    "convnexttiny": Spec(application("ConvNeXtTiny"), PHOTO, (1, 16)),
    "vgg16": Spec(application("VGG16"), PHOTO, (1, 16)),
    "unet": Spec(unet, images(128, 128, 3), (1, 16)),
    "vit_tiny": Spec(vit_tiny, PHOTO, (1, 16), transformer=True),
    "audio": Spec(audio, signals(16000, 1), (1, 32)),
    "lstm": Spec(lstm, signals(32, 40), (1, 64)),
    "recommender": Spec(recommender, clicks, (1, 512)),
}


def build(name, directory):
    """Writes the SavedModel of a model."""
    import keras

    keras.utils.set_random_seed(1)
    MODELS[name].make().export(directory, format="tf_saved_model", verbose=False)


def make_inputs(name, batch, seed, input_names):
    """Arrays for one call; `input_names` are those of the signature."""
    arrays = MODELS[name].inputs(batch, np.random.default_rng(seed))
    if set(arrays) == {""}:
        (only,) = input_names
        return {only: arrays[""]}
    return {input_name: arrays[input_name] for input_name in input_names}


def fingerprint(name):
    """Changes when the builder's code does."""
    make = MODELS[name].make
    text = inspect.getsource(make) + repr(sorted(inspect.getclosurevars(make).nonlocals.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
