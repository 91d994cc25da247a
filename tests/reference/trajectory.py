"""Whole trainings by timm and torch: the loss and the gradient's norm at each step, and what is left at the end."""

from __future__ import annotations

import numpy as np
import torch
from reference import inputs_trajectory as inputs
from reference.packing import checksum
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy
from timm.models.vision_transformer import VisionTransformer
from timm.optim import Lamb, param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import nn

TIMM = "1.0.31"


class Masked(nn.Module):
    """Stochastic depth whose factors are handed in."""

    factors: torch.Tensor  # [B]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factors[:, None, None]


def make() -> dict[str, np.ndarray]:
    """``NAME.loss``, ``NAME.norm`` [steps]; ``NAME.weights.PARAMETER``, ``NAME.ema.PARAMETER``: samples; ``NAME.logits``."""
    arrays = {}
    for name, training in inputs.TRAININGS.items():
        arrays |= {f"{name}.{what}": array for what, array in train(training).items()}
    return arrays


def train(training: inputs.Training) -> dict[str, np.ndarray]:
    config = training.model
    model = VisionTransformer(
        img_size=config.img_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        num_classes=inputs.CLASSES,
        drop_path_rate=inputs.DROP_PATH,
        no_embed_class=config.no_embed_class,
        init_values=config.init_values,
    )
    model.load_state_dict({name: torch.from_numpy(value) for name, value in inputs.start(training).items()})
    paths = [Masked() for _ in range(2 * config.depth)]
    for number, block in enumerate(model.blocks):
        block.drop_path1, block.drop_path2 = paths[2 * number], paths[2 * number + 1]
    average = ModelEmaV3(model, decay=inputs.EMA_DECAY, use_warmup=False)
    groups = param_groups_weight_decay(model, inputs.WEIGHT_DECAY, no_weight_decay_list=model.no_weight_decay())
    if training.optimizer == "lamb":  # which clips by itself
        optimizer: torch.optim.Optimizer = Lamb(groups, lr=1.0, betas=inputs.BETAS, eps=inputs.EPS, max_grad_norm=training.clip)
    else:
        optimizer = torch.optim.AdamW(groups, lr=1.0, betas=inputs.BETAS, eps=inputs.EPS)
    criterion = BinaryCrossEntropy(smoothing=0.0) if training.loss == "bce" else SoftTargetCrossEntropy()
    found: dict[str, list[float]] = {"loss": [], "norm": []}
    model.train()
    for step in range(training.steps):
        batch = inputs.batch(training, step)
        for path, factors in zip(paths, torch.from_numpy(batch.drop_path), strict=True):
            path.factors = factors
        for group in optimizer.param_groups:
            group["lr"] = inputs.learning_rate(training, step)
        loss = criterion(model(mixed(batch)), targets(batch, training.smoothing))
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), np.inf if training.optimizer == "lamb" else training.clip)
        optimizer.step()
        average.update(model)
        found["loss"].append(loss.item())
        found["norm"].append(norm.item())
    for path in paths:
        path.factors = torch.ones(training.batch)
    with torch.no_grad():
        logits = model.eval()(normalised(inputs.batch(training, 0))).numpy()
    arrays = {what: np.array(values) for what, values in found.items()}
    arrays |= {"logits": logits, "inputs": checksum(inputs.given(training))}
    for what, source in (("weights", model), ("ema", average.module)):
        for name, value in source.state_dict().items():
            if inputs.moved(name):
                arrays[f"{what}.{name}"] = inputs.sample(value.numpy())
    return arrays


def normalised(batch: inputs.Batch) -> torch.Tensor:
    mean, std = (torch.tensor(values) for values in (inputs.MEAN, inputs.STD))
    return ((torch.from_numpy(batch.images) / 255 - mean) / std).permute(0, 3, 1, 2)


def mixed(batch: inputs.Batch) -> torch.Tensor:
    images = normalised(batch)
    partner = images.flip(0)
    result = images * batch.blend + partner * (1 - batch.blend)
    top, bottom, left, right = batch.box
    result[:, :, top:bottom, left:right] = partner[:, :, top:bottom, left:right]
    return result


def targets(batch: inputs.Batch, smoothing: float) -> torch.Tensor:
    off = smoothing / inputs.CLASSES
    labels = torch.from_numpy(batch.labels).long()
    soft = torch.full((len(labels), inputs.CLASSES), off).scatter_(1, labels[:, None], 1 - smoothing + off)
    return soft * batch.lam + soft.flip(0) * (1 - batch.lam)
