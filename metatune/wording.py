"""Numbers in sentences."""


def plural(count: int, one: str, many: str = "") -> str:
    """``count`` of something in words: ``1 trial``, ``2,000 trials``; ``many`` where the plural is not ``one`` + s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
