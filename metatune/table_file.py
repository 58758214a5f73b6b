"""Arrow tables as Parquet files with a version and a few facts about them; written whole or not at all."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from metatune.errors import KnowledgeError

#: Version of the files; a change of the columns that every table has raises it.
SNAPSHOT_VERSION = 1

_META = b"metatune"


def write_table(table: pa.Table, path: Path, meta: Mapping[str, Any]) -> None:
    """``table`` in the file ``path``, on the disk when this returns; ``meta`` is JSON."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    meta = {"version": SNAPSHOT_VERSION, **meta}
    with partial.open("wb") as file:
        pq.write_table(table.replace_schema_metadata({_META: json.dumps(meta)}), file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_table(path: Path, columns: Sequence[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """What ``write_table`` wrote, or some columns of it. Raises ``KnowledgeError``."""
    try:
        table = pq.read_table(path, columns=columns, partitioning=None)
        meta = json.loads((table.schema.metadata or {})[_META])
        version = meta["version"]
    except FileNotFoundError as error:
        raise damaged(path, "no such file") from error
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise damaged(path, error) from error
    if version != SNAPSHOT_VERSION:
        raise KnowledgeError(
            f"snapshot of another version (this one is {SNAPSHOT_VERSION})",
            field=str(path),
            value=version,
            remedy="Update metatune, or make the snapshot again with `metatune train`.",
        )
    return table, meta


def damaged(path: Path, reason: object) -> KnowledgeError:
    """The error for a file that ``reason`` kept from being read."""
    return KnowledgeError(
        f"not a readable file of a snapshot ({reason})",
        field=str(path),
        value=path.name,
        remedy="Make the snapshot again with `metatune train`, or fetch the directory again.",
    )
