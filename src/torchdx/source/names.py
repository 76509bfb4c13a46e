"""From a name as written to the thing it names: imports, aliases and re-exports followed across the project's files."""

from __future__ import annotations

import ast
import builtins
import posixpath
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.definitions import UserClass, UserFunction
from torchdx.source.file import SourceFile
from torchdx.source.flow import reaching
from torchdx.source.index import FUNCTIONS, Binding, Scope
from torchdx.source.notebook import Notebook
from torchdx.source.values import ModuleReference, Reference

if TYPE_CHECKING:
    from torchdx.source.program import Program

LIBRARIES = frozenset(sys.stdlib_module_names) | {
    "torch",
    "torchvision",
    "torchaudio",
    "numpy",
    "np",
    "tqdm",
    "sklearn",
}
MOST_ALIASES = 6
NEAR = 1
"""A module found nowhere on the usual path may lie in a folder beside the importing file's, no further away: `utils` is
too common a name to be looked for everywhere."""
_INNER_FILE = re.compile(
    r"^(torch\.nn|torch\.optim|torch\.utils\.data|torch\.distributions|torchvision\.transforms|torch\.autograd)"
    r"\.(?:modules\.)?(?!lr_scheduler|functional|init|utils|parallel|datapipes|v2)[a-z_]+\.([A-Z]\w*)$"
)


def canonical(dotted: str) -> str:
    """One name for a thing of torch, whichever of its files it is imported from."""
    found = _INNER_FILE.match(dotted)
    if found:
        return f"{found.group(1)}.{found.group(2)}"
    if dotted.startswith("torch.nn.modules."):
        return "torch.nn." + dotted[len("torch.nn.modules.") :]
    return dotted


