"""What a call gives: an object, what the project's own function returns, or the result of a library's operation."""

from __future__ import annotations

import ast

from torchdx.source.contents import contents
from torchdx.source.definitions import UserClass, UserFunction
from torchdx.source.expressions import Call
from torchdx.source.reading import words
from torchdx.source.ready_made import features_of, head_of, is_ready_made, output_of
from torchdx.source.tables import further_keywords, looked_up, table_of_call
from torchdx.source.tensors import is_tensor
from torchdx.source.values import (
    NOTHING,
    UNKNOWN,
    Argument,
    Frame,
    Group,
    Instance,
    Item,
    Literal,
    Method,
    Reference,
    Result,
    Setting,
    Table,
    Value,
    either,
)

TRANSPARENT = words(
    "torch.compile torch.jit.script torch.nn.DataParallel torch.nn.parallel.DataParallel "
    "torch.nn.parallel.DistributedDataParallel torch.nn.utils.spectral_norm torch.nn.utils.weight_norm "
    "torch.nn.utils.parametrizations.spectral_norm torch.nn.utils.parametrizations.weight_norm "
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm copy.deepcopy copy.copy list tuple iter reversed "
    "tqdm.tqdm tqdm.auto.tqdm tqdm.notebook.tqdm"
)
"""Calls that give back what they are given, as far as its kind goes."""
SAME_MODULE = words("to cuda cpu eval train float half double bfloat16 apply requires_grad_ share_memory to_empty xpu")
HARMLESS_DECORATORS = words("staticmethod classmethod property cached_property lru_cache cache override abstractmethod")
FRAMEWORKS = (
    "accelerate.Accelerator",
    "accelerate.accelerator.Accelerator",
    "lightning.Fabric",
    "lightning.fabric.Fabric",
    "lightning_fabric.Fabric",
)
HANDING_BACK = words("prepare prepare_model prepare_optimizer prepare_data_loader prepare_scheduler")
HANDING_BACK |= words("setup setup_module setup_optimizers setup_dataloaders")
"""Methods of theirs that give back what they are given, ready to be used."""


FACTORIES = words("torchvision.models torchvision.models.segmentation torchvision.models.detection")
"""Modules whose functions all make models: whichever of them a name chooses, a model comes out."""


def value_of_call(call: Call) -> Value:
    """What a call may give."""
    callee = call.program.evaluate(call.file, call.node.func, call.frame)
    return either(called(call, choice) for choice in callee.alternatives())


def called(call: Call, callee: Value) -> Value:
    """What a call gives if this is what is called."""
    if isinstance(callee, Reference):
        if isinstance(callee.definition, UserClass):
            return Instance(callee.dotted, call, callee.definition)
        if isinstance(callee.definition, UserFunction):
            return returned(Frame(callee.definition, call))
        return _library(call, callee.dotted)
    if isinstance(callee, Method):
        return _method(call, callee)
    if isinstance(callee, Instance):
        return applied(callee, call)
    if isinstance(callee, Item) and callee.of.name.endswith(".__dict__"):
        factory = _one_of(Reference(callee.of.name.removesuffix(".__dict__")))
        return called(call, factory) if factory is not None else Result(f"?.{call.method}", call)
    if isinstance(callee, Result) and callee.dotted == "functools.partial" and callee.call.file is call.file:
        return value_of_call(_completed(callee.call, call))
    return _ready_made(call, callee) or Result(f"?.{call.method}", call)


def _ready_made(call: Call, callee: Value) -> Value | None:
    """What a model of a library's gives, where it is known."""
    head = head_of(callee)
    if head is None or not isinstance(callee, Result):
        return output_of(callee, call)
    given = features_of(callee)
    return either(applied(one, call, given) if isinstance(one, Instance) else UNKNOWN for one in head.alternatives())


def _one_of(factories: Value) -> Reference | None:
    """A function, whichever it is, of a module whose functions all make models."""
    return Reference(f"{factories.name}.?") if factories.name in FACTORIES else None


def _completed(partial: Call, call: Call) -> Call:
    """The call that a call of `partial(...)` amounts to."""
    known, key = call.program.evaluator.completed, (partial.node, call.node)
    if key not in known and partial.node.args:
        first, last = partial.node, call.node
        ours = {keyword.arg for keyword in last.keywords}
        kept = [keyword for keyword in first.keywords if keyword.arg is None or keyword.arg not in ours]
        whole = ast.Call(first.args[0], [*first.args[1:], *last.args], [*kept, *last.keywords])
        known[key] = ast.copy_location(whole, last)
        call.file.index.parents[whole] = call.file.index.parents[last]
    return Call(call.program, call.file, known.get(key, call.node), call.frame)


