"""Meta-features of texts: lengths, vocabulary, characters, and how far apart the classes lie."""

import re
import zlib

import numpy as np

from metatune.dataset import DataKind
from metatune.metafeatures import pooled
from metatune.metafeatures.landmarks import SEPARABILITY_NAMES, separability
from metatune.metafeatures.sampling import summarized

PREFIX = "text_"
#: Characters of a text that are looked at; its length is that of the whole.
MAX_CHARACTERS = 2_000
#: Columns into which words are hashed.
BUCKETS = 1_024

_WORD = re.compile(r"\w+")
_QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}
_OWN = (
    *(f"log_{unit}_{name}" for unit in ("words", "characters") for name in ("mean", *_QUANTILES)),
    "words_variation", "characters_variation", "word_length_mean", "log_vocabulary", "type_token_ratio",
    "share_hapaxes", "out_of_vocabulary", "share_non_ascii", "share_digits", "share_upper", "share_punctuation",
    "share_duplicates", "class_variance", *SEPARABILITY_NAMES,
)  # fmt: skip

#: Every feature, in the order of the result of ``describe_texts``.
NAMES = pooled.names(PREFIX, _OWN)


def describe_texts(
    X: np.ndarray, y: np.ndarray, kind: DataKind, *, rows: np.ndarray | None = None, seed: int = 0
) -> dict[str, float]:
    """The meta-features of texts ``X``, ``str`` in an array of objects of shape (n,), and their target ``y``, (n,).

    Every name of ``NAMES``, in that order; NaN where unknown or not applicable, never infinite. ``rows``: positions of
    those that may be looked at, all unless given. Computed from the first 2,000 characters of at most 2,000 texts,
    drawn with ``seed``; the number of rows and the class shares are those of the whole. A word is a run of letters and
    digits, whatever their case. Independent of the coding of the classes.
    """
    rows, chosen = pooled.chosen_rows(rows, len(X), seed)
    texts = [X[row] for row in chosen]
    starts = [text[:MAX_CHARACTERS] for text in texts]
    words, vocabulary = _words(starts)
    characters = np.array([len(text) for text in texts], dtype=float)
    counts = np.array([len(ids) for ids in words], dtype=float)
    counts *= characters / np.maximum(1.0, np.minimum(characters, MAX_CHARACTERS))
    sample = summarized(_tf_idf(words, vocabulary), chosen, rows, y, kind)
    found = _lengths(counts, "words") | _lengths(characters, "characters") | _characters(starts)
    found |= _vocabulary(words, vocabulary, np.random.default_rng(seed))
    found["share_duplicates"] = 1.0 - len(set(texts)) / len(texts)
    found |= pooled.class_variance(sample) | separability(sample, seed=seed)
    return pooled.described(found, sample, PREFIX, _OWN)


def _words(texts: list[str]) -> tuple[list[np.ndarray], list[str]]:
    """The words of each text as positions in the vocabulary, and the vocabulary as its words appear."""
    known: dict[str, int] = {}
    ids = []
    for text in texts:
        found = [known.setdefault(word, len(known)) for word in _WORD.findall(text.lower())]
        ids.append(np.array(found, dtype=np.int32))
    return ids, list(known)


def _lengths(lengths: np.ndarray, unit: str) -> dict[str, float]:
    """Logarithms of 1 + mean and quantiles, and the standard deviation over the mean."""
    found = {f"log_{unit}_{name}": np.log1p(np.quantile(lengths, level)) for name, level in _QUANTILES.items()}
    mean = lengths.mean()
    if mean > 0:
        found[f"{unit}_variation"] = lengths.std() / mean
    return found | {f"log_{unit}_mean": np.log1p(mean)}


def _characters(texts: list[str]) -> dict[str, float]:
    """Shares of kinds of characters among those that are not white space."""
    ascii_counts, total = np.zeros(128, dtype=np.int64), 0
    for text in texts:
        codes = np.frombuffer("".join(text.split()).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        ascii_counts += np.bincount(codes[codes < 128], minlength=128)
        total += len(codes)
    if not total:
        return {}
    kinds = {
        "digits": [chr(code).isdigit() for code in range(128)],
        "upper": [chr(code).isupper() for code in range(128)],
        "punctuation": [chr(code).isprintable() and not chr(code).isalnum() for code in range(128)],
    }
    found = {f"share_{name}": ascii_counts[np.array(member)].sum() / total for name, member in kinds.items()}
    return found | {"share_non_ascii": 1.0 - ascii_counts.sum() / total}


def _vocabulary(words: list[np.ndarray], vocabulary: list[str], rng: np.random.Generator) -> dict[str, float]:
    """Richness of the vocabulary; ``out_of_vocabulary``: share of the words of half of the texts not in the other."""
    tokens = np.concatenate(words)
    if not len(tokens):
        return {}
    counts = np.bincount(tokens, minlength=len(vocabulary))
    lengths = np.array([len(word) for word in vocabulary])
    found = {
        "word_length_mean": counts @ lengths / len(tokens),
        "log_vocabulary": np.log(len(vocabulary)),
        "type_token_ratio": len(vocabulary) / len(tokens),
        "share_hapaxes": np.count_nonzero(counts == 1) / len(vocabulary),
    }
    half = np.repeat(rng.permutation(len(words)) % 2, [len(ids) for ids in words])
    by_half = np.stack([np.bincount(tokens[half == h], minlength=len(vocabulary)) for h in (0, 1)])
    if by_half.any(axis=1).all():
        unseen = (by_half * (by_half[::-1] == 0)).sum(axis=1)
        found["out_of_vocabulary"] = float(np.mean(unseen / by_half.sum(axis=1)))
    return found


def _tf_idf(words: list[np.ndarray], vocabulary: list[str]) -> np.ndarray:
    """Logarithmic frequencies of hashed words by inverse document frequency, rows of length 1: (texts, ``BUCKETS``)."""
    # Not Python's own hash: it differs from process to process.
    bucket = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) % BUCKETS for word in vocabulary], dtype=int)
    counts = np.stack([np.bincount(bucket[ids], minlength=BUCKETS) for ids in words]).astype(float)
    documents = np.count_nonzero(counts, axis=0)
    weighted: np.ndarray = np.log1p(counts) * (np.log((1.0 + len(words)) / (1.0 + documents)) + 1.0)
    norm = np.linalg.norm(weighted, axis=1, keepdims=True)
    return np.asarray(weighted / np.where(norm > 0, norm, 1.0))
