"""``python -m metatune`` is the command ``metatune``."""

from metatune.cli.main import main

if __name__ == "__main__":
    main()
