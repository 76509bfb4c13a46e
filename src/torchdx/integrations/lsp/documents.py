"""What an editor has open: files, and notebooks whose every cell is a document of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.uris import to_fs_path
from pygls.workspace import TextDocument, Workspace

from torchdx.integrations.lsp.messages import Spot
from torchdx.integrations.lsp.positions import as_bytes
from torchdx.source import SourceFile
from torchdx.source.notebook import Notebook

LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


class Document(TextDocument):
    """A document whose lines end where the protocol says, and not also at form feeds and the like."""

    @property
    def lines(self) -> Sequence[str]:
        """The lines with their ends."""
        return tuple(LINE.findall(self.source))


def watch_lines(workspace: Workspace) -> None:
    """Let a workspace keep what is opened from now on as `Document`s, which take changes of a part, too."""

    def document(
        doc_uri: str, source: str | None = None, version: int | None = None, language_id: str | None = None
    ) -> TextDocument:
        kind, codec = types.TextDocumentSyncKind.Incremental, workspace.position_codec
        return Document(doc_uri, source, version, language_id, sync_kind=kind, position_codec=codec)

    workspace._create_text_document = document  # type: ignore[method-assign]


@dataclass(frozen=True)
class Opened:
    """An open file: its bytes as they would be on disk, and the documents that it is edited in."""

    data: bytes
    documents: tuple[TextDocument, ...]

    @property
    def versions(self) -> tuple[tuple[str, int | None], ...]:
        """What changes whenever anything in it is changed."""
        return tuple((document.uri, document.version) for document in self.documents)

    def spot(self, file: SourceFile, line: int) -> Spot:
        """The document that a line of the file is in."""
        document, first = self.documents[0], 1
        if isinstance(file, Notebook):
            part = next((part for part in reversed(file.parts) if part.line <= line), None)
            if part is not None and part.number <= len(self.documents):
                document, first = self.documents[part.number - 1], part.line
        return Spot(document.uri, document.version, first)


def opened(workspace: Workspace) -> dict[str, Opened]:
    """Everything open that is Python, by path, or by address where it is in no file yet."""
    notebooks = workspace.notebook_documents.values()
    found = {path_of(each.uri): _notebook(workspace, each) for each in notebooks if each.cells}
    cells = {document.uri for each in found.values() for document in each.documents}
    for document in workspace.text_documents.values():
        if document.uri not in cells and (document.language_id or "python") == "python":
            found[path_of(document.uri)] = Opened(as_bytes(document.source), (document,))
    return found


def _notebook(workspace: Workspace, notebook: types.NotebookDocument) -> Opened:
    """A notebook as it would be on disk, but for what cells have given out."""
    documents = [workspace.get_text_document(cell.document) for cell in notebook.cells]
    cells: list[dict[str, Any]] = [
        {"cell_type": "code" if _is_code(cell, document) else "markdown", "metadata": {}, "source": document.source}
        for cell, document in zip(notebook.cells, documents, strict=True)
    ]
    data = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()
    return Opened(data, tuple(documents))


def _is_code(cell: types.NotebookCell, document: TextDocument) -> bool:
    return cell.kind == types.NotebookCellKind.Code and (document.language_id or "python") == "python"


def path_of(uri: str) -> str:
    """The path of a document; its address where it is in no file yet."""
    return to_fs_path(uri) or uri


def path_in(workspace: Workspace, uri: str) -> str:
    """The path of the file that a document is, or is a cell of."""
    notebook = workspace.get_notebook_document(cell_uri=uri)
    return path_of(notebook.uri if notebook is not None else uri)


def spot_on_disk(file: SourceFile) -> Spot:
    """The whole of a file that is not open."""
    return Spot(Path(file.path).as_uri())
