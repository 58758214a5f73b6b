"""Meta-features: a dataset as a fixed list of named numbers, bounded in time and memory, versioned."""

from metatune.metafeatures.tabular import FEATURE_VERSION, NAMES, describe, describe_dataset

__all__ = ["FEATURE_VERSION", "NAMES", "describe", "describe_dataset"]
