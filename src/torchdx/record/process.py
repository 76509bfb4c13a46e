"""One watched process: its facts, gathered into the nouns that rules ask about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from torchdx.record.anatomy import Layer, Loader, LossUse, Optimizer, Parameter, Phase, site_of
from torchdx.record.facts import Fact
from torchdx.record.series import Series
from torchdx.record.states import Load, loads_of


@dataclass
class Process:
    """The facts of one process, by kind and in order of time."""

    facts: dict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> Process:
        """Sort the facts by kind."""
        process = cls()
        for fact in facts:
            process.facts[fact["kind"]].append(fact)
        return process

    def all(self, kind: str) -> list[Fact]:
        """Every fact of this kind."""
        return self.facts.get(kind, [])

    def first(self, kind: str) -> Fact:
        """The first fact of this kind; empty if there is none."""
        return next(iter(self.all(kind)), {})

    def last(self, kind: str) -> Fact:
        """The last fact of this kind; empty if there is none."""
        return next(reversed(self.all(kind)), {})

    @property
    def joined(self) -> Fact:
        """Its rank and the world's size in the process group it joined; empty if it joined none."""
        return self.last("rank")

    def until(self, step: int) -> Process:
        """What had been seen by the end of this optimizer step, as if the process were still running."""
        kept = {kind: [f for f in facts if _moment(f) <= step] for kind, facts in self.facts.items() if kind != "end"}
        if not kept.get("nonfinite"):
            kept.pop("nonfinite_line", None)
        return Process(defaultdict(list, kept))

    @property
    def steps(self) -> int:
        """How many optimizer steps it took, as far as was written down."""
        told = [*self.all("end"), *self.all("step")]
        return max((int(fact.get("steps", fact.get("n", 0))) for fact in told), default=0)

    @cached_property
    def parameters(self) -> dict[int, Parameter]:
        """Every parameter seen, by id."""
        owners = {
            number: (fact, name) for fact in self.all("module") for name, number in fact.get("params", {}).items()
        }
        found: dict[int, Parameter] = {}
        for fact in self.all("param"):
            owner, _ = owners.get(fact["id"], ({}, ""))
            found[fact["id"]] = Parameter(
                id=fact["id"],
                name=self._named(fact.get("name"), owner) or f"parameter {fact['id']}",
                shape=tuple(fact["shape"]),
                dtype=fact["dtype"],
                trainable=fact["trainable"],
                initial=fact.get("initial", {}),
                layer=self._named(owner.get("name"), owner),
                kind=owner.get("cls", ""),
                site=site_of(owner.get("site")),
                model=fact.get("model"),
                loaded=fact.get("loaded", False),
            )
        for look in self.all("gradients"):
            for key, measures in look["params"].items():
                if int(key) in found:
                    found[int(key)].looks.append((look["step"], measures))
        return found

    @cached_property
    def _roots(self) -> dict[int, str]:
        """The root class of every model that has parameters."""
        return {fact["model"]: fact.get("root", "") for fact in self.all("module") if fact.get("params")}

    def _named(self, name: str | None, owner: Fact) -> str:
        """The name within the model, after the model's class where there are several models."""
        if not owner:
            return name or ""
        root = owner.get("root", "")
        return ".".join(filter(None, (root, name))) if len(self._roots) > 1 or not name else name

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """Every module seen, and every functional activation after one, by id, in order of first use."""
        declared = {str(fact["id"]): fact for fact in self.all("module")}
        looks: dict[str, list[tuple[int, dict[str, object]]]] = defaultdict(list)
        for fact in self.all("outputs"):
            for key, measures in fact["layers"].items():
                looks[key].append((fact["step"], measures))
        ordered = [*looks, *(key for key in declared if key not in looks)]
        return {key: self._layer(key, declared, looks.get(key, [])) for key in ordered if key.split(":")[0] in declared}

    def _layer(self, key: str, declared: dict[str, Fact], looks: list[tuple[int, dict[str, object]]]) -> Layer:
        number, _, activation = key.partition(":")
        fact = declared[number]
        own = () if activation else tuple(p for n in fact.get("params", {}).values() if (p := self.parameters.get(n)))
        return Layer(
            id=key,
            name=self._named(fact["name"], fact) + (f":{activation}" if activation else ""),
            cls=activation.capitalize() if activation else fact["cls"],
            model=fact["model"],
            site=site_of(fact.get("site")),
            leaf=bool(activation) or fact.get("leaf", True),
            training=fact.get("training", True),
            config=fact.get("config", {}),
            parameters=own,
            looks=list(looks),
        )

    @cached_property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """Every optimizer that took a step."""
        return tuple(
            Optimizer(fact["id"], fact["cls"], site_of(fact.get("site")), tuple(fact["groups"]))
            for fact in self.all("optimizer")
        )

    @cached_property
    def loads(self) -> tuple[Load, ...]:
        """Every `load_state_dict` of a module that was told of."""
        return tuple(loads_of(self.all("load")))

    @cached_property
    def loaders(self) -> tuple[Loader, ...]:
        """Every DataLoader that gave a batch."""
        batches = defaultdict(list)
        for fact in self.all("batch"):
            batches[fact["loader"]].append(fact)
        return tuple(
            Loader(
                id=fact["id"],
                site=site_of(fact.get("site")),
                order=fact.get("order", ""),
                batch_size=fact.get("batch_size"),
                workers=fact.get("workers", 0),
                drop_last=fact.get("drop_last", False),
                batches=fact.get("batches"),
                samples=fact.get("samples"),
                dataset=fact.get("dataset", ""),
                looks=tuple(batches[fact["id"]]),
                weights=fact.get("weights"),
                weighted=site_of(fact.get("weighted")),
            )
            for fact in self.all("loader")
        )

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Training and evaluation as they followed each other."""
        return tuple(
            Phase(
                index=fact["index"],
                what=fact["what"],
                loader=fact.get("loader"),
                first_step=fact["first_step"],
                last_step=fact["last_step"],
                batches=fact["batches"],
                grad=fact.get("grad", True),
                modes=fact.get("modes", {}),
                losses=tuple(fact["losses"]),
            )
            for fact in self.all("phase")
        )

    @cached_property
    def losses(self) -> tuple[LossUse, ...]:
        """Every loss function called, by place, the most called first."""
        uses: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        for fact in self.all("loss"):
            uses[fact["fn"], str(fact.get("site"))].append(fact)
        ranked = sorted(uses.items(), key=lambda item: -len(item[1]))
        return tuple(LossUse(fn, site_of(looks[0].get("site")), tuple(looks)) for (fn, _), looks in ranked)

    @cached_property
    def objective(self) -> Series:
        """The value that `backward` was called on, step by step."""
        return Series.of((fact["n"], fact.get("objective")) for fact in self.all("step"))

    @cached_property
    def learning_rate(self) -> Series:
        """The learning rate of the first parameter group, step by step."""
        return Series.of((fact["n"], fact.get("lr")) for fact in self.all("step"))


def _moment(fact: Fact) -> int:
    """The optimizer step at which a fact was written; 0 for what does not say."""
    return int(fact.get("step", fact.get("n", fact.get("last_step", 0))) or 0)
