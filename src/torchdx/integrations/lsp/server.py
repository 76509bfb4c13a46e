"""The server: keeps what is open, examines it a moment after the last key, and answers questions about it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from torchdx import __version__
from torchdx.finding import Finding, near
from torchdx.integrations.lsp.apart import apart
from torchdx.integrations.lsp.documents import Opened, opened, path_in, path_of, spot_on_disk, watch_lines
from torchdx.integrations.lsp.messages import FIX_ALL, Editor, Sheet, Spot
from torchdx.integrations.lsp.project import Examined, Project, root_of
from torchdx.source import SourceFile

PAUSE = 0.3
"""Seconds without a key before what was typed is examined."""
PATIENCE = 60.0
"""Seconds after which an examination is not waited for any longer."""


Versions = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Told:
    """What the editor was last told of a document, and of which versions of the file that it is, or is a cell of."""

    versions: Versions
    sheet: Sheet


class Server(LanguageServer):
    """A language server that shows what `torchdx check` would say."""

    def __init__(self) -> None:
        every_notebook = types.NotebookDocumentFilterWithNotebook(notebook="jupyter-notebook")
        super().__init__(
            "torchdx",
            __version__,
            text_document_sync_kind=types.TextDocumentSyncKind.Full,
            notebook_document_sync=types.NotebookDocumentSyncOptions([every_notebook], save=True),
        )
        self.projects: dict[Path | None, Project] = {}
        self.told: dict[str, Told] = {}
        self.waiting: dict[str, asyncio.Task[None]] = {}
        self.one_at_a_time = asyncio.Lock()
        self.working: asyncio.Future[Examined | None] | None = None
        self.complained = ""

    # What is open

    def folders(self) -> list[Path]:
        """The folders that the editor works in."""
        paths = [to_fs_path(folder.uri) for folder in self.workspace.folders.values()] or [self.workspace.root_path]
        return [Path(path) for path in paths if path]

    def project_of(self, path: str) -> Project:
        """The project that the file at this path is part of."""
        root = root_of(path, self.folders())
        return self.projects.setdefault(root, Project(root))

    def editor(self, open_ones: Mapping[str, Opened]) -> Editor:
        """What is to be known of the editor."""
        text, workspace = self.client_capabilities.text_document, self.client_capabilities.workspace
        formats = text.hover.content_format if text and text.hover else None
        edits = workspace.workspace_edit if workspace else None

        def spot(file: SourceFile, line: int) -> Spot:
            found = open_ones.get(file.path)
            return found.spot(file, line) if found else spot_on_disk(file)

        encoding = self.workspace.position_encoding
        return Editor(
            units=str(getattr(encoding, "value", encoding)),
            markdown=formats is None or types.MarkupKind.Markdown in formats,
            versioned=bool(edits and edits.document_changes),
            spot=spot,
        )

    # Examined

    def examine_soon(self, uri: str, pause: float, *, anew: bool = False) -> None:
        """Examine the file of a document once nothing has changed in it for a while; `anew`, though it is known."""
        path = path_in(self.workspace, uri)
        self.stop_waiting(path)

        async def after_a_while() -> None:
            await asyncio.sleep(pause)
            self.waiting.pop(path, None)
            try:
                await self.examine(path, anew=anew)
            except Exception as error:  # nobody waits for this task, so nobody else would hear of it
                self.log(f"the examination of {near(path)} failed: {type(error).__name__}: {error}")

        self.waiting[path] = asyncio.create_task(after_a_while())

    def stop_waiting(self, path: str) -> None:
        """Forget that a file was to be examined."""
        task = self.waiting.pop(path, None)
        if task is not None:
            task.cancel()

    async def examine(self, path: str, *, anew: bool = False) -> None:
        """Examine the program that a file is part of, and tell of everything in it that is open."""
        async with self.one_at_a_time:
            open_ones = opened(self.workspace)
            if path not in open_ones or (self._knows(open_ones[path]) and not anew):
                return  # closed; or told of meanwhile, with another file of its program
            if self.working is not None and not self.working.done():
                return  # it was given up on, and a second one would only be in its way
            unsaved = {name: each.data for name, each in open_ones.items()}
            self.working = apart(partial(self.project_of(path).examined, path, unsaved))
            done, _ = await asyncio.wait([self.working], timeout=PATIENCE)
            if not done:
                self.log(f"the examination of {near(path)} has not ended after {PATIENCE:.0f} s")
                return
            examined = self.working.result()
        if examined is not None:
            self._tell(examined, {name: each.versions for name, each in open_ones.items()})
        else:
            self.forget(*(document.uri for document in open_ones[path].documents))

    def _knows(self, file: Opened) -> bool:
        """Was the editor told of the file as it is now?"""
        told = (self.told.get(document.uri) for document in file.documents)
        return all(each is not None and each.versions == file.versions for each in told)

    def _tell(self, examined: Examined, versions: Mapping[str, Versions]) -> None:
        self._complain(examined.complaint)
        open_ones = opened(self.workspace)
        editor = self.editor(open_ones)
        for file in examined.program.files:
            now = open_ones.get(file.path)
            if now is None or now.versions != versions.get(file.path):
                continue  # closed, or typed in meanwhile: it will be examined again
            by_document = _by_document(file, examined, editor)
            for document in now.documents:
                sheet = Sheet(file, examined.program, tuple(by_document.get(document.uri, ())), editor)
                self.told[document.uri] = Told(now.versions, sheet)
                self.text_document_publish_diagnostics(
                    types.PublishDiagnosticsParams(document.uri, sheet.diagnostics, document.version)
                )

    def log(self, words: str) -> None:
        """Tell the editor's log of a failure."""
        self.window_log_message(types.LogMessageParams(types.MessageType.Error, f"torchdx: {words}"))

    def _complain(self, words: str) -> None:
        """Show what is wrong with the project's settings, once."""
        if words and words != self.complained:
            self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, f"torchdx: {words}"))
        self.complained = words

    async def sheet(self, uri: str) -> Sheet | None:
        """What is known of a document as it is now; where that is of an older version, it is examined first."""
        path = path_in(self.workspace, uri)
        now = opened(self.workspace).get(path)
        if now is None:
            return None
        if not self._knows(now):
            self.stop_waiting(path)
            await self.examine(path)
        told, open_ones = self.told.get(uri), opened(self.workspace)
        if told is None or path not in open_ones or told.versions != open_ones[path].versions:
            return None
        return replace(told.sheet, editor=self.editor(open_ones))

    def forget(self, *uris: str) -> None:
        """Nothing is to be said of these documents any more."""
        for uri in uris:
            self.stop_waiting(path_of(uri))
            self.told.pop(uri, None)
            self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, []))


