"""The configuration with which a model predicts and is evaluated, for ``deit.library``.

    python -m deit.model_config task.model=MODEL [KEY=VALUE ...]

It is a process of its own, so that neither Hydra, which changes things for all that use it, nor MLflow, which leaves
variables in the environment, is loaded into somebody's notebook. Takes what ``task=predict`` takes and prints the frozen
configuration as JSON; ``task.model`` is then the path of a weight file or of an exported folder. A mistake is one message on
stderr, and exit code 2.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

from deit.commands import table
from deit.compose.hydra_errors import ERRORS, translate
from deit.config import frozen
from deit.config.schema import RunConfig
from deit.config.tasks import PredictTask, expect
from deit.errors import UserError
from deit.preflight import networks
from deit.secrets import redact


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    try:
        config = of_model(arguments)
    except UserError as error:
        print(redact(str(error)), file=sys.stderr)
        return error.exit_code
    print(json.dumps(frozen.to_dict(config)))
    return 0


def of_model(typed: Sequence[str]) -> RunConfig:
    """The configuration for these overrides of ``task=predict``, without images. Raises UserError."""
    typed = ["task=predict", "task.input=.", *typed]
    table.register()
    try:
        config, given = table.composed_of(typed)
    except ERRORS as error:
        raise translate(error, typed) from error
    if unused := table.unused(config, given):
        raise UserError("\n".join(unused))
    config = table.task_of("predict").fitted(config)
    config, keys = networks.with_network(config, expect(config.task, PredictTask))
    return dataclasses.replace(config, task=keys)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