class Names:
    """Resolves names for one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.folders: dict[SourceFile, str] = {}
        self.modules: dict[tuple[str, str], SourceFile | None] = {}
        self.by_path = {posixpath.normpath(file.path.replace("\\", "/")): file for file in program.files}
        self.by_stem: dict[str, list[str]] = {}
        for path in self.by_path:
            name = posixpath.basename(path)
            stem = posixpath.basename(posixpath.dirname(path)) if name == "__init__.py" else name[:-3]
            self.by_stem.setdefault(stem, []).append(path)

    def resolve(self, file: SourceFile, node: ast.AST, depth: int = 0) -> Reference | ModuleReference | None:
        """What a name or a dotted name stands for, or None where it is no import, function or class."""
        if isinstance(node, ast.Name):
            found = self.binding(file, node)
            if found is None:
                return Reference(node.id) if hasattr(builtins, node.id) else None
            return self._bound(file, found, depth) if isinstance(found, Binding) else None
        if isinstance(node, ast.Attribute):
            base = self.resolve(file, node.value, depth)
            found_member = self.member(base, node.attr, depth) if base is not None else None
            return self.in_bare_folder(file, found_member) if isinstance(base, Reference) else found_member
        return None

    def in_bare_folder(
        self, file: SourceFile, found: Reference | ModuleReference | None
    ) -> Reference | ModuleReference | None:
        """After `import folder.file`, where the folder has no `__init__.py` and so is no file itself, the file."""
        if isinstance(found, Reference) and found.definition is None and not _is_of_library(found.dotted):
            module = self.module(file, found.dotted)
            return ModuleReference(module) if module is not None else found
        return found

    def binding(self, file: SourceFile, node: ast.Name) -> Binding | list[Binding] | None:
        """The one binding that a name certainly has, all of them if there are more, None if there is none."""
        scope = file.scope_of(node)
        home, bindings = self.visible(scope, node.id)
        if home is None:
            return self._through_stars(file, node.id)
        if len(bindings) > 1 and home is scope:
            bindings = reaching(file, bindings, node, scope.node)
        if len(bindings) > 1:
            named = [b for b in bindings if b.how in ("import", "def", "class")]
            empty = [b for b in bindings if b.how == "assign" and _is_none(b.value)]
            if named and len(named) + len(empty) == len(bindings):
                known = _met_above(named, node) if isinstance(file, Notebook) and home is not scope else named
                bindings = known[:1] if known[0].how == "import" else known[-1:]
        return bindings[0] if len(bindings) == 1 else bindings

    def visible(self, scope: Scope, name: str) -> tuple[Scope | None, list[Binding]]:
        """The scope that a name is looked up in, seen from another, and its bindings there."""
        here: Scope | None = scope.foreign.get(name, scope)
        while here is not None:
            if name in here.bindings and (here is scope or not here.is_class):
                return here, here.bindings[name]
            here = here.parent
        return None, []

    def _through_stars(self, file: SourceFile, name: str) -> Binding | None:
        for star in file.module_scope.bindings.get("*", ()):
            module = self.module(file, star.origin)
            if module is not None and module is not file and name in module.module_scope.bindings:
                return Binding(name, star.node, None, "import", (), f"{star.origin}.{name}")
        return None

    def _bound(self, file: SourceFile, binding: Binding, depth: int) -> Reference | ModuleReference | None:
        if depth > MOST_ALIASES:
            return None
        if binding.how == "import":
            return self.imported(file, binding.origin, depth + 1)
        if binding.how == "def" and isinstance(binding.node, FUNCTIONS):
            function = self.program.function(file, binding.node)
            return Reference(f"{module_name(file)}.{binding.name}", function)
        if binding.how == "class" and isinstance(binding.node, ast.ClassDef):
            return Reference(f"{module_name(file)}.{binding.name}", self.program.class_(file, binding.node))
        if binding.how == "assign" and not binding.steps and isinstance(binding.value, (ast.Name, ast.Attribute)):
            return self.resolve(file, binding.value, depth + 1)
        return None

    def imported(self, file: SourceFile, dotted: str, depth: int = 0) -> Reference | ModuleReference | None:
        """What an import of this dotted name brings."""
        if dotted.partition(".")[0] in LIBRARIES:
            return Reference(canonical(dotted))
        rest = dotted.lstrip(".")
        dots, words = dotted[: len(dotted) - len(rest)], rest.split(".") if rest else []
        for count in range(len(words), -1 if dots else 0, -1):
            module = self.module(file, dots + ".".join(words[:count]))
            if module is not None and (module is not file or count < len(words)):
                found: Reference | ModuleReference | None = ModuleReference(module)
                for word in words[count:]:
                    found = self.member(found, word, depth + 1) if found is not None else None
                return found
        return Reference(canonical(dotted.lstrip(".")))

    def variable(self, file: SourceFile, dotted: str) -> tuple[SourceFile, list[Binding]]:
        """Where a variable that is imported gets its value: the file, and the assignments."""
        for _ in range(MOST_ALIASES if dotted else 0):
            rest = dotted.lstrip(".")
            head, _, name = rest.rpartition(".")
            module = self.module(file, dotted[: len(dotted) - len(rest)] + head)
            if module is None or module is file:
                break
            bindings = module.module_scope.bindings.get(name, [])
            last = bindings[-1] if bindings else self._through_stars(module, name)
            if last is None or last.how != "import":
                return module, [one for one in bindings if one.how != "import"]
            file, dotted = module, last.origin
        return file, []

    def member(
        self, base: Reference | ModuleReference | None, name: str, depth: int = 0
    ) -> Reference | ModuleReference | None:
        """What a dot and a name lead to from a module, a class, or something of a library."""
        if isinstance(base, ModuleReference):
            bindings = base.file.module_scope.bindings.get(name)
            if bindings and depth <= MOST_ALIASES:
                return self._bound(base.file, bindings[-1], depth + 1)
            inner = self.module(base.file, "." + name)
            if inner is not None:
                return ModuleReference(inner)
            star = self._through_stars(base.file, name)
            return self._bound(base.file, star, depth + 1) if star is not None and depth <= MOST_ALIASES else None
        if base is None:
            return None
        if isinstance(base.definition, UserClass):
            method = base.definition.method(name)
            return Reference(f"{base.name}.{name}", method) if method is not None else None
        if isinstance(base.definition, UserFunction):
            return None
        return Reference(canonical(f"{base.name}.{name}"))

    def module(self, file: SourceFile, dotted: str) -> SourceFile | None:
        """The project's file that an import of this module, written in that file, means."""
        folder = self.folders.get(file)
        if folder is None:
            folder = self.folders[file] = posixpath.dirname(posixpath.normpath(file.path.replace("\\", "/")))
        key = (folder, dotted)
        if key not in self.modules:
            last = dotted.rpartition(".")[2]
            possible = not last or last in self.by_stem
            self.modules[key] = next(self._candidates(folder, dotted), None) if possible else None
        return self.modules[key]

    def _candidates(self, folder: str, dotted: str) -> Iterator[SourceFile]:
        level = len(dotted) - len(dotted.lstrip("."))
        inner = dotted[level:].replace(".", "/")
        if level:
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            yield from self._at(posixpath.join(folder, inner) if inner else folder)
            return
        above = folder
        while True:
            yield from self._at(posixpath.join(above, inner))
            yield from self._at(posixpath.join(above, "src", inner))
            if posixpath.dirname(above) == above:
                break
            above = posixpath.dirname(above)
        ends = (f"/{inner}.py", f"/{inner}/__init__.py")
        same = [path for path in self.by_stem.get(posixpath.basename(inner), ()) if ("/" + path).endswith(ends)]
        if len(same) == 1 and same[0].startswith(_above(folder, NEAR)):
            yield self.by_path[same[0]]

    def _at(self, place: str) -> Iterator[SourceFile]:
        for path in (f"{place}.py", f"{place}/__init__.py"):
            file = self.by_path.get(posixpath.normpath(path))
            if file is not None:
                yield file


def _above(folder: str, levels: int) -> str:
    """The folder so many levels up, with a slash at its end."""
    for _ in range(levels):
        folder = posixpath.dirname(folder)
    return folder.rstrip("/") + "/" if folder else ""


def _is_of_library(dotted: str) -> bool:
    return dotted.partition(".")[0] in LIBRARIES


def _met_above(bindings: list[Binding], use: ast.AST) -> list[Binding]:
    """Those made above a use; all, if none is: in a notebook, a function runs before what is defined below it."""
    above = [b for b in bindings if getattr(b.node, "lineno", 0) <= getattr(use, "lineno", 0)]
    return above or bindings


def module_name(file: SourceFile) -> str:
    """A short dotted name for a file, for messages."""
    path = posixpath.normpath(file.path.replace("\\", "/"))
    name = path[:-3] if path.endswith(".py") else path
    return name.removesuffix("/__init__").rpartition("/")[2]


def _is_none(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is None)
