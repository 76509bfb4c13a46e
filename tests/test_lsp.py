"""The language server, asked over stdin and stdout as an editor asks it."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from torchdx.finding import Edit, Finding, Fix, Site
from torchdx.integrations.lsp.messages import FIX_ALL, Editor, Sheet, Spot
from torchdx.integrations.lsp.project import Project, root_of
from torchdx.source import Program

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WAIT = 60.0
SICK = """import torch
from torch import nn

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
"""
CURED = SICK.replace("nn.Conv2d(3, 8, 3)", "nn.Conv2d(3, 8, 3, bias=False)")
MARKED = {"workspace": {"workspaceEdit": {"documentChanges": True}}}


class Client:
    """An editor, as far as the protocol goes."""

    def __init__(self, folder: Path, capabilities: dict[str, Any] | None = None, root: bool = True) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torchdx", "lsp", "--stdio"],
            cwd=folder,
            env=os.environ | {"TORCHDX_DEBUG": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.answers: dict[int, queue.Queue[Any]] = {}
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()
        self.noise: list[bytes] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.heard = b""
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        folders = [{"uri": folder.as_uri(), "name": "here"}] if root else None
        hello = {"processId": None, "rootUri": None, "workspaceFolders": folders, "capabilities": capabilities or {}}
        self.capabilities = self.ask("initialize", hello)["capabilities"]
        self.tell("initialized", {})

    def _read(self) -> None:
        """Every byte of stdout has to belong to a message."""
        assert self.process.stdout is not None
        while header := self.process.stdout.readline():
            if not header.startswith(b"Content-Length: "):
                self.noise.append(header)
                return
            while self.process.stdout.readline() != b"\r\n":
                pass
            message = json.loads(self.process.stdout.read(int(header.split()[1])))
            if "method" in message:
                self.told.put(message)
            else:
                self.answers[message["id"]].put(message)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.heard = self.process.stderr.read()

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def tell(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def ask(self, method: str, params: Any) -> Any:
        number = len(self.answers) + 1
        self.answers[number] = queue.Queue()
        self._send({"id": number, "method": method, "params": params})
        answer = self.answers[number].get(timeout=WAIT)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, uri: str, text: str, language: str = "python") -> None:
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})

    def change(self, uri: str, version: int, text: str) -> None:
        document = {"uri": uri, "version": version}
        self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})

    def diagnostics(self, uri: str, version: int | None = 1) -> list[dict[str, Any]]:
        """What the server says of this version of a document."""
        while True:
            message = self.told.get(timeout=WAIT)
            assert message["method"] == "textDocument/publishDiagnostics", message
            if message["params"]["uri"] == uri and message["params"].get("version") == version:
                found: list[dict[str, Any]] = message["params"]["diagnostics"]
                return found

    def actions(self, uri: str, area: dict[str, Any], **context: Any) -> list[dict[str, Any]]:
        asked = {"textDocument": {"uri": uri}, "range": area, "context": {"diagnostics": [], **context}}
        return self.ask("textDocument/codeAction", asked) or []

    def leave(self) -> int:
        self.ask("shutdown", None)
        self.tell("exit", None)
        status = self.process.wait(WAIT)
        self.reader.join(WAIT)
        return status


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client(tmp_path)
    yield client
    if client.process.poll() is None:
        assert client.leave() == 0
    client.listener.join(WAIT)
    assert not client.noise
    assert b"Traceback" not in client.heard, client.heard


def place(line: int, start: int, end: int | None = None) -> dict[str, Any]:
    last = start if end is None else end
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": last}}


def edited(text: str, edits: list[dict[str, Any]]) -> str:
    """The text after an editor, which counts in UTF-16, applied the edits."""
    data = text.encode("utf-16-le")
    starts = [0, *(len(text[: found.end()].encode("utf-16-le")) for found in re.finditer(r"\r\n|\r|\n", text))]

    def offset(position: dict[str, int]) -> int:
        return starts[position["line"]] + position["character"] * 2

    for edit in sorted(edits, key=lambda edit: offset(edit["range"]["start"]), reverse=True):
        area = edit["range"]
        data = data[: offset(area["start"])] + edit["newText"].encode("utf-16-le") + data[offset(area["end"]) :]
    return data.decode("utf-16-le")


def cures(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [action for action in actions if action["kind"] == "quickfix" and "Silence" not in action["title"]]


def silencers(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [action for action in actions if "Silence" in action["title"]]


def test_a_session_from_open_to_shutdown(client: Client, tmp_path: Path) -> None:
    uri = (tmp_path / "train.py").as_uri()
    client.open(uri, SICK)
    [found] = client.diagnostics(uri)
    assert found["code"] == "TDX402" and found["source"] == "torchdx"
    assert found["severity"] == 3, "a note is information"
    assert found["range"] == place(3, 20, 38)
    assert found["codeDescription"]["href"].endswith("TDX402-bias-before-batchnorm.md")

    shown = client.ask("textDocument/hover", {"textDocument": {"uri": uri}, "position": {"line": 3, "character": 25}})
    assert shown["range"] == found["range"] and shown["contents"]["kind"] == "markdown"
    assert "## Hurts because" in shown["contents"]["value"]
    nothing = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 0}}
    assert client.ask("textDocument/hover", nothing) is None

    [cure] = cures(client.actions(uri, place(3, 25)))
    assert cure["diagnostics"] == [found]
    assert edited(SICK, cure["edit"]["changes"][uri]) == CURED
    assert client.actions(uri, place(0, 0)) == []

    client.change(uri, 2, CURED)
    assert client.diagnostics(uri, 2) == []
    client.tell("textDocument/didClose", {"textDocument": {"uri": uri}})
    assert client.diagnostics(uri, None) == []
    assert client.leave() == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n", "{}  # torchdx: ok {} - a reason\n"),
        ("net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))  # 😀", "{}  # torchdx: ok {} - a reason"),
        (
            "net = (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), '''\n''')\n",
            "{}  # torchdx: ok {} - a reason\n",
        ),
        (
            "if nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)) or \\\n    None:\n    pass\n",
            "# torchdx: ok {1} - a reason\n{0}\n",
        ),
    ],
    ids=["at the end of the line", "after a comment", "at the end of the statement", "above"],
)
def test_a_silence_is_put_where_it_is_understood(client: Client, tmp_path: Path, before: str, after: str) -> None:
    text = f"from torch import nn\n{before}"
    uri = (tmp_path / "train.py").as_uri()
    client.open(uri, text)
    [found] = client.diagnostics(uri)
    [action] = silencers(client.actions(uri, found["range"]))
    silenced = edited(text, action["edit"]["changes"][uri])
    client.change(uri, 2, silenced)
    assert sorted(each["code"] for each in client.diagnostics(uri, 2)) == ["TDX001", "TDX402"], "a reason is due"
    with_reason = silenced.replace(" - ", " - a reason")
    assert with_reason == "from torch import nn\n" + after.format(before.rstrip("\n"), "bias-before-batchnorm")
    client.change(uri, 3, with_reason)
    assert client.diagnostics(uri, 3) == []


def test_the_project_s_settings_hold_here_too(client: Client, tmp_path: Path) -> None:
    uri = (tmp_path / "train.py").as_uri()
    settings = tmp_path / "pyproject.toml"
    settings.write_text('[tool.torchdx]\nseverity = {TDX402 = "error"}\n')
    client.open(uri, SICK)
    assert [found["severity"] for found in client.diagnostics(uri)] == [1]
    settings.write_text('[tool.torchdx]\nignore = ["TDX402"]\n')
    client.tell("workspace/didChangeWatchedFiles", {"changes": [{"uri": settings.as_uri(), "type": 2}]})
    assert client.diagnostics(uri) == []
    settings.write_text('[tool.torchdx]\nexclude = ["train.py"]\n')
    client.tell("textDocument/didSave", {"textDocument": {"uri": uri}})
    assert client.diagnostics(uri, None) == []
    settings.write_text('[tool.torchdx]\nignore = ["TDX999999"]\n')
    client.tell("textDocument/didSave", {"textDocument": {"uri": uri}})
    told = client.told.get(timeout=WAIT)
    assert told["method"] == "window/showMessage" and "TDX999999" in told["params"]["message"]
    assert [found["severity"] for found in client.diagnostics(uri)] == [3]


def test_a_notebook_is_one_program_of_many_documents(client: Client, tmp_path: Path) -> None:
    uri = (tmp_path / "train.ipynb").as_uri()
    texts = ["# Title", "import torch\nfrom torch import nn\n", "%matplotlib inline\nx = '😀'", SICK.splitlines()[-1]]
    addresses = [f"vscode-notebook-cell:{tmp_path}/train.ipynb#cell{number}" for number in range(4)]
    kinds = [("markdown", 1), ("python", 2), ("python", 2), ("python", 2)]
    cells = [{"kind": kind, "document": address} for address, (_, kind) in zip(addresses, kinds, strict=True)]
    documents = [
        {"uri": address, "languageId": language, "version": 1, "text": text}
        for address, (language, _), text in zip(addresses, kinds, texts, strict=True)
    ]
    notebook = {"uri": uri, "notebookType": "jupyter-notebook", "version": 1, "cells": cells}
    client.tell("notebookDocument/didOpen", {"notebookDocument": notebook, "cellTextDocuments": documents})
    [found] = client.diagnostics(addresses[3])
    assert found["range"] == place(0, 20, 38)
    [cure] = cures(client.actions(addresses[3], place(0, 25)))
    assert edited(texts[3], cure["edit"]["changes"][addresses[3]]) == CURED.splitlines()[-1]
    [silencer] = silencers(client.actions(addresses[3], place(0, 25)))
    assert edited(texts[3], silencer["edit"]["changes"][addresses[3]]).startswith(texts[3] + "  # torchdx: ok")

    change = {"document": {"uri": addresses[3], "version": 2}, "changes": [{"range": place(0, 0), "text": "'😀'; "}]}
    changed = {"notebookDocument": {"uri": uri, "version": 2}, "change": {"cells": {"textContent": [change]}}}
    client.tell("notebookDocument/didChange", changed)
    [found] = client.diagnostics(addresses[3], 2)
    assert found["range"] == place(0, 26, 44)
    closed = {"notebookDocument": {"uri": uri}, "cellTextDocuments": [{"uri": address} for address in addresses]}
    client.tell("notebookDocument/didClose", closed)
    assert client.diagnostics(addresses[3], None) == []


def test_half_a_line_is_no_fault(client: Client, tmp_path: Path) -> None:
    uri = (tmp_path / "train.py").as_uri()
    client.open(uri, SICK)
    assert client.diagnostics(uri)
    client.change(uri, 2, SICK + "net(")
    assert client.diagnostics(uri, 2) == []
    client.change(uri, 3, SICK + "net()")
    assert client.diagnostics(uri, 3)


def test_only_the_last_of_many_keys_is_examined(client: Client, tmp_path: Path) -> None:
    uri = (tmp_path / "train.py").as_uri()
    client.open(uri, CURED)
    assert client.diagnostics(uri) == []
    for version in range(2, 30):
        client.change(uri, version, SICK + "#" * version)
    assert client.told.get(timeout=WAIT)["params"]["version"] == 29


def test_an_answer_is_never_older_than_the_question(client: Client, tmp_path: Path) -> None:
    uri = (tmp_path / "train.py").as_uri()
    client.open(uri, "import torch\n")
    assert client.diagnostics(uri) == []
    client.change(uri, 2, "# a new line\n" + SICK)
    [cure] = cures(client.actions(uri, place(4, 25)))
    assert edited("# a new line\n" + SICK, cure["edit"]["changes"][uri]) == "# a new line\n" + CURED


HARD = {
    "carriage returns": (SICK.replace("\n", "\r\n"), 20),
    "beyond the basic plane": (SICK.replace("net =", "name = '😀🔥é'; net ="), 36),
    "a form feed": (
        SICK.replace("import torch\n", "import torch\f\n\f\n", 1).replace("net =", "x = '\u2028'; net ="),
        29,
    ),
    "tabs": ("if True:\n" + "".join(f"\t{line}\n" for line in SICK.splitlines()), 21),
    "a byte order mark": ("\ufeff" + SICK.replace("\n", ";", 1), 20),
    "another encoding": ("# coding: latin-1\n" + SICK.replace("net =", "x = 'é'; net ="), 29),
}


@pytest.mark.parametrize("name", HARD)
def test_columns_are_the_editor_s(client: Client, tmp_path: Path, name: str) -> None:
    text, column = HARD[name]
    uri = (tmp_path / "train.py").as_uri()
    client.open(uri, text)
    [found] = client.diagnostics(uri)
    assert found["range"]["start"]["character"] == column
    assert found["range"]["end"]["character"] == column + len("nn.Conv2d(3, 8, 3)")
    [cure] = cures(client.actions(uri, found["range"]))
    expected = text.replace("nn.Conv2d(3, 8, 3)", "nn.Conv2d(3, 8, 3, bias=False)")
    assert edited(text, cure["edit"]["changes"][uri]) == expected


def test_other_ways_to_count_can_be_agreed_on(tmp_path: Path) -> None:
    client = Client(tmp_path, {"general": {"positionEncodings": ["utf-8", "utf-16"]}})
    assert client.capabilities["positionEncoding"] == "utf-8"
    uri = (tmp_path / "train.py").as_uri()
    client.open(uri, SICK.replace("net =", "name = '😀'; net ="))
    [found] = client.diagnostics(uri)
    assert found["range"]["start"]["character"] == 20 + len("name = '😀'; ".encode())
    assert client.leave() == 0


def test_unsaved_text_and_files_on_disk_are_one_program(client: Client, tmp_path: Path) -> None:
    """The loss is computed in one file, the softmax is in another."""
    model = "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    model += "        self.fc = nn.Linear(4, 3)\n\n    def forward(self, x):\n        return {}\n"
    train = "from torch.nn.functional import cross_entropy\nfrom model import Net\n\nnet = Net()\n\n\n"
    train += "def loss_of(x, y):\n    return cross_entropy(net(x), y)\n"
    (tmp_path / "model.py").write_text(model.format("self.fc(x)"))
    (tmp_path / "train.py").write_text(train)
    for_model, for_train = ((tmp_path / name).as_uri() for name in ("model.py", "train.py"))
    client.open(for_train, train)
    assert client.diagnostics(for_train) == []
    client.open(for_model, model.format("self.fc(x).softmax(1)"))
    told = {}
    while len(told) < 2:
        message = client.told.get(timeout=WAIT)["params"]
        told[message["uri"]] = message["diagnostics"]
    assert [found["code"] for each in told.values() for found in each] == ["TDX601"]


def test_a_document_outside_every_project(tmp_path: Path) -> None:
    client = Client(tmp_path, MARKED, root=False)
    alone = (tmp_path / "alone.py").as_uri()
    for uri in (alone, "untitled:Untitled-1"):
        client.open(uri, SICK)
        assert [found["code"] for found in client.diagnostics(uri)] == ["TDX402"]
        [cure] = cures(client.actions(uri, place(3, 25)))
        [change] = cure["edit"]["documentChanges"]
        assert change["textDocument"] == {"uri": uri, "version": 1}
        assert edited(SICK, change["edits"]) == CURED
    assert client.leave() == 0


def test_other_languages_are_left_alone(client: Client, tmp_path: Path) -> None:
    other, uri = ((tmp_path / name).as_uri() for name in ("notes.md", "train.py"))
    client.open(other, SICK, language="markdown")
    client.open(uri, SICK)
    assert client.diagnostics(uri)
    assert client.told.empty()
    assert client.actions(other, place(3, 25)) == []


SAFE = """import torch
from torch import nn

