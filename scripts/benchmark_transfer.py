"""Searches with and without history on the benchmark tables: metatune, simple methods, and released packages.

    python scripts/benchmark_transfer.py --benchmarks DIR --runs DIR [--report docs/benchmarks.md]

The same replays as ``metatune backtest --table DIR``, in stages that ``--stages`` chooses: a own and simple methods on
all tasks, b metatune without one of its parts, c released packages, d spoilt or little history, e pipelines with and
without meta-features. It can be stopped at any time: what ended is in ``--runs`` and not run again by this version on
the same tables. ``--report`` puts tables of whatever such runs are there between two markers of the file; ``--stages
none`` does only that.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from transfer.reading import Runs
from transfer.report import report, write
from transfer.stages import SEARCH, STAGES, digests, parts_of, run

from metatune.errors import DataError, MetatuneError

ROOT = Path(__file__).resolve().parent.parent


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", type=Path, required=True, help="the folder of the tables")
    parser.add_argument("--runs", type=Path, default=ROOT / ".cache" / "transfer", help="where searches are kept")
    parser.add_argument("--stages", type=stages, default=list(STAGES), help="for example a,c; or none")
    parser.add_argument("--tables", nargs="+", default=SEARCH, help="only these tables of stages a to d")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread")
    parser.add_argument(
        "--simple-tasks",
        type=int,
        metavar="N",
        help="tasks per table of stage a for the simple methods",
    )
    parser.add_argument("--ablation-tasks", type=int, default=12, metavar="N", help="tasks per table of stage b")
    parser.add_argument("--peer-tasks", type=int, default=6, metavar="N", help="tasks per table of stage c")
    parser.add_argument("--stress-tasks", type=int, default=20, metavar="N", help="tasks per table of stage d")
    parser.add_argument("--report", type=Path, metavar="FILE", help="the Markdown file that gets the tables")
    return parser.parse_args(arguments)


def stages(text: str) -> list[str]:
    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown stage {unknown[0]!r}; known: {', '.join(STAGES)}, none")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        for stage in options.stages:
            parts = parts_of(
                stage, tables=options.tables, simple_tasks=options.simple_tasks,
                ablation_tasks=options.ablation_tasks, peer_tasks=options.peer_tasks,
                stress_tasks=options.stress_tasks,
            )  # fmt: skip
            run(
                parts, options.seeds, label=stage, benchmarks=options.benchmarks, runs=options.runs,
                workers=options.workers,
            )  # fmt: skip
        if options.report is not None:
            write(options.report, _reported(options))
    except MetatuneError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"Interrupted; what ended is in {options.runs}.", file=sys.stderr)
        return 130
    return 0


def _reported(options: argparse.Namespace) -> str:
    """The tables of what was run. Raises ``DataError`` where nothing was: the tables that a page has stay there."""
    text = report(Runs(options.runs, digests(options.benchmarks)), options.benchmarks)
    if not text:
        raise DataError(
            "no searches by this version on the tables in --benchmarks",
            field="--runs", value=str(options.runs), remedy="Name another folder, or run some --stages first.",
        )  # fmt: skip
    return text


if __name__ == "__main__":
    sys.exit(main())