def _library(call: Call, name: str) -> Value:
    if name in TRANSPARENT:
        inner = call.argument_value(0, "model" if name == "torch.compile" else "module")
        return inner if inner is not UNKNOWN or name.startswith("t") else Result(name, call)
    if name in ("torch.autograd.Variable", "torch.nn.Parameter"):
        return Result(name, call)
    if name == "dict":
        return table_of_call(call)
    if name in ("os.environ.get", "os.getenv", "input"):
        return Setting(name)
    if name == "getattr" and isinstance(call.argument_value(1), Literal):
        word = call.argument_value(1)
        owner = call.argument_value(0)
        if isinstance(word, Literal) and isinstance(word.value, str):
            return either(call.program.member(v, word.value) for v in owner.alternatives())
    if name == "getattr" and isinstance(call.argument_value(0), Reference):
        return _one_of(call.argument_value(0)) or Result(name, call)
    last = name.rpartition(".")[2]
    is_tensor_class = last.endswith("Tensor") and name.startswith("torch.")
    if (last[:1].isupper() and not is_tensor_class) or name == "torch.device":
        return Instance(name, call)
    return Result(name, call)


def _method(call: Call, callee: Method) -> Value:
    receiver = callee.receiver
    if callee.method in HANDING_BACK and _is_framework(receiver):
        handed = tuple(argument.value for argument in call.arguments())
        return handed[0] if len(handed) == 1 else Group(handed, not call.is_certain)
    if callee.definition is not None and isinstance(receiver, Instance):
        return returned(Frame(callee.definition, call, receiver))
    if callee.method in ("get", "pop") and isinstance(receiver, Table):
        return looked_up(call, receiver)
    if callee.method in SAME_MODULE and is_ready_made(receiver):
        return receiver
    if isinstance(receiver, Instance):
        if receiver.is_module:
            if callee.method in SAME_MODULE:
                return receiver
            if callee.method == "forward":
                return applied(receiver, call)
            return Result(f"torch.nn.Module.{callee.method}", call, receiver)
        if receiver.is_a("argparse.ArgumentParser"):
            space = Instance("argparse.Namespace", call)
            return Group((space, UNKNOWN)) if callee.method == "parse_known_args" else space
        return Result(f"{receiver.dotted}.{callee.method}", call, receiver)
    if is_tensor.apart(receiver):
        return Result(f"torch.Tensor.{callee.method}", call, receiver)
    return Result(f"?.{callee.method}", call, receiver)


def _is_framework(value: Value) -> bool:
    """Is it Accelerate's or Fabric's object that prepares models, optimizers and loaders?"""
    if isinstance(value, Instance):
        return value.is_a(*FRAMEWORKS)
    named = value.method if isinstance(value, Method) else value.parameter if isinstance(value, Argument) else ""
    return named in ("accelerator", "fabric")


def applied(instance: Instance, call: Call, given: Value | None = None) -> Value:
    """What a model, a layer or another object gives when it is called."""
    if not call.program.evaluator.goes_on():
        return UNKNOWN
    if instance.definition is not None:
        method = instance.definition.method("forward" if instance.is_module else "__call__")
        if method is not None:
            return returned(Frame(method, None if given is not None else call, instance, given))
        if not instance.is_a("torch.nn.Sequential"):
            return UNKNOWN
        instance = inherited_sequential(instance)
    if instance.dotted == "torch.nn.Sequential":
        return _through(instance, call, given)
    return Result(instance.dotted, call, given, instance)


def _through(sequential: Instance, call: Call, given: Value | None) -> Value:
    first = call.argument(0, "input")
    value = given if given is not None else first.value if first is not None else UNKNOWN
    layers, _ = contents(sequential)
    for layer in layers[-8:]:
        value = either(
            applied(choice, call, value) if isinstance(choice, Instance) else UNKNOWN for choice in layer.alternatives()
        )
    return value if layers else UNKNOWN


def inherited_sequential(instance: Instance) -> Instance:
    """The Sequential inside an object of a class derived from it: what its constructor hands to the base."""
    init = instance.definition.method("__init__") if instance.definition is not None else None
    for inner in init.calls() if init is not None else ():
        if inner.method == "__init__" and inner.node.args:
            return Instance(
                "torch.nn.Sequential", Call(inner.program, inner.file, inner.node, frame_of(instance, init))
            )
    return Instance("torch.nn.Sequential", instance.call if init is None else None)


