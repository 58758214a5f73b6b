"""Replays of searches on recorded trials: what the history saves, measured by leaving one task out."""