def _by_document(file: SourceFile, examined: Examined, editor: Editor) -> dict[str, list[Finding]]:
    """The findings in a file by the document that they stand in; none where it does not parse."""
    found: dict[str, list[Finding]] = {}
    if file.tree.body and file.problem is None:  # a problem is known once the tree was asked for
        for finding in examined.diagnosis.all_findings():
            if finding.site is not None and finding.site.path == file.path:
                found.setdefault(editor.spot(file, finding.site.line).address, []).append(finding)
    return found


def made() -> Server:
    """A server that hears of changes and knows its answers."""
    server = Server()

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        watch_lines(server.workspace)

    _follow_documents(server)
    _follow_notebooks(server)
    _follow_the_disk(server)
    _answer(server)
    return server


def _follow_documents(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def did_open(params: types.DidOpenTextDocumentParams) -> None:
        server.project_of(path_in(server.workspace, params.text_document.uri)).look_again()
        server.examine_soon(params.text_document.uri, 0)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def did_change(params: types.DidChangeTextDocumentParams) -> None:
        server.examine_soon(params.text_document.uri, PAUSE)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def did_save(params: types.DidSaveTextDocumentParams) -> None:
        server.project_of(path_in(server.workspace, params.text_document.uri)).look_again()
        server.examine_soon(params.text_document.uri, 0, anew=True)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.forget(params.text_document.uri)


def _follow_notebooks(server: Server) -> None:
    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    async def did_open(params: types.DidOpenNotebookDocumentParams) -> None:
        server.project_of(path_of(params.notebook_document.uri)).look_again()
        server.examine_soon(params.notebook_document.uri, 0)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    async def did_change(params: types.DidChangeNotebookDocumentParams) -> None:
        cells = params.change.cells
        closed = cells.structure.did_close or [] if cells and cells.structure else []
        server.forget(*(document.uri for document in closed))
        server.examine_soon(params.notebook_document.uri, PAUSE)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_SAVE)
    async def did_save(params: types.DidSaveNotebookDocumentParams) -> None:
        server.project_of(path_of(params.notebook_document.uri)).look_again()
        server.examine_soon(params.notebook_document.uri, 0, anew=True)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseNotebookDocumentParams) -> None:
        server.stop_waiting(path_of(params.notebook_document.uri))
        server.forget(*(document.uri for document in params.cell_text_documents))


def _follow_the_disk(server: Server) -> None:
    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    async def did_change(params: types.DidChangeWatchedFilesParams) -> None:
        for project in server.projects.values():
            project.look_again()
        for each in opened(server.workspace).values():
            server.examine_soon(each.documents[0].uri, PAUSE, anew=True)

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def did_change_configuration(params: Any) -> None:
        """Settings are read from pyproject.toml, so that all tools agree; the editor has none."""


def _answer(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def hover(params: types.HoverParams) -> types.Hover | None:
        sheet = await server.sheet(params.text_document.uri)
        return sheet.hover(params.position) if sheet else None

    kinds = [types.CodeActionKind.QuickFix, FIX_ALL]

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=kinds))
    async def code_actions(params: types.CodeActionParams) -> list[types.CodeAction]:
        sheet = await server.sheet(params.text_document.uri)
        return list(sheet.actions(params.range, params.context.only)) if sheet else []


def serve() -> int:
    """Serve one editor on stdin and stdout until it leaves; 0 if it said so before, as the protocol wants it."""
    server = made()
    wire = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed must not get between the messages
    server.start_io(sys.stdin.buffer, wire)
    return 0 if server.protocol._shutdown else 1
