import json

import numpy as np
import pytest
from keras_contract import KerasContract, trained
from learner_contract import ContractTasks
from text_tasks import FILLING, heat, kitchen, strange_texts, subjects

from metatune.examples import Texts
from metatune.learners import keras_text
from metatune.learners.keras_encoders import WordEncoder
from metatune.learners.keras_family import GRU_STEPS
from metatune.task import Task

FAMILY = keras_text.KerasText()


class TestKerasText(KerasContract):
    name = "keras_text"
    module = keras_text
    tasks = ContractTasks(
        {
            "binary": (lambda: subjects(600, n_classes=2), 0.95),
            "multiclass": (lambda: subjects(1500), 0.85),
            "regression": (lambda: heat(1200), 8.0),
        },
        kitchen,
        strange_texts,
    )
    variants = (
        {"body": "gru", "bidirectional": True, "length": 20},
        {"body": "convolution", "readout": "max", "length": 20},
        {"body": "convolution", "readout": "mean", "n_layers": 1, "length": 20},
        {"body": "gru", "bidirectional": False, "length": 20},
        {"readout": "max", "length": 20},
    )


def bites(n: int = 500) -> Task:
    """Whether a sentence says that the dog bites or that it is bitten: the same words in another order."""
    rng = np.random.default_rng(0)
    y, filling, texts = np.arange(n) % 2, FILLING.split()[:20], []
    for code in y:
        words = list(rng.choice(filling, 8))
        place = rng.integers(0, 7)
        words[place : place + 2] = ("dog", "bites") if code else ("bites", "dog")
        texts.append(" ".join(words))
    return Task.from_texts(texts, y, validation="holdout")


@pytest.mark.parametrize(("body", "sees"), [("pooling", False), ("convolution", True), ("gru", True)])
def test_the_order_of_words(body, sees):
    """Convolutions and recurrent layers see it, a mean over the words cannot."""
    curve = trained(FAMILY, bites(), steps=12, body=body, learning_rate=0.01, filters=16, bidirectional=False).curve
    assert (max(curve) > 0.95) == sees
    assert (max(curve) < 0.7) == (not sees)


def test_a_gru_reads_no_more_than_it_says():
    whole = {"body": "gru", "gru_units": 8, "bidirectional": False, "length": 250}
    configuration, _ = FAMILY.space().clip(FAMILY.default() | whole)
    values, (change,) = FAMILY.clamp(configuration, 1000, 1)
    assert (values["length"], change.parameter, change.before) == (GRU_STEPS, "length", 250)
    assert FAMILY.clamp(FAMILY.default() | {"length": 250}, 1000, 1)[1] == ()


class TestWordEncoder:
    def encoder(self, texts, vocabulary=10, length=6):
        data = Texts(np.array(texts, dtype=object), np.zeros(len(texts)), "regression")
        return WordEncoder.of(data, vocabulary=vocabulary, length=length)

    def test_frequent_words_have_numbers(self):
        encoder = self.encoder(["The cat, the dog!", "THE dog (and) an owl"], vocabulary=2)
        assert encoder.words == ("the", "dog")
        assert encoder.size == 4
        assert encoder.encode(["the dog the bear", "dog"]).tolist() == [[2, 3, 2, 1, 0], [3, 0, 0, 0, 0]]

    def test_long_texts_are_cut_and_empty_ones_have_one_unknown_word(self):
        encoder = self.encoder(["a b c d e f g h"], length=3)
        assert encoder.encode(["h g f e", "", " ?! "]).tolist() == [[9, 8, 7], [1, 0, 0], [1, 0, 0]]
        assert encoder.encode([]).shape == (0, 3)

    def test_the_length_is_no_more_than_that_of_the_longest_text(self):
        assert self.encoder(["a b", "a"], length=200).length == 2
        assert self.encoder(["?"], length=200).length == 1

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("¿Cómo está?", ["cómo", "está"]),
            ("Привет, МИР", ["привет", "мир"]),
            ("हिन्दी में लिखा है।", ["हिन्दी", "में", "लिखा", "है"]),
            ("“Größe” – 3,5…", ["größe", "3", "5"]),
        ],
    )
    def test_words_of_many_languages(self, text, words):
        assert sorted(self.encoder([text]).words) == sorted(words)

    def test_it_comes_back_from_json(self):
        encoder = self.encoder(["the cat \ud800", "naïve"])
        assert WordEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
