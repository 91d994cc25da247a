"""``task=explain``: pictures of the network's attention."""

from __future__ import annotations

from deit.commands.inference import Inference
from deit.config.schema import RunConfig
from deit.config.tasks import ExplainTask
from deit.preflight import networks


class Explain(Inference[ExplainTask]):
    does = "show the attention on"
    in_batches = False

    def check(self, config: RunConfig) -> RunConfig:
        return networks.resolved(config, self.of(config), weights_alone=True)


TASK = Explain()
