"""``tag_equals``: the only place where a value becomes part of an MLflow filter string."""

from metatune.errors import UsageError


def tag_equals(tag: str, value: str) -> str:
    """The condition that the tag called ``tag`` is ``value``, whatever characters that has.

    MLflow takes either kind of quotes and knows no escapes. Raises ``UsageError`` for a value with both kinds, and for
    a tag with a backtick.
    """
    quote = "'" if "'" not in value else '"'
    if quote in value or "`" in tag:
        raise UsageError(
            "MLflow cannot search for a text with both kinds of quotes",
            field=tag,
            value=value,
            remedy="Search for something else, such as the study's id.",
        )
    return f"tags.`{tag}` = {quote}{value}{quote}"
