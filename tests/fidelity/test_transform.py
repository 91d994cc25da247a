"""The evaluation transform against timm's, pixel for pixel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from composition import composed
from fidelity import load
from reference import inputs_transform as inputs
from reference.packing import checksum

from deit.data.transform import EvalTransform


@pytest.mark.parametrize("number", range(len(inputs.EVALUATIONS)))
def test_evaluation_transform(number: int, fidelity: Callable[..., None]) -> None:
    settings, stored = inputs.EVALUATIONS[number], load("transform")
    transform = EvalTransform(
        composed(
            "experiment=quickstart",
            f"model.img_size={settings.size}",
            "model.patch_size=16",
            f"data.crop_pct={settings.crop_pct}",
            f"data.interpolation={settings.interpolation}",
        )
    )
    pictures = [inputs.picture(*shape) for shape in inputs.shapes(settings)]
    assert checksum(pictures) == stored[f"evaluation.{number}.inputs"]
    ours = [checksum([transform(image)])[0] for image in pictures]
    for reference, key in (("timm 1.0.31", "timm"), ("torchvision's Resize and CenterCrop, as timm 0.3.2 uses them", "parts")):
        different = sum(crc != theirs for crc, theirs in zip(ours, stored[f"evaluation.{number}.{key}"], strict=True))
        fidelity(
            f"Evaluation at {settings.size} pixels, crop_pct {settings.crop_pct:g}, {settings.interpolation}: "
            f"{len(ours)} shapes of images; {key}",
            section="Evaluation transform",
            reference=reference,
            tolerance=0,
            measured=different,
            unit="images differ",
        )