def returned(frame: Frame) -> Value:
    """What a function of the project returns in one call of it."""
    function = frame.function
    program = function.program
    if function in program.entered or len(program.entered) > 12:
        program.evaluator.cycles += 1
        return NOTHING if function in program.entered else UNKNOWN
    strange = [name for name in function.decorators if not _is_harmless(name)]
    if function.is_generator or (strange and not program.registries.only_registers(function, len(strange))):
        return UNKNOWN
    program.entered.append(function)
    try:
        values = [program.evaluate(function.file, node, frame) for node in function.returns]
    finally:
        program.entered.pop()
    return either(values) if values else Literal(None)


def _is_harmless(decorator: str) -> bool:
    return decorator.rpartition(".")[2] in HARMLESS_DECORATORS or decorator.startswith("torch.")


def passed(function: UserFunction, parameter: str, call: Call) -> Value:
    """What a call passes for a parameter; the default where it passes nothing."""
    given = function.node.args
    if given.vararg is not None and given.vararg.arg == parameter:
        place = len(given.posonlyargs) + len(given.args) - (1 if function.self_name else 0)
        rest = [call.at(arg) for arg in call.node.args[place:]]
        if len(rest) == 1 and isinstance(rest[0].node, ast.Starred):
            return call.at(rest[0].node.value).value
        return Group(tuple(argument.value for argument in rest), not call.is_certain)
    if given.kwarg is not None and given.kwarg.arg == parameter:
        return further_keywords(call, function.parameters)
    place_or_none = function.place_of(parameter)
    found = call.argument(place_or_none, parameter)
    if found is not None:
        return found.value
    if not call.is_certain:
        return UNKNOWN
    default = function.default_of(parameter)
    return default.value if default is not None else UNKNOWN


def frame_of(instance: Instance, method: UserFunction | None) -> Frame | None:
    """The call of a method in which an object got its attributes."""
    if method is None:
        return None
    known = instance.frames.get(method)
    if known is None:
        known = instance.frames[method] = Frame(method, _constructing(instance, method), instance)
    return known


def _constructing(instance: Instance, method: UserFunction) -> Call | None:
    """The call whose arguments a constructor sees: the object's own, or a derived class's `super().__init__(...)`."""
    if method.name != "__init__" or instance.definition is None or instance.call is None:
        return None
    own = instance.definition.method("__init__")
    if own is None or own is method:
        return instance.call
    for call in own.calls():
        if call.method == "__init__":
            return Call(call.program, call.file, call.node, frame_of(instance, own))
    return None


def sample_of(dataset: Value, depth: int = 0) -> Value:
    """One sample of a dataset, as far as reading can follow it."""
    if isinstance(dataset, Item):
        dataset = dataset.of
    if isinstance(dataset, Result) and dataset.dotted == "torch.utils.data.random_split" and depth < 4:
        return sample_of(dataset.call.argument_value(0, "dataset"), depth + 1)
    if not isinstance(dataset, Instance) or dataset.call is None:
        return UNKNOWN
    if dataset.dotted == "torch.utils.data.Subset" and depth < 4:
        return sample_of(dataset.call.argument_value(0, "dataset"), depth + 1)
    if dataset.dotted == "torch.utils.data.TensorDataset":
        return Group(tuple(argument.value for argument in dataset.call.arguments()), not dataset.call.is_certain)
    if dataset.definition is not None:
        method = dataset.definition.method("__getitem__")
        return returned(Frame(method, this=dataset)) if method is not None else UNKNOWN
    transform = dataset.call.argument_value(None, "transform")
    if dataset.dotted.startswith("torchvision.datasets.") and isinstance(transform, Instance):
        return Group((applied(transform, dataset.call, UNKNOWN), UNKNOWN))
    return UNKNOWN


def batch_of(loader: Instance) -> Value:
    """One batch of a loader: what its collate function makes of samples, or the samples, stacked."""
    if loader.call is None:
        return Item(loader)
    dataset = loader.call.argument_value(0, "dataset")
    sample = sample_of(dataset)
    collate = loader.call.argument_value(6, "collate_fn")
    if isinstance(collate, Reference) and isinstance(collate.definition, UserFunction):
        return returned(Frame(collate.definition, given=Group((sample,), open=True)))
    if not isinstance(sample, Group):
        return Item(loader)
    whole, of_tensors = Item(loader), dataset.name == "torch.utils.data.TensorDataset"
    parts = (_stacked(part, of_tensors) for part in sample.items)
    return Group(tuple(part or Item(whole, place) for place, part in enumerate(parts)), sample.open)


def _stacked(part: Value, of_tensors: bool) -> Value | None:
    """What many samples' parts become: tensors stay tensors, numbers become one, of which no more is known."""
    is_number = isinstance(part, Result) and part.dotted in ("int", "float", "len")
    is_number |= isinstance(part, Literal) and isinstance(part.value, (int, float))
    return None if is_number or (of_tensors and not is_tensor.apart(part)) else part
