"""Small text tasks of generated sentences, for families and searches."""

import numpy as np
from learner_contract import ContractTasks

from metatune.task import Task

#: Words that tell the subject of a sentence, and words that tell nothing.
SUBJECTS = (
    "oven flour butter sugar dough bake recipe salt whisk cake",
    "goal referee striker keeper penalty match league pitch coach score",
    "planet orbit comet telescope galaxy star rocket crater lunar eclipse",
)
FILLING = (
    "the a of and to in that with for on very quite then also perhaps today again always one many some every old new "
    "time way day thing place part case week group hand eye fact point home water room area money story month right"
)


def sentences(codes: np.ndarray, *, seed: int = 0, share: float = 0.12, length: int = 18) -> list[str]:
    """A sentence for each subject in ``codes``; about ``share`` of its words are of the subject."""
    rng = np.random.default_rng(seed)
    filling, subjects = FILLING.split(), [words.split() for words in SUBJECTS]
    found = []
    for code in codes:
        words = [str(rng.choice(subjects[code] if rng.random() < share else filling)) for _ in range(length)]
        found.append(" ".join(words).capitalize() + rng.choice([".", "!", " ..."]))
    return found


def subjects(n: int = 300, *, n_classes: int = 3, seed: int = 0, **options: object) -> Task:
    """Sentences on as many subjects as there are classes."""
    y = np.arange(n) % n_classes
    return Task.from_texts(sentences(y, seed=seed), y, **{"name": "subjects", "validation": "holdout", **options})


def kitchen() -> Task:
    """Two classes, with empty words, symbols, other scripts, very long texts and one of 5,000 words."""
    y = np.arange(300) % 2
    texts = sentences(y, seed=1)
    texts[10:14] = ["?!", "美しい 星", "a" * 10_000, " ".join(sentences(np.zeros(300, dtype=int), seed=2))]
    return Task.from_texts(texts, y, name="kitchen", validation="holdout")


def heat(n: int = 400) -> Task:
    """The number of words about the kitchen, with noise."""
    rng = np.random.default_rng(3)
    shares = rng.uniform(0.0, 0.6, n)
    texts = [sentences(np.zeros(1, dtype=int), seed=i, share=share)[0] for i, share in enumerate(shares)]
    counts = [sum(word in SUBJECTS[0].split() for word in text.lower().rstrip(".! ").split()) for text in texts]
    y = np.array(counts) * 10.0 + rng.normal(0.0, 1.0, n)
    return Task.from_texts(texts, y, kind="regression", name="heat", validation="holdout")


def strange_texts() -> np.ndarray:
    """Nothing, no known word, another script, a lone surrogate."""
    return np.array(["", "xyzzy", "天気 ☀", "\ud800 cake"], dtype=object)


TEXTS = ContractTasks(
    {
        "binary": (lambda: subjects(n_classes=2), 0.9),
        "multiclass": (subjects, 0.8),
        "regression": (heat, 16.0),
    },
    kitchen,
    strange_texts,
)
