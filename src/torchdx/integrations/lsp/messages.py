"""Findings in the protocol's words: diagnostics, hover texts, and code actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from lsprotocol import types

from torchdx.finding import Edit, Finding, Fix, Severity, Site
from torchdx.integrations.lsp.positions import Places, overlap
from torchdx.integrations.lsp.silencing import silencing
from torchdx.pages import file_name, markdown, page, plain
from torchdx.rules import find_rule
from torchdx.source import Program, SourceFile
from torchdx.source.notebook import Notebook

SEVERITIES: dict[Severity, types.DiagnosticSeverity] = {
    "error": types.DiagnosticSeverity.Error,
    "warning": types.DiagnosticSeverity.Warning,
    "note": types.DiagnosticSeverity.Information,
}
FIX_ALL = "source.fixAll.torchdx"
NO_RANGE = types.Range(types.Position(0, 0), types.Position(0, 0))


@dataclass(frozen=True)
class Spot:
    """The editor's document that a line of a file is in: its address, its version, and its first line in the file."""

    address: str
    version: int | None = None
    first: int = 1


@dataclass(frozen=True)
class Editor:
    """What is to be known of the editor: how it counts, what it can show, and where it has which line of a file."""

    units: str
    markdown: bool
    versioned: bool
    spot: Callable[[SourceFile, int], Spot]


@dataclass(frozen=True)
class Sheet:
    """One open document, a file or a cell of one, with what was found in it."""

    file: SourceFile
    program: Program
    findings: tuple[Finding, ...]
    editor: Editor

    @cached_property
    def diagnostics(self) -> tuple[types.Diagnostic, ...]:
        """What the editor is to underline, one for each finding; nothing where the file does not parse."""
        return tuple(self._diagnostic(finding) for finding in self.findings)

    # Underlined

    def _diagnostic(self, finding: Finding) -> types.Diagnostic:
        address = page_address(finding.code)
        return types.Diagnostic(
            range=self._range(finding.site),
            message=finding.message + (f"\n{finding.cure}" if finding.cure else ""),
            severity=SEVERITIES[finding.severity or "warning"],
            code=finding.code or None,
            code_description=types.CodeDescription(address) if address else None,
            source="torchdx",
            related_information=[*self._related(finding)] or None,
        )

    def _related(self, finding: Finding) -> Iterator[types.DiagnosticRelatedInformation]:
        for consequence in finding.family_tree():
            if consequence is not finding:
                site = consequence.site or finding.site
                file = self._file(site.path) if site is not None else None
                if site is not None and file is not None:
                    spot = self.editor.spot(file, site.line)
                    place = types.Location(spot.address, Places(file, self.editor.units, spot.first).of(site))
                    words = f"It explains {consequence.code} {consequence.rule}: {consequence.message}"
                    yield types.DiagnosticRelatedInformation(place, words)

    def _range(self, site: Site | None) -> types.Range:
        if site is None:
            return NO_RANGE
        return Places(self.file, self.editor.units, self.editor.spot(self.file, site.line).first).of(site)

    def _file(self, path: str) -> SourceFile | None:
        return self.file if path == self.file.path else self.program.file(path)

    # Hovered over

    def hover(self, place: types.Position) -> types.Hover | None:
        """The pages of the rules whose findings are at this place."""
        here = types.Range(place, place)
        at = [(f, d.range) for f, d in zip(self.findings, self.diagnostics, strict=True) if overlap(d.range, here)]
        if not at:
            return None
        kind = types.MarkupKind.Markdown if self.editor.markdown else types.MarkupKind.PlainText
        ruler = "\n\n---\n\n" if self.editor.markdown else "\n\n"
        told = ruler.join(self._told(finding) for finding, _ in at)
        return types.Hover(types.MarkupContent(kind, told), at[0][1])

    def _told(self, finding: Finding) -> str:
        rule = find_rule(finding.code)
        words = [finding.message, *(f"{name}: {_short(value)}" for name, value in finding.evidence.items())]
        words += [finding.cure] if finding.cure else []
        if rule is not None:
            words.append(markdown(page(rule)) if self.editor.markdown else plain(page(rule)))
        return "\n\n".join(words)

    # Offered

    def actions(
        self, area: types.Range, only: Sequence[types.CodeActionKind | str] | None
    ) -> Iterator[types.CodeAction]:
        """What can be done about the findings in a range, and about all in the file that can be cured unseen."""
        if _asked(types.CodeActionKind.QuickFix, only):
            for finding, diagnostic in zip(self.findings, self.diagnostics, strict=True):
                if overlap(diagnostic.range, area):
                    yield from self._cures(finding, diagnostic)
                    yield from self._silence(finding, diagnostic)
        safe = list(self._safe_edits()) if _asked(FIX_ALL, only) else []
        if safe:
            yield types.CodeAction(
                title="torchdx: apply all safe fixes",
                kind=FIX_ALL,
                edit=self._changes(safe),
            )

    def _cures(self, finding: Finding, diagnostic: types.Diagnostic) -> Iterator[types.CodeAction]:
        for number, fix in enumerate(fix for fix in finding.fixes if self._fits(fix)):
            yield types.CodeAction(
                title=f"{fix.title.rstrip('.')} ({finding.rule})",
                kind=types.CodeActionKind.QuickFix,
                diagnostics=[diagnostic],
                is_preferred=True if number == 0 and fix.safe else None,
                edit=self._changes(fix.edits),
            )

    def _fits(self, fix: Fix) -> bool:
        return bool(fix.edits) and all(self._file(edit.path) is not None for edit in fix.edits)

    def _safe_edits(self) -> Iterator[Edit]:
        """The edits of one safe fix of every finding, those left out that would touch what another touches."""
        taken: list[Edit] = []
        for finding in self.findings:
            fix = next((fix for fix in finding.fixes if fix.safe and self._fits(fix)), None)
            if fix is not None and not any(_clash(edit, other) for edit in fix.edits for other in taken):
                taken += [edit for edit in fix.edits if edit not in taken]
        return iter(taken)

    def _silence(self, finding: Finding, diagnostic: types.Diagnostic) -> Iterator[types.CodeAction]:
        rule = find_rule(finding.code)
        if finding.site is None or rule is None:
            return
        spot = self.editor.spot(self.file, finding.site.line)
        document = _document(self.file, spot.first)
        edit = silencing(document, finding.site.line - spot.first + 1, finding.rule)
        if edit is not None:
            told = Places(document, self.editor.units).of_edit(edit)
            yield types.CodeAction(
                title=f"Silence {finding.rule} here, for a reason yet to be written",
                kind=types.CodeActionKind.QuickFix,
                diagnostics=[diagnostic],
                edit=self._edit({spot: [told]}),
            )

    def _changes(self, edits: Iterable[Edit]) -> types.WorkspaceEdit:
        changes: dict[Spot, list[types.TextEdit]] = {}
        for edit in edits:
            file = self._file(edit.path)
            assert file is not None
            spot = self.editor.spot(file, Places(file).line_of(edit.start))
            changes.setdefault(spot, []).append(Places(file, self.editor.units, spot.first).of_edit(edit))
        return self._edit(changes)

    def _edit(self, changes: Mapping[Spot, list[types.TextEdit]]) -> types.WorkspaceEdit:
        if not self.editor.versioned:
            return types.WorkspaceEdit(changes={spot.address: told for spot, told in changes.items()})
        return types.WorkspaceEdit(
            document_changes=[
                types.TextDocumentEdit(types.OptionalVersionedTextDocumentIdentifier(spot.address, spot.version), told)
                for spot, told in changes.items()
            ]
        )


