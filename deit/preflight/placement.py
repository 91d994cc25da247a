"""The part of the configured hardware that a task uses."""

from __future__ import annotations

import dataclasses

from deit.config.schema import RunConfig
from deit.preflight import networks


def on_one_process(config: RunConfig, *, on_card: bool = False) -> RunConfig:
    """The configuration on one CPU process, or one Ascend card.

    So a machine without cards can inspect the recipe of eight cards or export its model, without disturbing a training.
    """
    return _alone(config, "ascend" if on_card else "cpu", config.hardware.card_ids if on_card else None)


def on_one_card(config: RunConfig, models: list[str]) -> RunConfig:
    """One card of the hardware of the run or the command; ONNX files need none."""
    onnx = bool(models) and all(map(networks.is_onnx, models))
    ids = None if onnx or not config.hardware.card_ids else config.hardware.card_ids[:1]
    return _alone(config, "cpu" if onnx else config.hardware.target, ids)


def _alone(config: RunConfig, target: str, ids: list[int] | None) -> RunConfig:
    one = dataclasses.replace(config.hardware, target=target, card_ids=ids, cards=1, nodes=1)
    one.node_rank = one.master_addr = one.master_port = one.rank_table = None
    return dataclasses.replace(config, hardware=one)
