"""The teacher and the placement of a task, settled before the start."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from composition import composed
from trained_runs import SMALL, trained

from deit.errors import UserError
from deit.preflight.placement import on_one_card, on_one_process
from deit.preflight.teacher_weights import resolve_teacher


def test_a_teacher_must_fit_the_student(tmp_path: Path) -> None:
    run = trained(tmp_path)
    config = composed(
        *SMALL, "distill=hard", "model.distilled=true", f"distill.teacher={run.path}", f"runs_dir={tmp_path / 'runs'}"
    )
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, num_classes=10))
    assert resolve_teacher(config).teacher == str(run.checkpoints / "step_00000003" / "model.safetensors")
    for part, keys in (("data", {"num_classes": 7}), ("model", {"img_size": 48})):
        other = dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **keys)})
        ((key, value),) = keys.items()
        with pytest.raises(UserError, match=rf"the teacher has {part}\.{key}=\d+, the student {value}\. They must be equal"):
            resolve_teacher(other)


def test_a_mindir_is_left_to_the_worker(tmp_path: Path) -> None:
    (tmp_path / "teacher.mindir").write_bytes(b"anything")
    config = composed(*SMALL, "distill=hard", "model.distilled=true", f"distill.teacher={tmp_path / 'teacher.mindir'}")
    assert resolve_teacher(config).teacher == str(tmp_path / "teacher.mindir")


def test_eight_cards_become_one_process(tmp_path: Path) -> None:
    config = composed("experiment=quickstart")
    eight = dataclasses.replace(
        config,
        hardware=dataclasses.replace(
            config.hardware, target="ascend", cards=8, nodes=2, node_rank=1, master_addr="a", master_port=1, card_ids=[4, 5]
        ),
    )
    one = on_one_process(eight).hardware
    assert (one.target, one.cards, one.nodes, one.node_rank, one.master_addr, one.card_ids) == ("cpu", 1, 1, None, None, None)
    on_card = on_one_process(eight, on_card=True).hardware
    assert (on_card.target, on_card.cards, on_card.card_ids) == ("ascend", 1, [4, 5])
    compared = on_one_card(eight, [str(tmp_path)]).hardware
    assert (compared.target, compared.cards, compared.nodes, compared.card_ids) == ("ascend", 1, 1, [4])
