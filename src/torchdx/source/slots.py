"""Slots of torch's own callables that are easily given what is meant for another, and what gives that away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LARGEST_EPS = 0.05
"""No formula of a normalisation or optimizer is meant with a larger eps: the defaults are 1e-8 to 1e-5."""


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_word(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """A number that cannot stand for True or False."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value not in (0, 1)


def is_share(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1


def is_large(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > LARGEST_EPS


def is_decaying(value: object) -> bool:
    """As large as a weight decay may be, and as no eps of an optimizer is: these are 1e-8 to 1e-3."""
    return isinstance(value, float) and value >= 0.005


def is_decay(value: object) -> bool:
    """As small as a weight decay is, and as a momentum never is."""
    return isinstance(value, float) and 0 < value <= 0.01


def is_negative(value: object) -> bool:
    return isinstance(value, int) and value < 0


def is_whole(value: object) -> bool:
    """A number that is none of True and False, which the slot is for."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_true(value: object) -> bool:
    return value is True


def is_count(value: object) -> bool:
    """As great as a number of steps, and no rate."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 10


def is_spread(value: object) -> bool:
    """As small as the deviation that weights are begun with."""
    return isinstance(value, float) and 0 < abs(value) <= 0.2


@dataclass(frozen=True)
class Slot:
    """A place that gets what another parameter is `meant` for, told by the `wrong` value or by the name passed."""

    place: int
    name: str
    wrong: Callable[[object], bool]
    meant: str
    named: bool = False
    last: bool = False
    """Is it wrong only where nothing is said behind it, and what is `meant` nowhere?"""


def _each(pattern: str, *slots: Slot) -> dict[str, tuple[Slot, ...]]:
    """The slots of several callables: `torch.nn.Conv{1d 2d}` stands for two."""
    head, _, rest = pattern.partition("{")
    return dict.fromkeys((head + end for end in rest.rstrip("}").split()) if rest else (head,), slots)


ONE_TO_THREE = "{1d 2d 3d}"
EPS = (Slot(1, "eps", is_flag, "affine"), Slot(1, "eps", is_large, "momentum", True))
MEAN = "size_average"
P = Slot(0, "p", is_flag, "inplace")
SLOTS: dict[str, tuple[Slot, ...]] = {
    **_each("torch.nn.BatchNorm" + ONE_TO_THREE, *EPS, Slot(2, "momentum", is_flag, "affine")),
    **_each("torch.nn.InstanceNorm" + ONE_TO_THREE, *EPS, Slot(2, "momentum", is_flag, "affine")),
    **_each("torch.nn.SyncBatchNorm", *EPS),
    **_each("torch.nn.GroupNorm", Slot(2, "eps", is_flag, "affine"), Slot(2, "eps", is_large, "")),
    **_each("torch.nn.LayerNorm", Slot(1, "eps", is_flag, "elementwise_affine"), Slot(1, "eps", is_large, "")),
    **_each(
        "torch.nn.{LSTM GRU}",
        Slot(2, "num_layers", is_flag, "batch_first"),
        Slot(3, "bias", is_number, "dropout", True),
        Slot(3, "bias", is_true, "batch_first", last=True),
        Slot(4, "batch_first", is_share, "dropout"),
    ),
    **_each(
        "torch.nn.RNN",
        Slot(2, "num_layers", is_flag, "batch_first"),
        Slot(4, "bias", is_number, "dropout", True),
        Slot(4, "bias", is_true, "batch_first", last=True),
        Slot(5, "batch_first", is_share, "dropout"),
    ),
    **_each("torch.nn.Linear", Slot(2, "bias", is_number, ""), Slot(2, "bias", is_word, "")),
    **_each("torch.nn.Dropout{ 1d 2d 3d}", P, Slot(1, "inplace", is_number, "")),
    **_each("torch.nn.AlphaDropout", P),
    **_each("torch.nn.{ReLU ReLU6 SELU SiLU Hardswish}", Slot(0, "inplace", is_number, "")),
    **_each("torch.nn.LeakyReLU", Slot(0, "negative_slope", is_flag, "inplace")),
    **_each("torch.nn.functional.leaky_relu", Slot(1, "negative_slope", is_flag, "inplace")),
    **_each(
        "torch.nn.MaxPool" + ONE_TO_THREE, Slot(1, "stride", is_flag, ""), Slot(2, "padding", is_flag, "ceil_mode")
    ),
    **_each(
        "torch.nn.AvgPool" + ONE_TO_THREE, Slot(1, "stride", is_flag, ""), Slot(2, "padding", is_flag, "ceil_mode")
    ),
    **_each("torch.nn.MultiheadAttention", Slot(2, "dropout", is_flag, "bias"), Slot(3, "bias", is_number, "")),
    **_each(
        "torch.nn.{TransformerEncoderLayer TransformerDecoderLayer}",
        Slot(2, "dim_feedforward", is_share, "dropout", True),
        Slot(3, "dropout", is_flag, "batch_first"),
    ),
    **_each("torch.nn.functional.scaled_dot_product_attention", Slot(4, "dropout_p", is_flag, "is_causal")),
    **_each("torch.nn.init.{normal_ trunc_normal_}", Slot(1, "mean", is_spread, "std", True, last=True)),
    **_each("torch.nn.init.uniform_", Slot(1, "a", is_spread, "b", last=True)),
    **_each("torch.nn.functional.{relu relu6 selu silu}", Slot(1, "inplace", is_number, "")),
    **_each("torch.nn.{MSELoss L1Loss SmoothL1Loss KLDivLoss}", Slot(0, MEAN, is_word, "reduction")),
    **_each(
        "torch.nn.{CrossEntropyLoss NLLLoss}",
        Slot(1, MEAN, is_word, "reduction"),
        Slot(1, MEAN, is_share, "label_smoothing"),
        Slot(1, MEAN, is_whole, "ignore_index"),
    ),
    **_each("torch.nn.BCELoss", Slot(1, MEAN, is_word, "reduction")),
    **_each("torch.nn.BCEWithLogitsLoss", Slot(0, "weight", is_word, "pos_weight", True)),
    **_each("torch.nn.functional.binary_cross_entropy_with_logits", Slot(2, "weight", is_word, "pos_weight", True)),
    **_each("torch.nn.functional.{cross_entropy nll_loss}", Slot(3, MEAN, is_whole, "ignore_index")),
    **_each(
        "torch.nn.functional.{mse_loss l1_loss smooth_l1_loss kl_div}",
        Slot(2, MEAN, is_word, "reduction"),
        Slot(2, MEAN, is_share, "beta"),
    ),
    **_each(
        "torch.nn.functional.{dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout}",
        Slot(1, "p", is_flag, "training", True),
    ),
    **_each(
        "torch.nn.functional.gumbel_softmax",
        Slot(1, "tau", is_flag, "hard", True),
        Slot(2, "hard", is_negative, "dim"),
    ),
    **_each("torch.nn.functional.normalize", Slot(1, "p", is_negative, "dim", True)),
    **_each(
        "torch.optim.SGD",
        Slot(2, "momentum", is_decay, "weight_decay", True),
        Slot(3, "dampening", is_decay, "weight_decay", True),
        Slot(3, "dampening", is_flag, "nesterov", True),
        Slot(4, "weight_decay", is_flag, "nesterov", True),
    ),
    **_each("torch.optim.{Adam AdamW}", Slot(3, "eps", is_decaying, "weight_decay", True)),
    **_each("torch.optim.RMSprop", Slot(2, "alpha", is_decay, "weight_decay", True)),
    **_each("torch.optim.lr_scheduler.StepLR", Slot(1, "step_size", is_share, "gamma", True)),
    **_each("torch.optim.lr_scheduler.CosineAnnealingLR", Slot(1, "T_max", is_share, "eta_min")),
    **_each("torch.optim.lr_scheduler.OneCycleLR", Slot(1, "max_lr", is_count, "total_steps")),
    **_each(
        "torch.utils.data.DataLoader",
        Slot(1, "batch_size", is_flag, "shuffle", True),
        Slot(2, "shuffle", is_number, "num_workers", True),
    ),
    **_each(
        "torchvision.transforms.{RandomHorizontalFlip RandomVerticalFlip RandomGrayscale}", Slot(0, "p", is_flag, "")
    ),
}
