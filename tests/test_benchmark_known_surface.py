"""The reference that knows its task: it ranks by what other trials of the task teach, not by the row itself."""

import sys
from pathlib import Path

import numpy as np
from backtest_tables import small_table

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import benchmark_known_surface as script
from transfer.reading import Runs
from transfer.stages import PLAIN

from metatune.backtest.fold import Fold
from metatune.backtest.replay import replay
from metatune.backtest.run import Journal


def test_a_planted_surface_is_known_and_the_luck_of_a_row_is_not() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((400, 2))
    score = -((X - 0.3) ** 2).sum(axis=1)
    lucky = int(np.argmin(score))
    score[lucky] = 1.0
    score[:5] = np.nan
    promised = script.surface(X, score)
    planted = np.delete(np.arange(5, 400), lucky - 5)
    assert np.corrcoef(promised[planted], score[planted])[0, 1] > 0.9
    assert promised[lucky] < np.median(promised)


def test_its_searches_are_kept_and_compared(tmp_path: Path) -> None:
    table = small_table(tmp_path / "table")
    journal = Journal(tmp_path / "runs")
    script.run(table, seeds=2, tasks=3, journal=journal)
    kept = list(journal.read(table.name, script.METHOD))
    assert len(kept) == 6
    fold = Fold(table, 0)
    journal.append(replay(fold.problem(task), method) for task in fold.playable for method in ("gp", "metatune"))
    script.run(table, seeds=2, tasks=3, journal=journal)
    assert len(list(journal.read(table.name, script.METHOD))) == 6, "what is there is not run again"

    text = script.told(Runs(tmp_path / "runs", {table.name: table.digest}), [table.name])
    assert f"`{table.name}` 3 x 1" in text
    surface_regret = np.mean([run.regret[4] for run in kept])
    random_regret = np.mean([replay(fold.problem(task), "random").regret[4] for task in fold.playable])
    assert surface_regret < random_regret
    assert kept[0].protocol == PLAIN
