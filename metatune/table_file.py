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
        table = table.replace_schema_metadata({_META: json.dumps(meta)})
        pq.write_table(table, file, compression="zstd", **_encodings(table.schema))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _encodings(schema: pa.Schema) -> dict[str, list[str]]:
    """Curves, of which hardly two numbers are the same, byte by byte (a third smaller); all else by dictionaries."""
    leaf = {
        field.name: f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema
    }
    curves = {field.name for field in schema if field.type == pa.list_(pa.float64())}
    return {
        "use_dictionary": [path for name, path in leaf.items() if name not in curves],
        "use_byte_stream_split": [leaf[name] for name in sorted(curves)],
    }


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
