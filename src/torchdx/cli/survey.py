"""What is to be checked and how its findings are to be told: the words of `torchdx check`, understood."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchdx.cli.naming import suggested
from torchdx.cli.words import Refusal, say

if TYPE_CHECKING:
    from torchdx.check import Configuration
    from torchdx.check.baseline import Baseline
    from torchdx.exam.whole import Examined
    from torchdx.finding import Diagnosis, Finding
    from torchdx.source import Problem, Program

STDIN = "-"


@contextmanager
def refusing() -> Iterator[None]:
    """Whatever cannot be done is told in one sentence; a word that is like a rule's name, with that name."""
    from torchdx.check import BadSetting, UnknownRule

    try:
        yield
    except UnknownRule as problem:
        raise Refusal(f"{problem}{suggested(problem.word) or ' See torchdx rules.'}") from problem
    except BadSetting as problem:
        raise Refusal(str(problem)) from problem


@dataclass(frozen=True)
class Survey:
    """The files to look at, the settings that hold for them, and what is known of them already."""

    paths: tuple[str, ...]
    configuration: Configuration
    baseline: Baseline | None = None
    stdin_name: str = ""
    remembers: bool = True
    _known: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def is_of_stdin(self) -> bool:
        return self.paths == (STDIN,)

    @cached_property
    def places(self) -> list[Path]:
        """The files and folders that are meant."""
        return [] if self.is_of_stdin else [_place(path) for path in self.paths or (".",)]

    def program(self) -> Program:
        """Read what is to be checked, but for what settings leave out."""
        from torchdx.source import Program

        if self.is_of_stdin:
            if sys.stdin is None:
                raise Refusal("There is nothing to read: stdin is closed.")
            return self._unsaved(sys.stdin.buffer.read())
        whole = Program.read(self.places)
        files = [file for file in whole.files if not self.configuration.excludes(file.path)]
        unread = [problem for problem in whole.unread if not self.configuration.excludes(problem.path)]
        if len(files) + len(unread) == len(whole.files) + len(whole.unread):
            return whole
        if not files and not unread:
            say("There is nothing to check: [tool.torchdx] excludes all that was named.")
        return Program(files, unread, whole.named)

    def _unsaved(self, text: bytes) -> Program:
        """What an editor has of one file, among the files of its project that it imports."""
        from torchdx.source import Program

        if not self.stdin_name:
            return Program.of({"<stdin>": text})
        name = str(Path(self.stdin_name).absolute())
        if self.configuration.excludes(name):
            return Program(())
        around = Program.around(name, text)
        return Program(around.files, (), {name})

    def diagnosis(self, program: Program) -> Diagnosis:
        """What is to be told of the program: what is new, where there is a baseline."""
        found = self.known_and_new(program)
        return self.baseline.compared(found, program).diagnosis if self.baseline else found

    def known_and_new(self, program: Program) -> Diagnosis:
        """All that was found and is not silenced or left out by settings."""
        from torchdx.check import told
        from torchdx.check.sifting import sifted

        whole = told(self._examined(program).diagnosis, program.files, self.configuration, audit=True)
        return sifted(whole, self._is_asked_for) if self.stdin_name else whole

    def problems(self, program: Program) -> tuple[Problem, ...]:
        """What could not be read; beside a file on stdin, others are read only for what they define."""
        whole = self._examined(program).problems
        return tuple(problem for problem in whole if problem.path in program.named) if self.stdin_name else whole

    def _examined(self, program: Program) -> Examined:
        """What every rule says of the program, and what could not be read; the one place where rules are asked."""
        from torchdx.exam.memory import Memory, usual_folder
        from torchdx.exam.whole import examined

        if self._known.get("program") is not program:
            memory = Memory(usual_folder() if self.remembers else None)
            self._known.update(program=program, answer=examined(program, memory))
        return self._known["answer"]  # type: ignore[no-any-return]

    def _is_asked_for(self, finding: Finding) -> Finding | None:
        """Of a file on stdin, only what stands in that file."""
        here = finding.site is None or finding.site.path == str(Path(self.stdin_name).absolute())
        return finding if here else None

    def with_baseline(self, file: Path | None) -> Survey:
        """The same, with what a file knows already."""
        from torchdx.check.baseline import Baseline

        return self if file is None else replace(self, baseline=Baseline.read(file))


def _place(path: str) -> Path:
    """The file or folder that is meant; a folder that holds nothing to read is refused."""
    from torchdx.source.reading import python_files

    place = Path(path).absolute()
    if not path or (place.is_dir() and not any(python_files([place]))):
        raise Refusal(f"There is no Python file in {place if path == '.' else path or repr(path)}.")
    return place
