"""``python -m metatune.cli``: the same as ``metatune``."""

from metatune.cli.main import main

main()
