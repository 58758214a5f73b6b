"""Runs OpenBox's transfer search in OpenBox's own environment: JSON lines in, JSON lines out.

Started by ``openbox.py`` as ``python -I openbox_server.py``; imports nothing of metatune. The first line describes the
search (space, source tasks, rows of the pool, seed); every further one holds new results and asks for a proposal.
"""

import json
import os
import sys
import tempfile
from typing import Any

from ConfigSpace import Configuration, InCondition
from openbox import Advisor, History, Observation
from openbox import space as ob
from openbox.acq_optimizer.basic_maximizer import AcquisitionFunctionMaximizer
from openbox.utils.constants import FAILED, SUCCESS


class PoolMaximizer(AcquisitionFunctionMaximizer):  # type: ignore[misc]
    """Ranks the rows that are left in the pool by the acquisition function."""

    rows: list[Any]

    def _maximize(self, acquisition_function: Any, history: Any, num_points: int, **_: Any) -> Any:
        return self._sort_configs_by_acq_value(acquisition_function, self.rows)


def build_space(parameters: list[dict[str, Any]], conditions: dict[str, Any]) -> Any:
    """The space of OpenBox from its description."""
    space = ob.Space()
    for p in parameters:
        if "choices" in p:
            space.add_variable(ob.Categorical(p["name"], p["choices"]))
        else:
            number = ob.Int if p["whole"] else ob.Real
            space.add_variable(number(p["name"], p["low"], p["high"], log=p["log"]))
    for child, (parent, values) in conditions.items():
        space.add_condition(InCondition(space[child], space[parent], values))
    return space


def build_advisor(message: dict[str, Any], space: Any, directory: str) -> Any:
    """OpenBox's advisor with the source tasks as its history, and rows of the pool as the candidates of its model."""
    histories = []
    for number, (configurations, losses) in enumerate(message["tasks"]):
        history = History(task_id=f"source-{number}", config_space=space)
        for values, loss in zip(configurations, losses):  # noqa: B905  OpenBox runs on Python 3.8 too
            history.update_observation(Observation(config=Configuration(space, values=values), objectives=[loss]))
        histories.append(history)
    advisor = Advisor(
        space,
        transfer_learning_history=histories or None,
        random_state=message["seed"],
        output_dir=directory,
        logger_kwargs={"force_init": True},
    )
    advisor.acq_optimizer = PoolMaximizer(space, rng=advisor.rng)
    return advisor


def serve(reader: Any, writer: Any, directory: str) -> None:
    """Answer until the other side closes."""
    message = json.loads(reader.readline())
    space = build_space(message["parameters"], message["conditions"])
    rows = [Configuration(space, values=values) for values in message["rows"]]
    free = dict(enumerate(rows))
    advisor = build_advisor(message, space, directory)
    for line in reader:
        for position, loss, failed in json.loads(line):
            free.pop(position)
            state = FAILED if failed else SUCCESS
            advisor.update_observation(Observation(config=rows[position], objectives=[loss], trial_state=state))
        advisor.acq_optimizer.rows = list(free.values())
        asked = advisor.get_suggestion()
        print(json.dumps({name: asked[name] for name in asked if asked[name] is not None}), file=writer, flush=True)


if __name__ == "__main__":
    # OpenBox logs to the standard output, which carries the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="openbox-") as folder:
        serve(sys.stdin, answers, folder)
