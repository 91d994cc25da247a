"""model.pretrained: files that do not fit are reported before the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fidelity import FIXTURES

PLAIN = f"checkpoint={FIXTURES}/weights_plain.pth"


def test_evaluate_rejects_a_file_of_another_model(command: Callable) -> None:
    outcome = command("task=evaluate", PLAIN, "model=deit_micro", "data=digits")
    assert outcome.code == 2
    assert f"checkpoint={FIXTURES}/weights_plain.pth: belongs to another model than deit_micro" in outcome.err
    assert "other shape: cls_token (1, 1, 16) instead of (1, 1, 128)" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("model.pretrained=nothing",), "no such file or folder"),
        (("model.pretrained=deit_tiny_patch16_224",), "deit_tiny_patch16_224-a1311bcf.pth does not exist"),
        ((f"model.pretrained={FIXTURES}/weights_plain.pth",), "nothing in"),
        ((f"model.pretrained={FIXTURES}/weights_whole_module.pth",), "refused: it names 'torch.nn.modules"),
        ((f"model.pretrained={FIXTURES}/model.safetensors",), "nothing in"),
        (("weights_dir=elsewhere",), "weights_dir has no effect"),
        (("task=evaluate", PLAIN, "model.pretrained=x"), "model.pretrained has no effect with task=evaluate"),
    ],
)
def test_unsuitable_pretrained_weights_are_rejected(
    command: Callable, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    outcome = command("experiment=quickstart", *arguments)
    assert outcome.code == 2 and told in outcome.err and "Traceback" not in outcome.err, outcome.err
    assert not (tmp_path / "runs").exists()
