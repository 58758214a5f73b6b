"""``Defects``: what is not whole in a history; ``Uneven``: what of that its tables tell at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defects:
    """What is not whole: ids of studies and keys of trials.

    ``abandoned`` studies are marked as running though their process is dead; ``half_written`` trials have everything
    in the store, but their run is not marked as ended; ``doubled`` are there more than once (reading counts them
    once); ``lost`` trials have no study.
    """

    abandoned: tuple[str, ...] = ()
    half_written: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def __add__(self, other: "Defects") -> "Defects":
        """What is not whole in two histories."""
        return Defects(
            self.abandoned + other.abandoned,
            self.half_written + other.half_written,
            self.doubled + other.doubled,
            self.lost + other.lost,
        )

    def __bool__(self) -> bool:
        return bool(self.abandoned or self.half_written or self.doubled or self.lost)


@dataclass(frozen=True)
class Uneven:
    """Studies and trials whose runs do not pair, by what their tags name them (``schema.token``).

    ``studies`` have several runs, ``trials`` (their study and key) likewise; ``lost`` are keys of trials whose study
    has none.
    """

    studies: tuple[str, ...]
    trials: tuple[tuple[str, str], ...]
    lost: tuple[str, ...]
