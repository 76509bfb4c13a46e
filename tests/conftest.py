"""What several tests are given."""

from __future__ import annotations

import io
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from telling import Done, Told
from torchdx.cli import main


def pytest_configure() -> None:
    """Let tests send signals also where the shell that started them, in the background, had them ignored."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, handler in usual.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            with suppress(ValueError):  # not in the main thread
                signal.signal(number, handler)


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests examine what they say that they examine, and leave nothing behind in the user's cache."""
    monkeypatch.setenv("TORCHDX_CACHE", "")


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Told:
    """Run the command line in this process, in an empty folder, and give how it ended and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        return Done(int(end.value.code or 0), *capfd.readouterr())

    return run
