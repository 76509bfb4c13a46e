"""Which modules and parameters there are, what they are called, and where they were made."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.places import Place, maker, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import SIMPLE, is_plain, sample

MODE_SENSITIVE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
_WRAPPERS = ("module.", "_orig_mod.")
_FULL_PASS = 1 << 18


class Models:
    """Every module built, and a number for each module and parameter of the models in use."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._mode_sensitive: list[weakref.ref[nn.Module]] = []
        self._modes: dict[str, int] | None = None
        self._built: dict[int, tuple[weakref.ref[nn.Module], Place | None]] = {}
        self._modules: dict[int, tuple[weakref.ref[nn.Module], int]] = {}
        self._parameters: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._names: dict[int, str] = {}
        self._loaded: dict[int, weakref.ref[Tensor]] = {}
        self._model_of: dict[int, int] = {}
        self._makers: dict[int, tuple[weakref.ref[nn.Module], weakref.ref[object]]] = {}
        self._roots_known: dict[int, tuple[weakref.ref[nn.Module], int, str]] = {}
        self._count = 0
        self._models = 0
        self._awaited: list[tuple[tuple[type[nn.Module], ...], Callable[[], None]]] = []
        self.at_equal_rows: Callable[[int, Tensor, nn.Module | None], None] | None = None
        self.at_layer: Callable[[int, nn.Module], None] | None = None
        self.at_frozen: Callable[[int, Tensor], None] | None = None
        session.weave(nn.Module.__init__, after=self._constructed)
        session.weave(nn.Module.__setstate__, after=self._restored)
        session.weave_bare(nn.Module.train, self._switched)

    def _constructed(self, _: None, module: nn.Module, *__: Any) -> None:
        self._built[id(module)] = (weakref.ref(module), user_place(2, skip_constructor_of=module))
        self._announce(module)
        owner = maker(nn.Module, besides=module)
        if owner is not None:
            self._makers[id(module)] = (weakref.ref(module), weakref.ref(owner))

    def _restored(self, _: None, module: nn.Module, *__: Any) -> None:
        self._built.setdefault(id(module), (weakref.ref(module), None))
        self._announce(module)

    def when_made(self, kinds: tuple[type[nn.Module], ...], then: Callable[[], None]) -> None:
        """Call this when the first module of one of these kinds is made: probes that few programs need can wait."""
        self._awaited.append((kinds, then))

    def _announce(self, module: nn.Module) -> None:
        for one in [one for one in self._awaited if isinstance(module, one[0])]:
            self._awaited.remove(one)
            one[1]()

    def fill(self, module: nn.Module, besides: Collection[str] = ()) -> None:
        """Its weights, but for these, come from elsewhere: whoever leaves them alone may mean to."""
        self._loaded.update((id(p), weakref.ref(p)) for name, p in named_parameters(module) if name not in besides)

    def is_filled(self, parameter: Tensor) -> bool:
        """Did its values come from elsewhere?"""
        return id(parameter) in self._loaded and self._loaded[id(parameter)]() is parameter

    # --- numbers

    def number_of(self, module: nn.Module) -> int | None:
        """The module's number; its whole model is registered when it is first met. None if it cannot be placed."""
        known = self._modules.get(id(module))
        if known is not None and known[0]() is module:
            return known[1]
        root = self._root_of(module)
        if root is None:
            return None
        self._register(root)
        return self._modules[id(module)][1]

    def known_number(self, module: nn.Module) -> int | None:
        """The module's number, if its model was in use already."""
        known = self._modules.get(id(module))
        return known[1] if known is not None and known[0]() is module else None

    def model_of(self, number: int) -> int:
        """The number of the model that the module of this number was first met in."""
        return self._model_of[number]

    def parameter_number(self, parameter: Tensor) -> int:
        """The parameter's number; one that belongs to no known model gets a number of its own."""
        known = self._parameters.get(id(parameter))
        if known is not None and known[0]() is parameter:
            return known[1]
        self._write_parameter(parameter, None, None)
        return self._parameters[id(parameter)][1]

    def with_gradient(self, besides: set[int]) -> list[int]:
        """The numbers of all trainable parameters that hold a gradient, besides those with these numbers."""
        return [
            number
            for ref, number in self._parameters.values()
            if number not in besides and (p := ref()) is not None and p.requires_grad and p.grad is not None
        ]

    def alive(self, kind: type[nn.Module]) -> list[nn.Module]:
        """The living modules of this kind."""
        return [module for module in self._living() if isinstance(module, kind)]

    def is_root(self, module: nn.Module) -> bool:
        """Does no other module contain it?"""
        known = self._roots_known.get(id(module))
        return known is not None and known[0]() is module

    def _switched(self, *_: Any) -> None:
        self._modes = None

    def mode_sensitive(self) -> list[nn.Module]:
        """The living modules of models in use that training mode changes: dropout and batch norm."""
        return [module for ref in self._mode_sensitive if (module := ref()) is not None]

    def modes(self) -> dict[str, int]:
        """How many mode-sensitive modules live, and how many are in training mode."""
        if self._modes is None:
            alive = self.mode_sensitive()
            self._modes = {"of": len(alive), "training": sum(module.training for module in alive)}
        return self._modes

    def adopt_optimised(self, parameters: set[int]) -> None:
        """Register every model that holds one of these parameters (by id), though none of it was seen in use."""
        for root in self._roots():
            if id(root) not in self._modules and _holds(root, parameters):
                self._register(root)

    # --- registration

    def _living(self) -> list[nn.Module]:
        living = []
        for key, (ref, _) in list(self._built.items()):
            module = ref()
            if module is None:
                del self._built[key]
            elif "_modules" in module.__dict__:
                living.append(module)
        return living

    def roots(self) -> list[nn.Module]:
        """The living modules that no other contains, in use or not."""
        return self._roots()

    def _roots(self) -> list[nn.Module]:
        living = self._living()
        inside = {id(child) for module in living for child in module._modules.values() if child is not None}
        return [module for module in living if id(module) not in inside]

    def _root_of(self, module: nn.Module) -> nn.Module | None:
        return next((root for root in self._roots() if any(inner is module for _, inner in walk(root))), None)

    def _register(self, root: nn.Module) -> None:
        """Write down a model's modules that are new: all of them at first, those put in later when they are met."""
        model, path = self._place_of(root)
        for name, module in walk(root):
            known = self._modules.get(id(module))
            if known is None or known[0]() is not module:
                own = ".".join(filter(None, (path, _bare(name))))
                self._write_module(module, own, model, type(root).__name__)

    def _place_of(self, root: nn.Module) -> tuple[int, str]:
        """The number of the model that this root is, and what the names of its modules begin with.

        A root that another module made in its `__init__` without taking it in, as into a plain list, counts as a part
        of that module's model, named `<Block>`.
        """
        known = self._roots_known.get(id(root))
        if known is None or known[0]() is not root:
            made, owner = self._makers.get(id(root), (None, None))
            host = owner() if made is not None and made() is root and owner is not None else None
            number = self.number_of(host) if isinstance(host, nn.Module) else None
            if number is not None:
                known = (weakref.ref(root), self._model_of[number], f"<{type(root).__name__}>")
            else:
                known = (weakref.ref(root), self._models, "")
                self._models += 1
            self._roots_known[id(root)] = known
        return known[1], known[2]

    def _write_module(self, module: nn.Module, name: str, model: int, root: str) -> None:
        self._count += 1
        self._modules[id(module)] = (weakref.ref(module), self._count)
        self._model_of[self._count] = model
        if isinstance(module, MODE_SENSITIVE):
            self._mode_sensitive.append(weakref.ref(module))
            self._modes = None
        parameters = {}
        for own, parameter in module._parameters.items():
            if parameter is not None:
                parameters[own] = self._write_parameter(parameter, f"{name}.{own}" if name else own, model, module)
        if parameters and self.at_layer:
            self.at_layer(self._count, module)
        built = self._built.get(id(module))
        self.session.write(
            "module",
            id=self._count,
            model=model,
            root=root,
            name=name,
            cls=type(module).__name__,
            torch=type(module).__module__.startswith("torch.nn"),
            site=built[1] if built and built[0]() is module else None,
            leaf=not module._modules,
            training=module.training,
            config={k: v for k, v in vars(module).items() if isinstance(v, SIMPLE) and not k.startswith("_")},
            params=parameters,
        )

    def _write_parameter(
        self, parameter: Tensor, name: str | None, model: int | None, module: nn.Module | None = None
    ) -> int:
        known = self._parameters.get(id(parameter))
        if known is not None and known[0]() is parameter:  # shared, or seen in an optimizer before
            number = known[1]
            if name is None or number in self._names:
                return number
        else:
            number = len(self._parameters) + 1
            while number in self._names:
                number += 1
            self._parameters[id(parameter)] = (weakref.ref(parameter), number)
        if name is not None:
            self._names[number] = name
        initial = _first_look(parameter)
        if initial.get("rows_equal") and self.at_equal_rows:
            self.at_equal_rows(number, parameter, module)
        if not parameter.requires_grad and self.at_frozen:
            self.at_frozen(number, parameter)
        self.session.write(
            "param",
            id=number,
            name=name,
            model=model,
            shape=list(parameter.shape),
            dtype=str(parameter.dtype).removeprefix("torch."),
            device=parameter.device.type,
            trainable=parameter.requires_grad,
            loaded=self.is_filled(parameter),
            initial=initial,
        )
        return number