net = nn.Linear(4, 3)


def first():
    x = torch.ones(2, 4)
    x.to("cpu")
    return net(x)


def second():
    batch = torch.ones(2, 4)
    batch.to("cpu")
    return net(batch)
"""


def test_everything_safe_is_cured_at_once(client: Client, tmp_path: Path) -> None:
    uri = (tmp_path / "train.py").as_uri()
    client.open(uri, SAFE)
    assert [found["code"] for found in client.diagnostics(uri)] == ["TDX102", "TDX102"]
    asked = [client.actions(uri, place(0, 0), only=[kind]) for kind in ("source", "source.fixAll", "refactor")]
    assert [[action["kind"] for action in each] for each in asked] == [["source.fixAll.torchdx"]] * 2 + [[]]
    cured = edited(SAFE, asked[1][0]["edit"]["changes"][uri])
    assert cured == SAFE.replace("    x.to(", "    x = x.to(").replace("    batch.to(", "    batch = batch.to(")
    client.change(uri, 2, cured)
    assert client.diagnostics(uri, 2) == []


def test_an_editor_that_just_goes_is_no_trouble(tmp_path: Path) -> None:
    client = Client(tmp_path)
    assert client.process.stdin is not None
    client.process.stdin.close()
    client.process.wait(WAIT)
    client.reader.join(WAIT)
    assert not client.noise


def test_without_pygls_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pygls.py").write_text("raise ModuleNotFoundError(\"No module named 'pygls'\", name='pygls')")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "torchdx", "lsp"], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "torchdx: torchdx lsp needs pygls 2; pip install 'torchdx[lsp]' brings it.\n"


def test_a_person_is_told_that_this_is_not_for_them() -> None:
    pty = pytest.importorskip("pty")
    terminal, keyboard = pty.openpty()
    command = [sys.executable, "-m", "torchdx", "lsp"]
    done = subprocess.run(command, stdin=keyboard, capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    for end in (terminal, keyboard):
        os.close(end)


def sheet(*findings: Finding, text: str = SICK, **editor: Any) -> Sheet:
    program = Program.of({"/home/train.py": text, "/home/net.py": SICK})
    options = {
        "units": "utf-16",
        "markdown": True,
        "versioned": False,
        "spot": lambda file, line: Spot(f"x:{file.path}"),
    }
    return Sheet(program.files[0], program, findings, Editor(**options | editor))


def test_what_a_fault_explains_is_told_with_it() -> None:
    there = Finding("it ends flat", Site("/home/net.py", 4, 7, 4, 9), code="TDX301", rule="saturated-activation")
    nowhere = Finding("it is slow", code="TDX202", rule="vanishing-gradient")
    cause = Finding("it is sick", Site("/home/train.py", 4, 1), consequences=(there, nowhere))
    [told] = sheet(cause).diagnostics
    related = told.related_information or []
    assert [each.message for each in related] == [
        "It explains TDX301 saturated-activation: it ends flat",
        "It explains TDX202 vanishing-gradient: it is slow",
    ]
    assert [each.location.uri for each in related] == ["x:/home/net.py", "x:/home/train.py"]
    assert related[0].location.range == types.Range(types.Position(3, 6), types.Position(3, 8))
    assert told.range.end.character == len(SICK.splitlines()[3]), "a site without an end is its line"


@pytest.mark.parametrize(("severity", "level"), [("error", 1), ("warning", 2), ("note", 3)])
def test_severities_are_the_editor_s(severity: Any, level: int) -> None:
    [told] = sheet(Finding("sick", Site("/home/train.py", 4), severity=severity)).diagnostics
    assert told.severity == level


def test_a_long_fault_is_underlined_on_its_first_line() -> None:
    text = "for x in y:  # words\n    pass\n"
    [told] = sheet(Finding("sick", Site("/home/train.py", 1, 1, 2, 9)), text=text).diagnostics
    assert told.range == types.Range(types.Position(0, 0), types.Position(0, 20))


def test_places_beyond_the_end_are_no_trouble() -> None:
    [told] = sheet(Finding("sick", Site("/home/train.py", 99, 7, 99, 12))).diagnostics
    assert told.range.start == types.Position(98, 0)


def test_an_editor_without_markdown_gets_plain_words() -> None:
    found = Finding("sick", Site("/home/train.py", 4, 1, 4, 5), code="TDX402", evidence={"measure": 0.123456})
    hover = sheet(found, markdown=False).hover(types.Position(3, 2))
    assert hover is not None and isinstance(hover.contents, types.MarkupContent)
    assert hover.contents.kind == types.MarkupKind.PlainText
    assert "measure: 0.1235" in hover.contents.value and "##" not in hover.contents.value


def test_fixes_in_each_other_s_way_are_not_applied_together() -> None:
    def fixed(*edits: tuple[int, int, bytes]) -> Finding:
        fix = Fix("mend", tuple(Edit("/home/train.py", *edit) for edit in edits), safe=True)
        return Finding("sick", Site("/home/train.py", 1), fixes=(fix,))

    one, same, across, beside = fixed((0, 6, b"a")), fixed((0, 6, b"a")), fixed((3, 9, b"b")), fixed((6, 7, b"c"))
    unsafe = replace(beside, fixes=(replace(beside.fixes[0], safe=False),))
    whole = types.Range(types.Position(0, 0), types.Position(0, 0))
    [action] = sheet(one, same, across, beside, unsafe).actions(whole, ["source.fixAll.torchdx"])
    assert action.edit is not None and action.edit.changes is not None
    assert [edit.new_text for edit in action.edit.changes["x:/home/train.py"]] == ["a", "c"]
    assert not list(sheet(unsafe).actions(whole, ["source"]))


def test_a_folder_with_too_much_in_it_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "net", "other"):
        (tmp_path / f"{name}.py").write_text("import torch\n" + ("import net\n" if name != "net" else ""))
    train = str(tmp_path / "train.py")

    def names(project: Project) -> list[str]:
        found = project.examined(train, {train: b"import torch\nimport net\n"})
        assert found is not None
        return sorted(Path(file.path).stem for file in found.program.files)

    assert names(Project(tmp_path)) == ["net", "other", "train"], "what uses the same module is of the same program"
    monkeypatch.setattr("torchdx.integrations.lsp.project.MOST_FILES", 2)
    assert names(Project(tmp_path)) == ["net", "train"]


def test_files_on_disk_are_read_again_when_they_change(tmp_path: Path) -> None:
    train, net = (tmp_path / name for name in ("train.py", "net.py"))
    net.write_text("import torch\n")
    project = Project(tmp_path)

    def lines() -> list[int]:
        found = project.examined(str(train), {str(train): b"import torch\nimport net\n"})
        return [len(file.bytes) for file in found.program.files] if found else []

    assert len(lines()) == 2 and lines() == lines()
    net.write_text("import torch  # and more\n")
    assert max(lines()) == 25
    (tmp_path / "late.py").write_text("import torch\nimport train\n")
    assert len(lines()) == 2
    project.look_again()
    assert len(lines()) == 3


@pytest.mark.parametrize("marks", [["pyproject.toml"], [".git"], []])
def test_the_root_of_a_project(tmp_path: Path, marks: list[str]) -> None:
    inner = tmp_path / "project" / "inner"
    inner.mkdir(parents=True)
    for mark in marks:
        (tmp_path / "project" / mark).touch()
    file = str(inner / "train.py")
    assert root_of(file, [tmp_path, inner]) == inner, "the nearest of the editor's"
    assert root_of(file, [tmp_path / "elsewhere"]) == (tmp_path / "project" if marks else None)
    assert root_of("untitled:Untitled-1", [tmp_path]) is None


def test_the_settings_that_the_documentation_gives_can_be_read() -> None:
    page = (Path(__file__).parent.parent / "docs" / "editors.md").read_text(encoding="utf-8")
    in_json = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert in_json[0]["glspc.server.commandArguments"] == ["lsp"]
    assert in_json[1]["editor.codeActionsOnSave"] == {FIX_ALL: "explicit"}
    [for_helix] = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    assert for_helix["language-server"]["torchdx"] == {"command": "torchdx", "args": ["lsp"]}
