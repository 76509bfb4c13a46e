"""A whole folder examined: each separate program in it by itself, on all cores, and not again where nothing changed."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from torchdx.exam import examine
from torchdx.exam.memory import Memory
from torchdx.exam.symptoms import Course
from torchdx.exam.verdict import verdict_of
from torchdx.finding import SEVERITIES, Diagnosis, Finding
from torchdx.rules import all_rules
from torchdx.source import Problem, Program, without_collection
from torchdx.source.notebook import source_file

WORTH_A_PROCESS = 200_000
"""Bytes of source that keep a process busy for longer than it takes to start: about 0.1 s."""


@dataclass(frozen=True)
class Packed:
    """The files of a program as they travel to another process."""

    files: tuple[tuple[str, bytes], ...]
    named: frozenset[str]

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.files)


@dataclass(frozen=True)
class Examined:
    """What was found in a program, and what of it could not be read."""

    diagnosis: Diagnosis
    problems: tuple[Problem, ...] = ()


def examined(program: Program, memory: Memory, cores: int | None = None) -> Examined:
    """Examine the source of every separate program among the files, each by itself, and gather what is found."""
    keys = {part: memory.key_of(part) for part in program.parts} if memory.folder is not None else {}
    answers = {part: known for part, key in keys.items() if isinstance(known := memory.recall(key), Examined)}
    new = [part for part in program.parts if part not in answers]
    for part, answer in zip(new, _each(new, cores or available_cores()), strict=True):
        answers[part] = answer
        if part in keys:
            memory.keep(keys[part], answer)
    memory.tidy()
    return _gathered([answers[part] for part in program.parts], program.unread)


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _each(parts: Sequence[Program], cores: int) -> list[Examined]:
    """An answer for each part, in order; several processes where there is enough to do for them."""
    packed = [Packed(tuple((file.path, file.on_disk) for file in part.files), part.named) for part in parts]
    processes = min(cores, len(packed), sum(pack.size for pack in packed) // WORTH_A_PROCESS)
    answers = _in_processes(packed, processes) if processes > 1 and not os.environ.get("TORCHDX_DEBUG") else None
    with without_collection():
        return answers or [_one(pack) for pack in packed]


def _in_processes(packed: Sequence[Packed], processes: int) -> list[Examined] | None:
    """The answers of other processes, or None where there can be none or one died.

    The longest are handed out first, so that no process is left with one at the end.
    """
    import multiprocessing  # slow to import, and a single file needs neither
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

    if multiprocessing.parent_process() is not None:
        return None
    order = sorted(range(len(packed)), key=lambda place: -packed[place].size)
    method = "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"
    if method == "fork":
        all_rules()  # once, before there are several processes that would each do it
    with ProcessPoolExecutor(processes, multiprocessing.get_context(method), initializer=_begin) as pool:
        try:
            answers = dict(zip(order, pool.map(_one, [packed[place] for place in order]), strict=True))
        except (BrokenExecutor, OSError):
            return None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [answers[place] for place in range(len(packed))]


def _begin() -> None:
    """A process of its own: Ctrl-C is the parent's to answer, and what little refers to itself may lie about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()


def _one(packed: Packed) -> Examined:
    """Examine files of one's own, so that their trees are gone when it is done."""
    part = Program((source_file(path, data) for path, data in packed.files), named=packed.named)
    answer = Examined(examine(part, None), part.problems)
    part.forget()
    return answer


def _gathered(answers: Sequence[Examined], unread: Sequence[Problem]) -> Examined:
    """All answers as one: causes with their consequences stay together, the gravest first, then by place."""
    findings = sorted((f for answer in answers for f in answer.diagnosis.findings), key=_order)
    lacks = dict.fromkeys(lack for answer in answers for lack in answer.diagnosis.not_enough)
    problems = sorted([*unread, *(problem for answer in answers for problem in answer.problems)])
    diagnosis = Diagnosis(verdict_of(None, Course(0), findings), tuple(findings), tuple(lacks))
    return Examined(diagnosis, tuple(problems))


def _order(finding: Finding) -> tuple[object, ...]:
    site = finding.site
    return SEVERITIES.index(finding.severity or "warning"), *(
        (site.path, site.line, site.column) if site else ("", 0, 0)
    )