def _document(file: SourceFile, first: int) -> SourceFile:
    """The document that begins with this line of a file: a cell of a notebook, or else the file itself."""
    parts = file.parts if isinstance(file, Notebook) else ()
    part = next((part for part in parts if part.line == first), None)
    return SourceFile(file.path, part.code.encode("utf-8", "replace")) if part is not None else file


def _clash(edit: Edit, other: Edit) -> bool:
    if edit == other or edit.path != other.path:
        return False
    return edit.start == other.start or (edit.start < other.end and other.start < edit.end)


def _asked(kind: str, only: Sequence[str] | None) -> bool:
    """Does the editor want actions of this kind? It names kinds by their beginnings: `source` is any `source.*`."""
    return only is None or any(not want or kind == want or kind.startswith(f"{want}.") for want in map(_word, only))


def _word(kind: types.CodeActionKind | str) -> str:
    return kind.value if isinstance(kind, types.CodeActionKind) else kind


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@cache
def page_address(code: str) -> str | None:
    """Where a rule's page can be read: under this package's documentation, or in the folder it is developed in."""
    rule = find_rule(code)
    if rule is None:
        return None
    name = file_name(page(rule))
    try:
        addresses = metadata("torchdx").get_all("Project-URL") or []
    except PackageNotFoundError:
        addresses = []
    for label, _, address in (line.partition(",") for line in addresses):
        if label.strip().lower() == "documentation":
            return f"{address.strip().rstrip('/')}/rules/{name}"
    beside = Path(__file__).parents[4] / "docs" / "rules" / name
    return beside.as_uri() if beside.is_file() else None
