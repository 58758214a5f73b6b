"""``Repair``: what was changed in bad data; ``Inspector``: raise a problem, or repair it and take a note."""

from dataclasses import dataclass

from metatune.errors import DataError


@dataclass(frozen=True)
class Repair:
    """One mechanical repair, or a notice: where, what stood there (shortened), and what was done or is to be known."""

    field: str
    value: str
    action: str

    def __str__(self) -> str:
        return f"{self.field}: {self.action} (got {self.value})"


class Inspector:
    """Collects the repairs of one reading of data; without permission to repair, a problem is an error."""

    def __init__(self, *, repair: bool) -> None:
        self.repair = repair
        self.repairs: list[Repair] = []

    def found(self, problem: str, *, field: str, value: object, remedy: str, action: str) -> None:
        """Note that ``action`` (in the infinitive) is done about ``problem``.

        Raises ``DataError`` with ``remedy`` and ``action`` instead, unless repairs are allowed.
        """
        if not self.repair:
            raise DataError(problem, field=field, value=value, remedy=f"{remedy}, or use repair=True to {action}.")
        self.noticed(field=field, value=value, notice=action)

    def noticed(self, *, field: str, value: object, notice: str) -> None:
        """Note what the user should know about data that stay as they are."""
        text = repr(value)
        self.repairs.append(Repair(field, text if len(text) <= 120 else f"{text[:119]}…", notice))


def shortened(names: list[str], limit: int = 5) -> str:
    """The first few ``names`` quoted, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(repr, names[:limit])) + more
