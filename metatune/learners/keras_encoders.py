"""What goes into the networks for images, texts and time series: one array each, by what the training rows had."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from metatune.examples import Images, Texts, TimeSeries
from metatune.learners.keras_preprocessing import NumericColumn

#: Scaled values of a series are cut here.
_BOUND = 20.0
#: Series that are encoded at once, in double precision.
_CHUNK = 1024
#: Everything but white space and punctuation; letters with marks of their own (Hindi, Thai) stay whole.
_WORD = re.compile(r"[^\s!-/:-@\[-`{-~\u00a1-\u00bf\u0964\u0965\u2010-\u206f\u3000-\u303f]+")
#: Numbers of words that are none.
_PADDING, _UNKNOWN = 0, 1


@dataclass(frozen=True)
class ImageEncoder:
    """Images stay as they are; ``scale`` is the brightest value, by which the network divides."""

    scale: float

    @classmethod
    def of(cls, data: Images) -> "ImageEncoder":
        """The scale of ``data``: 255 for most."""
        return cls(float(data.X.max()) or 1.0)

    def encode(self, X: np.ndarray) -> np.ndarray:
        """``uint8``, shape (n, height, width, channels)."""
        return X

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "ImageEncoder":
        """The inverse of ``to_dict``."""
        return cls(**raw)


@dataclass(frozen=True)
class WordEncoder:
    """The first ``length`` words of a text as numbers: 2, 3, ... for ``words``, 1 for any other, 0 after the end.

    Words are in lower case, and what stands between white space and punctuation.
    """

    words: tuple[str, ...]
    length: int

    @classmethod
    def of(cls, data: Texts, *, vocabulary: int, length: int) -> "WordEncoder":
        """The ``vocabulary`` most frequent words, ties by name; no longer than the longest text."""
        counts: Counter[str] = Counter()
        longest = 1
        for text in data.X:
            words = list(_words(text))
            counts.update(words)
            longest = max(longest, len(words))
        order = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(tuple(order[:vocabulary]), min(length, longest))

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self.words) + 2

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=2)}

    def encode(self, X: Iterable[str]) -> np.ndarray:
        """``int32``, shape (n, length); a text without any word has one that is unknown."""
        texts = list(X)
        encoded = np.full((len(texts), self.length), _PADDING, dtype=np.int32)
        for row, text in zip(encoded, texts, strict=True):
            numbers = [self._numbers.get(word, _UNKNOWN) for word in islice(_words(text), self.length)] or [_UNKNOWN]
            row[: len(numbers)] = numbers
        return encoded

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "WordEncoder":
        """The inverse of ``to_dict``."""
        return cls(tuple(raw["words"]), raw["length"])


def _words(text: str) -> Iterator[str]:
    return (match.group() for match in _WORD.finditer(text.lower()))


@dataclass(frozen=True)
class SeriesEncoder:
    """Series of ``length`` steps, ``window`` steps averaged to one, scaled; missing values are 0 after scaling.

    ``centre`` and ``scale`` have one value a channel; where they are empty, each channel of each series is scaled by
    its own mean and deviation. ``known`` adds a channel for each: the share of steps in the window that have a value.
    """

    length: int
    window: int
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    known: bool

    @classmethod
    def of(cls, data: TimeSeries, *, steps: int, own_scale: bool) -> "SeriesEncoder":
        """For series like those of ``data``, in at most about ``steps`` steps."""
        length = data.X.shape[1]
        columns = [] if own_scale else [_numbers(data.X[..., channel]) for channel in range(data.X.shape[2])]
        return cls(
            length=length,
            window=-(-length // steps),
            centre=tuple(column.centre for column in columns),
            scale=tuple(column.scale for column in columns),
            known=bool(np.isnan(data.X).any()),
        )

    def encode(self, X: np.ndarray) -> np.ndarray:
        """``float32``, shape (n, steps, channels), always finite; longer series are cut, shorter ones filled."""
        starts = range(0, len(X), _CHUNK) if len(X) else (0,)
        return np.concatenate([self._encoded(X[start : start + _CHUNK].astype(np.float64)) for start in starts])

    def _encoded(self, x: np.ndarray) -> np.ndarray:
        x = x[:, : self.length]
        steps = -(-self.length // self.window)
        x = np.pad(x, ((0, 0), (0, steps * self.window - x.shape[1]), (0, 0)), constant_values=np.nan)
        known = ~np.isnan(x)
        centre, scale = (np.array(self.centre), np.array(self.scale)) if self.centre else _moments(x, known)
        z = np.where(known, (x - centre) / scale, 0.0)
        windows = (len(x), steps, self.window, x.shape[2])
        counts = known.reshape(windows).sum(axis=2)
        means = np.clip(z.reshape(windows).sum(axis=2) / np.maximum(counts, 1), -_BOUND, _BOUND)
        channels = [means, counts / self.window] if self.known else [means]
        return np.concatenate(channels, axis=2).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "SeriesEncoder":
        """The inverse of ``to_dict``."""
        return cls(**dict(raw) | {"centre": tuple(raw["centre"]), "scale": tuple(raw["scale"])})


def _numbers(channel: np.ndarray) -> NumericColumn:
    """Robust centre and scale of a channel, shape (n, length), as those of a column of a table."""
    spread = channel[:: -(-len(channel) // _CHUNK)]
    return NumericColumn.of(pd.Series(spread.ravel(), name="channel"))


def _moments(x: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the known values of each series, 0 and 1 where there are none."""
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centre = np.where(known, x, 0.0).sum(axis=1, keepdims=True) / counts
    variance = np.square(np.where(known, x - centre, 0.0)).sum(axis=1, keepdims=True) / counts
    deviation = np.sqrt(variance)
    # Rounding alone gives a constant series a deviation too.
    return centre, np.where(deviation > 1e-6 * np.abs(centre), deviation, 1.0)
