"""Learning rates and parameter groups of timm 1, and torch's optimizers over steps with clip, EMA and loss scale."""

from __future__ import annotations

import numpy as np
import timm
import torch
from reference import inputs_optim as inputs
from reference.inputs_model import VARIANTS
from reference.learning_rate import rates
from reference.packing import checksum, pack
from timm.optim import Lamb, param_groups_layer_decay, param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import nn

TIMM = "1.0.31"


def make() -> dict[str, np.ndarray]:
    """``lr.*``; ``decayed``: of each variant the decayed names; ``layers``; of each training what ``train`` answers."""
    groups = {variant: decayed(timm.create_model(variant)) for variant in VARIANTS}
    layers = {variant: layer_groups(timm.create_model(variant)) for variant in inputs.LAYERED}
    arrays = rates() | {"decayed": pack(groups), "layers": pack(layers)}
    for name, training in inputs.TRAININGS.items():
        arrays |= {f"{name}.{what}": array for what, array in train(training).items()}
    return arrays


def decayed(model: nn.Module) -> list[str]:
    groups = param_groups_weight_decay(model, 0.05, no_weight_decay_list=model.no_weight_decay())
    chosen = {id(p) for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    return [name for name, p in model.named_parameters() if id(p) in chosen]


def layer_groups(model: nn.Module) -> dict[str, tuple[float, bool]]:
    """For each parameter the factor of its learning rate, and whether it is decayed."""
    no_decay = model.no_weight_decay()
    groups = param_groups_layer_decay(model, 0.05, no_weight_decay_list=no_decay, layer_decay=inputs.LAYER_DECAY)
    chosen = {id(p): (group["lr_scale"], group["weight_decay"] > 0) for group in groups for p in group["params"]}
    return {name: chosen[id(p)] for name, p in model.named_parameters()}


def train(training: inputs.Training) -> dict[str, np.ndarray]:
    """``weights``, ``ema`` [steps, 78] after each step; ``norm``, ``scale``, ``finite`` [steps]."""
    head = nn.Linear(12, 6)
    head.load_state_dict({name.removeprefix("head."): torch.from_numpy(value) for name, value in inputs.start().items()})
    parameters = [
        {"params": [head.weight], "weight_decay": training.weight_decay},
        {"params": [head.bias], "weight_decay": 0.0},
    ]
    if training.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(parameters, lr=1.0, betas=inputs.BETAS, eps=inputs.EPS)
    elif training.optimizer == "lamb":  # which clips by itself
        optimizer = Lamb(parameters, lr=1.0, betas=inputs.BETAS, eps=inputs.EPS, max_grad_norm=training.clip)
    else:
        optimizer = torch.optim.SGD(parameters, lr=1.0, momentum=inputs.MOMENTUM, nesterov=training.nesterov)
    scaler = torch.amp.GradScaler("cpu", init_scale=inputs.SCALE, growth_interval=inputs.WINDOW, enabled=training.scaled)
    average = ModelEmaV3(head, decay=inputs.EMA_DECAY, use_warmup=False)
    found: dict[str, list[np.ndarray]] = {what: [] for what in ("weights", "ema", "norm", "scale", "finite")}
    given = []
    for step in range(inputs.STEPS):
        gradients = inputs.gradients(training, step)
        given += [*gradients.values(), np.array(inputs.learning_rate(training, step))]
        for group in optimizer.param_groups:
            group["lr"] = inputs.learning_rate(training, step)
        optimizer.zero_grad()
        # A loss whose gradient is the given one.
        loss = sum((p * torch.from_numpy(gradients[f"head.{name}"])).sum() for name, p in head.named_parameters())
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        clips = training.clip is not None and training.optimizer != "lamb"
        norm = nn.utils.clip_grad_norm_(head.parameters(), training.clip if clips else np.inf)
        finite = bool(torch.isfinite(norm))
        scaler.step(optimizer)
        scaler.update()
        average.update(head)  # as timm and facebookresearch/deit do, whether or not the step was left out
        found["weights"].append(flat(head))
        found["ema"].append(flat(average.module))
        found["norm"].append(norm.numpy())
        found["scale"].append(np.float32(scaler.get_scale()))
        found["finite"].append(np.uint8(finite))
    return {what: np.stack(values) for what, values in found.items()} | {"inputs": checksum([*inputs.start().values(), *given])}


def flat(module: nn.Module) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in module.parameters()]).numpy()
