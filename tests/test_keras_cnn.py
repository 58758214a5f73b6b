import numpy as np
import pytest
from image_tasks import IMAGES, digits
from keras_contract import KerasContract, trained

from metatune.learners import keras_cnn
from metatune.learners.keras_augmentation import augmented
from metatune.learners.keras_encoders import ImageEncoder
from metatune.learners.keras_host import tf
from metatune.learners.keras_networks import build_network
from metatune.learners.keras_preprocessing import Outputs
from metatune.task import Task

FAMILY = keras_cnn.KerasCNN()


class TestKerasCNN(KerasContract):
    name = "keras_cnn"
    module = keras_cnn
    tasks = IMAGES
    variants = (
        {"pooling": "average", "head": "average", "augmentation": "both", "batch_norm": True},
        {"pooling": "strided", "n_layers": 1, "augmentation": "flip"},
        {"blocks": 4, "filters": 8, "growth": "constant", "convolutions": 2, "kernel": 5, "augmentation": "shift"},
    )


def test_augmented_training_is_the_same_for_the_same_seed():
    first, second, other = (trained(FAMILY, digits(3, 8), augmentation="both", seed=seed) for seed in (1, 1, 2))
    assert first.curve == second.curve != other.curve


@pytest.mark.parametrize("size", [(3, 3, 1), (8, 40, 2), (70, 66, 3)])
def test_images_of_any_size(size):
    """Tiny ones, long ones, and large ones, which are averaged down."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.integers(0, 100, (40, *size)) + 100 * y[:, None, None, None]
    task = Task.from_images(X, y, validation="holdout")
    large = {"blocks": 4, "filters": 8, "head": "flatten", "n_layers": 1}
    assert trained(FAMILY, task, steps=6, learning_rate=0.01, batch_size=16, **large).curve[-1] > 0.9
    assert trained(FAMILY, task, steps=1, pooling="strided", **large).network.count_params() < 200_000


def test_blocks_are_clamped_to_the_image():
    values, changes = FAMILY.clamp(FAMILY.default() | {"blocks": 4}, 1000, 8 * 8)
    assert (values["blocks"], [change.parameter for change in changes]) == (3, ["blocks"])
    assert FAMILY.clamp(FAMILY.default() | {"blocks": 4}, 1000, 28 * 28)[1] == ()


@pytest.mark.parametrize(("shape", "blocks"), [((3, 3, 4), 2), ((8, 8, 3), 3), ((1, 8, 1), 3), ((28, 28, 1), 4)])
def test_no_block_is_built_on_one_pixel(shape, blocks):
    network = network_for(shape, blocks=4, filters=8, convolutions=1)
    assert sum(type(layer).__name__ == "Conv2D" for layer in network.layers) == blocks


@pytest.mark.parametrize("shape", [(8, 30, 1), (30, 30, 1), (56, 20, 1), (30, 300, 1)])
def test_what_is_flattened_has_at_most_8_a_side(shape):
    network = network_for(shape, blocks=1, filters=8, head="flatten")
    (flat,) = (layer for layer in network.layers if type(layer).__name__ == "Flatten")
    assert max(flat.input.shape[1:3]) <= 8


def network_for(shape, **changes):
    configuration, _ = FAMILY.space().clip(FAMILY.default() | changes)
    example = np.zeros((1, *shape), np.uint8)
    outputs = Outputs("binary", 2)
    return build_network("keras_cnn", configuration, example, encoder=ImageEncoder(255.0), outputs=outputs, seed=0)


def test_dark_images_are_scaled_like_bright_ones():
    data = digits(3, 8).data
    assert ImageEncoder.of(data).scale == 16.0
    assert ImageEncoder.from_dict(ImageEncoder(7.0).to_dict()) == ImageEncoder(7.0)


class TestAugmentation:
    pictures = np.random.default_rng(0).integers(1, 256, (64, 5, 16, 3)).astype(np.uint8)

    def changed(self, how, seed=0):
        return augmented(tf.constant(self.pictures), how, tf.constant([seed, 7])).numpy()

    def test_none_changes_nothing(self):
        np.testing.assert_array_equal(self.changed("none"), self.pictures)

    def test_flip_mirrors_about_half_of_them(self):
        changed = self.changed("flip")
        same = (changed == self.pictures).all(axis=(1, 2, 3))
        mirrored = (changed == self.pictures[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (same ^ mirrored).all()
        assert 16 < same.sum() < 48

    def test_shift_moves_each_by_its_own_steps(self):
        """At most an eighth of a side, at least one pixel: here 1 down and 2 to the right."""
        steps = set()
        for picture, changed in zip(self.pictures, self.changed("shift"), strict=True):
            found = [
                (down, right)
                for down in (-1, 0, 1)
                for right in (-2, -1, 0, 1, 2)
                if np.array_equal(
                    changed, picture[np.clip(np.arange(5) + down, 0, 4)][:, np.clip(np.arange(16) + right, 0, 15)]
                )
            ]
            assert len(found) == 1
            steps.update(found)
        assert len(steps) > 10

    def test_the_seed_decides(self):
        np.testing.assert_array_equal(self.changed("both", 1), self.changed("both", 1))
        assert (self.changed("both", 1) != self.changed("both", 2)).any()
