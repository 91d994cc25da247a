"""The teacher and the placement of a task, decided before the start."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from composition import composed
from trained_runs import SMALL, trained

from deit.config import frozen
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
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, num_classes=7))
    with pytest.raises(UserError, match=r"the teacher has data\.num_classes=10, the student 7\. They must be equal"):
        resolve_teacher(other)


def test_teacher_sets_size_mean_and_deviation_of_its_images(tmp_path: Path) -> None:
    run = trained(tmp_path)
    own = frozen.load(run.config)
    typed = (*SMALL, "distill=hard", "model.distilled=true", f"distill.teacher={run.path}", f"runs_dir={tmp_path / 'runs'}")
    config = composed(*typed, "model.img_size=48", "data.mean=[0.1,0.2,0.3]")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, num_classes=10))
    found = resolve_teacher(config)
    assert (found.img_size, found.mean, found.std) == (own.model.img_size, own.data.mean, own.data.std)
    assert found.mean != config.data.mean and found.img_size != 48
    chosen = dataclasses.replace(config, distill=dataclasses.replace(config.distill, mean=[0.5] * 3))
    assert resolve_teacher(chosen).mean == [0.5] * 3
    # A run from before these keys goes on as it began.
    assert resolve_teacher(dataclasses.replace(config, resume=str(run.path))).mean == [0.1, 0.2, 0.3]
    for keys, said in (
        ({"img_size": 64}, r"distill\.img_size is 64, but the teacher of .* takes images of 32 pixels"),
        ({"mean": [0.5], "std": [0.5]}, r"takes images of 3 channels, but distill\.mean has 1 values"),
    ):
        wrong = dataclasses.replace(config, distill=dataclasses.replace(config.distill, **keys))  # type: ignore[arg-type]
        with pytest.raises(UserError, match=said):
            resolve_teacher(wrong)


def test_mindir_teacher_is_checked_by_the_worker(tmp_path: Path) -> None:
    (tmp_path / "teacher.mindir").write_bytes(b"anything")
    config = composed(*SMALL, "distill=hard", "model.distilled=true", f"distill.teacher={tmp_path / 'teacher.mindir'}")
    assert resolve_teacher(config).teacher == str(tmp_path / "teacher.mindir")


def test_preview_of_eight_cards_uses_one_process(tmp_path: Path) -> None:
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
