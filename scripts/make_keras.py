"""Writes fixtures/keras: models as Keras itself saves them.

Needs keras, and jax and scipy for its NumPy back end: `KERAS_BACKEND=numpy python scripts/make_keras.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "keras"


@keras.saving.register_keras_serializable(package="Mine")
class Scale(layers.Layer):  # type: ignore[misc]  # keras is in no environment of ours
    """A layer of one's own."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.add_weight(shape=(shape[-1],))

    def call(self, x: Any) -> Any:
        return x * self.w


def main() -> None:
    HERE.mkdir(exist_ok=True)
    dense = [layers.Dense(4, "gelu", kernel_regularizer=keras.regularizers.L2(0.1)), layers.Dropout(0.1), Scale()]
    model = keras.Sequential([keras.Input((3,)), *dense])
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(
        keras.optimizers.SGD(schedule), keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    tokens = keras.Input((4,))
    x = layers.Embedding(9, 4)(tokens)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    attention = keras.Model(tokens, layers.LayerNormalization()(layers.MultiHeadAttention(1, 2)(x, x)))
    binned = keras.Sequential([keras.Input((1,)), layers.Discretization([0.0, 1.0]), layers.CategoryEncoding(3)])
    for name, saved in {"dense": model, "attention": attention, "binned": binned}.items():
        saved.save(HERE / f"{name}.keras")
        saved.save(HERE / f"{name}.h5")
    model.save_weights(HERE / "dense.weights.h5")
    keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + 1)]).save(HERE / "lambda.keras")
    keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + 1)]).save(HERE / "lambda.h5")


if __name__ == "__main__":
    main()
