"""Meta-features: data as a fixed list of named numbers, bounded in time and memory."""

from metatune.metafeatures.dispatch import describe
from metatune.metafeatures.image import describe_images
from metatune.metafeatures.series import describe_series
from metatune.metafeatures.tabular import NAMES, describe_dataset
from metatune.metafeatures.text import describe_texts

__all__ = [
    "NAMES",
    "describe",
    "describe_dataset",
    "describe_images",
    "describe_series",
    "describe_texts",
]
