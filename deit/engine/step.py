"""One training step as one compiled graph: a function of the state, the batch, the learning rate and the random inputs.

Masks, boxes and mixing weights are inputs, so that a step can be repeated bit for bit. The order is: normalise, erase, mix,
forward, loss, backward, mean over ranks, unscale, clip by the global norm, optimizer, EMA. A step with a gradient that is not
finite changes only the loss scale.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from deit.config.schema import RunConfig
from deit.engine.flat_weights import FlatWeights
from deit.engine.normalize import Inputs

_accumulate = ops.MultitypeFuncGraph("accumulate")
_add = ops.MultitypeFuncGraph("add")
_scale = ops.MultitypeFuncGraph("scale")
_keep = ops.MultitypeFuncGraph("keep")
_square = ops.MultitypeFuncGraph("square")
_average = ops.MultitypeFuncGraph("average")


@_accumulate.register("Tensor", "Tensor", "Tensor")
def _accumulate_one(first: Tensor, buffer: Tensor, gradient: Tensor) -> Tensor:
    # Selected, not multiplied by zero: an overflow in the buffer must not survive.
    return ops.assign(buffer, ops.select(first, gradient, buffer + gradient))


@_add.register("Tensor", "Tensor")
def _add_one(buffer: Tensor, gradient: Tensor) -> Tensor:
    return buffer + gradient


@_scale.register("Tensor", "Tensor")
def _scale_one(factor: Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor


@_keep.register("Tensor", "Tensor")
def _keep_one(finite: Tensor, gradient: Tensor) -> Tensor:
    # Selected, not multiplied by zero, which an infinite gradient would survive.
    return ops.select(finite, gradient, ops.zeros_like(gradient))


@_square.register("Tensor")
def _square_one(gradient: Tensor) -> Tensor:
    return ops.L2Loss()(gradient)  # half the sum of squares, in one kernel


@_average.register("Tensor", "Tensor", "Tensor")
def _average_one(share: Tensor, average: Tensor, weight: Tensor) -> Tensor:
    # The formula of ops.lerp, whose CPU kernel takes eight times as long.
    return ops.assign_add(average, (weight - average) * share)


class LossScale(nn.Cell):
    """The loss scale. Dynamic: halved after an overflow, doubled after ``window`` steps without one."""

    def __init__(self, kind: str, initial: float, window: int) -> None:
        super().__init__()
        self.dynamic = kind == "dynamic"
        self.window = window
        self.value = Parameter(Tensor(1.0 if kind == "none" else initial, ms.float32), "loss_scale", requires_grad=False)
        self.good_steps = Parameter(Tensor(0, ms.int32), "loss_scale_good_steps", requires_grad=False)
        self.state = {parameter.name: parameter for parameter in (self.value, self.good_steps)}

    def construct(self, finite: Tensor) -> Tensor:
        """Record a step; returns the scale of the next one."""
        if self.dynamic:
            counted = self.good_steps + 1
            grows = ops.logical_and(finite, counted >= self.window)
            shrunk = ops.maximum(self.value / 2, Tensor(1.0, ms.float32))
            value = ops.select(finite, ops.select(grows, self.value * 2, self.value), shrunk)
            steps = ops.select(ops.logical_and(finite, ops.logical_not(grows)), counted, ops.zeros_like(counted))
            ops.assign(self.value, value)
            ops.assign(self.good_steps, steps)
        return self.value


class TrainStep(nn.Cell):
    """A forward and backward pass; with ``update`` also the optimizer step.

    With accumulation two instances share all state: the one without ``update`` adds to the buffers, the one with it takes the
    last micro batch and updates.

    With ``flat``, gradients, weights, average and buffers are its vectors, and a step with a gradient that is not finite is
    undone by selection in place of a branch: an Ascend card has to be waited for at a branch, since the host decides there.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # the parts of a step
        self,
        config: RunConfig,
        network: nn.Cell,
        average: nn.Cell | None,
        loss: nn.Cell,
        optimizer: nn.Cell,
        loss_scale: LossScale,
        buffers: ParameterTuple | None,
        world: int,
        update: bool,
        flat: FlatWeights | None = None,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.loss, self.optimizer, self.loss_scale = network, loss, optimizer, loss_scale
        self.flat = flat
        trained = ParameterTuple(network.trainable_params())
        self.weights = trained if flat is None else flat.weights
        self.average = ParameterTuple(average.trainable_params()) if average is not None else None
        if flat is not None:
            self.average = flat.average
        self.buffers, self.update, self.world = buffers, update, world
        self.passes = config.optim.accumulation_steps
        self.clip = config.optim.clip_grad
        self.scaled = config.precision.loss_scale != "none"
        self.inputs = Inputs(config)
        self.average_share = Tensor(1 - config.ema.decay, ms.float32)
        self.gradient = ms.value_and_grad(self.forward, None, trained)
        self.reduce: nn.Cell | None = None
        if world > 1:
            self.reduce = nn.DistributedGradReducer(self.weights, mean=True, degree=world)
            self.reduce_loss = ops.AllReduce(ops.ReduceOp.SUM)

    def forward(self, images, teacher_logits, targets, drop_path, dropout_key, scale):  # type: ignore[no-untyped-def]  # traced
        """The scaled loss of one micro batch, as its part of the mean over the optimizer step."""
        outputs = self.network(images, drop_path, dropout_key)
        return self.loss(outputs, teacher_logits, targets) * (scale / self.passes)

    def construct(  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917  # the graph takes no named type
        self,
        images,
        labels,
        boxes,
        noise,
        blend,
        mix_box,
        lam,
        drop_path,
        dropout_key,
        first,
        lr,
        teacher_logits=None,
        average_share=None,
    ):
        """Returns (loss, norm of the gradient before clipping, whether it was finite, next loss scale).

        The arguments are ``deit.engine.step_inputs.StepInputs``, unpacked. The loss is the mean over all ranks of this micro
        batch.
        """
        inputs, targets = self.inputs(images, labels, boxes, noise, blend, mix_box, lam)
        scale = self.loss_scale.value
        scaled_loss, gradients = self.gradient(inputs, teacher_logits, targets, drop_path, dropout_key, scale)
        if self.flat is not None:
            gradients = self.flat.join(gradients)
        loss = scaled_loss * (self.passes / scale)
        if self.world > 1:
            loss = self.reduce_loss(loss) / self.world
        if not self.update:
            ops.HyperMap()(ops.partial(_accumulate, first), self.buffers, gradients)
            return loss, loss, ops.isfinite(loss), scale

        if self.buffers is not None:
            gradients = ops.HyperMap()(_add, self.buffers, gradients)
        if self.reduce is not None:
            gradients = self.reduce(gradients)
        norm = ops.sqrt(2 * ops.addn(ops.HyperMap()(_square, gradients))) / scale
        finite = ops.isfinite(norm)
        if self.scaled or self.clip is not None:
            # Unscaling and torch.nn.utils.clip_grad_norm_ in one pass over the gradients.
            factor = 1 / scale
            if self.clip is not None:
                factor = factor * ops.minimum(self.clip / (norm + 1e-6), ops.ones((), ms.float32))
            gradients = ops.HyperMap()(ops.partial(_scale, factor), gradients)
        share = self.average_share if average_share is None else average_share
        if self.flat is not None:
            gradients = ops.HyperMap()(ops.partial(_keep, finite), gradients)
            updated = self.optimizer(gradients, lr, finite)
            weights = ops.depend(self.weights, updated)
            if self.average is not None:
                share = ops.select(finite, share, ops.zeros((), ms.float32))
                ops.HyperMap()(ops.partial(_average, share), self.average, weights)
            self.flat.give_to_network(weights)
        elif finite:
            updated = self.optimizer(gradients, lr)
            if self.average is not None:
                weights = ops.depend(self.weights, updated)
                ops.HyperMap()(ops.partial(_average, share), self.average, weights)
        return loss, norm, finite, self.loss_scale(finite)
