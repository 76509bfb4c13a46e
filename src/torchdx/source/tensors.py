"""Is it a tensor? Said only where it is certain."""

from __future__ import annotations

from torchdx.source.reading import words
from torchdx.source.values import Either, Instance, Item, Operation, Result, Value
from torchdx.source.walks import walk

NOT_TENSORS = words(
    "torch.load torch.save torch.manual_seed torch.device torch.no_grad torch.compile torch.is_tensor "
    "torch.numel torch.is_grad_enabled torch.set_grad_enabled torch.set_default_dtype "
    "torch.get_default_dtype torch.Generator torch.initial_seed torch.get_num_threads "
    "torch.set_num_threads torch.is_floating_point torch.equal torch.allclose torch.enable_grad "
    "torch.inference_mode torch.split torch.chunk torch.unbind torch.topk torch.sort torch.meshgrid "
    "torch.broadcast_tensors torch.svd torch.qr torch.cat_ torch.typename torch.set_default_device "
    "torch.set_default_tensor_type torch.autocast torch.finfo torch.iinfo"
)
TUPLE_LAYERS = ("RNN", "LSTM", "GRU", "LSTMCell", "MultiheadAttention")
NOT_TENSOR_METHODS = words(
    "item tolist numpy size dim numel backward stride shape dtype device chunk split unbind sort topk "
    "requires_grad is_cuda ndim element_size type register_hook grad data_ptr get_device nelement "
    "is_contiguous"
)
TENSOR_CLASSES = ("torch.Tensor", "torch.nn.Parameter", "torch.nn.Buffer")


@walk(False)
def is_tensor(value: Value) -> bool:
    """Is it certainly a tensor, and not a module, a number or a tuple of tensors?"""
    if isinstance(value, Either):
        return all(is_tensor(choice) for choice in value.choices)
    if isinstance(value, Operation):
        return any(is_tensor(inner) for inner in value.values())
    if isinstance(value, Instance):
        return value.dotted in TENSOR_CLASSES
    if isinstance(value, Item):
        of = value.of
        return is_tensor(of) or (isinstance(of, Result) and of.module is not None and _is_tuple_layer(of))
    if not isinstance(value, Result):
        return False
    if value.module is not None:
        return value.dotted.startswith("torch.nn.") and not _is_tuple_layer(value)
    last = value.dotted.rpartition(".")[2]
    if value.dotted.startswith("torch.Tensor."):
        return last not in NOT_TENSOR_METHODS
    if value.dotted.startswith("torch.nn.functional."):
        return "with_indices" not in last and last != "multi_head_attention_forward"
    if value.dotted in TENSOR_CLASSES or value.dotted == "torch.autograd.Variable" or last.endswith("Tensor"):
        return value.dotted.startswith("torch.")
    if value.dotted.startswith("torch.distributions."):
        return last in ("sample", "rsample", "log_prob", "entropy")
    if value.dotted.startswith("torch.nn.init."):
        return last.endswith("_")
    is_function = value.dotted.count(".") == 1 and value.dotted.startswith("torch.")
    if is_function and last in ("max", "min", "var_mean", "std_mean"):
        return len(value.call.node.args) + len(value.call.node.keywords) == 1
    return is_function and value.dotted not in NOT_TENSORS


def _is_tuple_layer(value: Result) -> bool:
    return value.dotted.rpartition(".")[2] in TUPLE_LAYERS
