"""What the command line says when it cannot do what was asked: one sentence, and no more."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TextIO

import click

USAGE = 2
OUR_FAULT = 70
"""Status of a failure of torchdx itself, as in sysexits.h."""


class Refusal(click.ClickException):
    """What was asked cannot be done; the message is one sentence."""

    exit_code = USAGE


def say(sentence: str) -> None:
    """Print one sentence of our own on stderr; a closed stderr is no reason to fail."""
    end = "" if sentence.endswith((".", "?", "!")) else "."
    try:
        print(f"torchdx: {sentence}{end}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        mute(sys.stderr)


def mute(stream: TextIO) -> None:
    """Send what is still to come on a stream nowhere: its reader has left, and the exit status must not suffer."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def one_sentence(problem: click.ClickException) -> str:
    """What click has against the words of the command line, without its lists over many lines."""
    words = " ".join(problem.format_message().split())
    return words.replace(". Choose from: ", ": choose one of ")


def suggestion(word: str, known: Iterable[str], least: float = 0.6) -> str:
    """Did you mean ...? With a space before it, or nothing where nothing known is like the word to this degree."""
    from difflib import get_close_matches

    spelled = {name.lower(): name for name in known}
    near = get_close_matches(word.lower().replace("_", "-"), spelled, n=1, cutoff=least)
    return f" Did you mean {spelled[near[0]]!r}?" if near else ""


def sentence_of(problem: Exception) -> tuple[str, int]:
    """An exception in one sentence, and the status to end with."""
    from torchdx.launch import CannotLaunch
    from torchdx.record import UnreadableRecord

    if isinstance(problem, CannotLaunch):
        return str(problem), problem.status
    if isinstance(problem, UnreadableRecord):
        return str(problem), USAGE
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename}: {problem.strerror or problem}.", USAGE
    if isinstance(problem, FileNotFoundError) and not problem.filename:
        return "The working directory is there no more.", USAGE
    words = " ".join(str(problem).split()) or "no more is known"
    return f"Sorry, torchdx itself failed ({type(problem).__name__}: {words}); TORCHDX_DEBUG=1 shows where.", OUR_FAULT
