"""Networks and transforms for other channels than RGB and for rectangular images, against timm's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import yaml
from composition import composed
from fidelity import load, worst
from mindspore import Tensor
from reference import inputs_shapes as inputs
from reference.inputs_model import weights
from reference.inputs_transform import picture, shapes
from reference.packing import checksum

from deit.compose import groups
from deit.config.schema import ModelConfig
from deit.data.transform import EvalTransform
from deit.models.deit import build_model
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.weights.fit import fit
from deit.weights.naming import to_timm
from deit.weights.pos_embed import resize

TIMM = "timm 1.0.31"


def model() -> ModelConfig:
    return ModelConfig(**yaml.safe_load((groups.CONF / "model" / "deit_tiny.yaml").read_text(encoding="utf-8")))


def filled() -> dict[str, np.ndarray]:
    """The weights that both sides compute, under timm's names."""
    names = to_timm({name: np.empty(shape, np.uint8) for name, shape in parameter_shapes(model(), 1000).items()})
    found = weights({name: value.shape for name, value in names.items()})
    assert checksum(list(found.values())) == load("shapes")["inputs"]
    return found


def logits(changed: ModelConfig, images: np.ndarray, *, antialias: bool = False) -> np.ndarray:
    """Those of the network ``changed`` that starts from the weights of ``model()``."""
    initial = initial_weights(parameter_shapes(changed, 1000), 0)
    fitted, fitting = fit(filled(), initial, antialias=antialias, grids=(None, changed.grid))
    assert not fitting.lost and not fitting.replaced
    network = build_model(changed, 1000)
    load_weights(network, fitted)
    return network(Tensor(images)).asnumpy()


@pytest.mark.parametrize("channels", inputs.CHANNELS)
def test_logits_of_other_channels(channels: int, graph_mode: None, fidelity: Callable[..., None]) -> None:
    found = logits(dataclasses.replace(model(), in_chans=channels), inputs.images(2, channels, 224, 224))
    fidelity(
        f"Logits of deit_tiny with {channels} channel{'s' if channels > 1 else ''} from weights for 3",
        section="Model",
        reference=f"{TIMM}, in_chans={channels}, adapt_input_conv",
        tolerance=1e-5,
        measured=worst(found, load("shapes")[f"logits.channels.{channels}"]),
    )


def test_logits_of_rectangular_images(graph_mode: None, fidelity: Callable[..., None]) -> None:
    height, width = inputs.RECTANGLE
    changed = dataclasses.replace(model(), img_size=[height, width])
    fidelity(
        f"Logits of deit_tiny at {height} x {width} pixels from weights for 224",
        section="Model",
        reference=f"{TIMM}, img_size=({height}, {width}), resample_abs_pos_embed",
        tolerance=1e-5,
        measured=worst(logits(changed, inputs.images(2, 3, height, width), antialias=True), load("shapes")["logits.rectangle"]),
    )


@pytest.mark.parametrize("antialias", [True, False])
def test_rectangular_position_embeddings(antialias: bool, fidelity: Callable[..., None]) -> None:
    kind, measured = "antialias" if antialias else "plain", []
    for number, (old, new) in enumerate(inputs.GRIDS):
        found = resize(inputs.positions(*old, prefix=2), 2, new, old=old, antialias=antialias)
        measured.append(worst(found, load("shapes")[f"positions.{number}.{kind}"]))
    fidelity(
        f"Position embeddings of {len(inputs.GRIDS)} rectangular grids resized, {kind}",
        section="Weights",
        reference=f"{TIMM}, resample_abs_pos_embed(antialias={antialias})",
        tolerance=5e-6,
        measured=max(measured),
    )


@pytest.mark.parametrize("number", range(len(inputs.RECTANGLES)))
def test_rectangular_evaluation_transform(number: int, fidelity: Callable[..., None]) -> None:
    settings = inputs.RECTANGLES[number]
    height, width = settings.size
    transform = EvalTransform(
        composed(
            "experiment=quickstart",
            f"model.img_size=[{height},{width}]",
            "model.patch_size=16",
            f"data.crop_pct={settings.crop_pct}",
            f"data.interpolation={settings.interpolation}",
        )
    )
    ours = [checksum([transform(picture(*shape))])[0] for shape in inputs.PICTURES]
    different = sum(crc != theirs for crc, theirs in zip(ours, load("shapes")[f"rectangle.{number}"], strict=True))
    fidelity(
        f"Evaluation at {height} x {width} pixels, crop_pct {settings.crop_pct:g}, {settings.interpolation}: "
        f"{len(ours)} shapes of images",
        section="Evaluation transform",
        reference=TIMM,
        tolerance=0,
        measured=different,
        unit="images differ",
    )


@pytest.mark.parametrize("number", range(len(inputs.GREY)))
def test_grey_evaluation_transform(number: int, fidelity: Callable[..., None]) -> None:
    settings = inputs.GREY[number]
    transform = EvalTransform(
        composed(
            "experiment=quickstart",
            f"model.img_size={settings.size}",
            "model.patch_size=16",
            "model.in_chans=1",
            "data.mean=[0.5]",
            "data.std=[0.5]",
            f"data.crop_pct={settings.crop_pct}",
            f"data.interpolation={settings.interpolation}",
        )
    )
    ours = [checksum([transform(picture(*shape))])[0] for shape in shapes(settings)]
    different = sum(crc != theirs for crc, theirs in zip(ours, load("shapes")[f"grey.{number}"], strict=True))
    fidelity(
        f"Grey evaluation at {settings.size} pixels, crop_pct {settings.crop_pct:g}, {settings.interpolation}: "
        f"{len(ours)} shapes of images",
        section="Evaluation transform",
        reference=f"{TIMM}, images of Pillow's mode L",
        tolerance=0,
        measured=different,
        unit="images differ",
    )
