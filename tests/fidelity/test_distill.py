"""The teacher of the distilled DeiTs against timm: RegNetY, from timm's names to the logits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fidelity import load, worst
from mindspore import Tensor
from reference.inputs_regnet import VARIANTS, images, weights
from reference.packing import checksum, unpack

from deit.models.regnet import RegNet
from deit.models.regnet_shapes import folded, read_regnet, regnet_shapes
from deit.models.weights import load_weights

TIMM = "timm 1.0.31"

pytestmark = pytest.mark.usefixtures("graph_mode")


def timm_shapes(variant: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in unpack(load("regnet")["names"])[variant].items()}


def test_regnet_names(fidelity: Callable[..., None]) -> None:
    different = 0
    for variant in VARIANTS:
        theirs = {name: shape for name, shape in timm_shapes(variant).items() if not name.endswith("num_batches_tracked")}
        different += list(regnet_shapes(read_regnet(theirs, variant)).items()) != list(theirs.items())
    fidelity(
        "RegNetY: names, order and shapes, 3 variants, architecture read from them",
        section="Distillation",
        reference=TIMM,
        tolerance=0,
        measured=different,
        unit="variants differ",
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_regnet_logits(variant: str, fidelity: Callable[..., None]) -> None:
    stored, shapes, x = load("regnet"), timm_shapes(variant), images(VARIANTS[variant])
    filled = weights(shapes)
    assert checksum([*filled.values(), x]) == stored[f"inputs.{variant}"]
    regnet = read_regnet(shapes, variant)
    network = RegNet(regnet)
    load_weights(network, folded(filled, regnet))
    fidelity(
        f"Logits of {variant}, random moving statistics",
        section="Distillation",
        reference=f"{TIMM}, {variant}",
        tolerance=1e-5,
        measured=worst(network(Tensor(x)).asnumpy(), stored[f"logits.{variant}"]),
    )