def walk(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module with its name, as `named_modules` gives them, though a user's class may have its own of these."""
    seen: set[int] = set()
    ahead = [("", root)]
    while ahead:
        name, module = ahead.pop()
        if id(module) not in seen:
            seen.add(id(module))
            yield name, module
            inner = [(f"{name}.{own}" if name else own, m) for own, m in module._modules.items() if m is not None]
            ahead += reversed(inner)


def named_parameters(root: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter with its name in the module, each module taken once."""
    for name, module in walk(root):
        for own, parameter in module._parameters.items():
            if parameter is not None:
                yield f"{name}.{own}" if name else own, parameter


def _holds(root: nn.Module, parameters: set[int]) -> bool:
    return any(id(p) in parameters for _, module in walk(root) for p in module._parameters.values())


def _bare(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _first_look(parameter: Tensor) -> dict[str, float | bool]:
    """Mean, standard deviation and range before training, and whether all rows are the same."""
    if not is_plain(parameter) or parameter.device.type != "cpu":
        return {}
    values = parameter.detach()
    seen = values.float() if values.numel() <= _FULL_PASS else sample(values)
    spread, mean = torch.std_mean(seen, correction=0)
    low, high = torch.aminmax(seen)
    told: dict[str, float | bool] = {
        "mean": mean.item(),
        "std": spread.item(),
        "min": low.item(),
        "max": high.item(),
    }
    if values.dim() >= 2 and values.shape[0] > 1:
        told["rows_equal"] = bool(torch.equal(values[0], values[1]) and torch.equal(values[0], values[-1]))
    return told
