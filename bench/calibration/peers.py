"""The same programs under the peers: which of them name the true cause, and which cry wolf on the healthy ones.

Needs an environment with torch, scikit-learn and the peers in it (`--python`); the programs are those of the last
unseen part, as `run.py` left them. What a peer says names the cause if it matches the words of
`CAUSES` for one of the rules that count as the truth; the words are kept wide, in the peers' favour. Answers are kept
beside the programs, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from matrix import PARTS  # noqa: E402
from publish import publish  # noqa: E402

PEERS = ("torch-audit", "training-doctor", "trainpulse", "torchmortem")
STYLE = re.compile(r"^TA2\d\d ")
"""torch-audit's hints on speed, which are no alarms."""

ALARMS = ("WARN", "WARNING", "ERROR", "FATAL", "CRITICAL")

NORMS = r"batch ?norm|running (stat|mean|var)"
CAUSES: Mapping[str, str] = {
    "learning-rate-too-high": r"learning rate.*(high|large|excessive)|update.*(ratio|large|high)|diverg|explo",
    "learning-rate-too-low": r"learning rate.*(low|small)|update.*(small|low|tiny)|barely|stagnat|plateau",
    "gradients-not-cleared": r"zero_grad|accumulat|explo",
    "exploding-gradient": r"explo|very large",
    "vanishing-gradient": r"vanish|barely learning|very small|gradient.*(tiny|zero)",
    "saturated-activation": r"saturat",
    "dead-relu": r"dead|inactive",
    "nonfinite-value": r"\bnan\b|\binf\b|non-?finite",
    "logarithm-of-unguarded-probability": r"\bnan\b|\binf\b|non-?finite",
    "half-precision-underflow": r"underflow|half|fp16|float16",
    "overfitting": r"overfit|generali[sz]",
    "parameter-not-optimised": r"(not|missing).*optimi[sz]er|unused|zombie|not updated|unchanged",
    "parameter-never-reached": r"no grad|missing grad|unused|zombie|none grad|disconnected",
    "optimizer-of-other-parameters": r"no grad|unused|zombie|not updated|unchanged|not.*optimi[sz]er",
    "graph-cut": r"no grad|missing grad|detach|disconnected|unused|zombie",
    "unscaled-input": r"scale|normali[sz]|range|input",
    "double-scaling": r"scale|normali[sz]|range|input",
    "unshuffled-batches": r"shuffl|order",
    "unshuffled-training-data": r"shuffl|order",
    "symmetric-initialisation": r"symmetr|identical|initiali[sz]|rank collapse",
    "initial-loss-off-scale": r"initiali[sz]|initial loss",
    "clipped-nearly-always": r"clip",
    "gradients-clipped-to-nothing": r"clip",
    "one-class-predictions": r"collaps|one class|single class",
    "posterior-collapse": r"posterior|collaps",
    "penalty-drowns-loss": r"penalt|regulari[sz]",
    "eval-mode-missing": r"eval|dropout|train(ing)? mode",
    "training-mode-not-restored": r"eval|train(ing)? mode",
    "dropout-always-on": r"dropout",
    "batchnorm-momentum-misread": NORMS,
    "batchnorm-on-tiny-batches": rf"{NORMS}|batch size",
    "scheduler-at-wrong-cadence": r"schedul|learning rate.*(low|small|drop)",
    "schedule-of-other-length": r"schedul|learning rate.*(low|small|drop)",
    "forget-gate-shut": r"forget|vanish",
    "softmax-before-cross-entropy": r"softmax",
    "broadcast-loss": r"broadcast|shape",
}
"""For a rule's name, the words by which a peer may name the same cause; for rules not listed, their own words."""


def names(words: str, causes: Sequence[str]) -> bool:
    """Do these words name one of the causes?"""
    patterns = (CAUSES.get(cause, cause.replace("-", ".?")) for cause in causes)
    return any(re.search(pattern, words, re.IGNORECASE) for pattern in patterns)


class Attached:
    """A process that runs program after program with one peer attached."""

    def __init__(self, python: str, peer: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [python, str(HERE / "attached.py"), peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        self.folder, self.peer = folder, peer

    def told(self, script: Path) -> dict[str, Any]:
        """What the peer said of a program; that it broke, if it or the program did."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        out = self.folder / f"{self.peer}-{script.stem}.json"
        if out.exists():
            kept: dict[str, Any] = json.loads(out.read_text())
            return kept
        self.process.stdin.write(json.dumps({"script": str(script), "out": str(out)}) + "\n")
        self.process.stdin.flush()
        status = self.process.stdout.readline().strip()
        told: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"said": [], "broken": "no answer"}
        out.write_text(json.dumps({**told, "status": status}))
        return {**told, "status": status}


@dataclass(frozen=True)
class Answer:
    """What one tool said of one program: was it an alarm, did it name the cause, in order, and did the tool break."""

    alarmed: bool
    right: Sequence[bool]
    broken: bool = False


def of_peer(program: Mapping[str, Any], told: Mapping[str, Any]) -> Answer:
    """A peer's answer, its hints on style left out."""
    said = [(severity, words) for severity, words in told["said"] if not STYLE.match(words)]
    alarmed = any(severity.upper() in ALARMS for severity, _ in said)
    broken = bool(told["broken"]) or (program["status"] == 0 and told["status"] != "0")
    return Answer(alarmed, [names(words, program["truth"]) for _, words in said], broken)


def of_ours(program: Mapping[str, Any]) -> Answer:
    """Our own, as it was read into `readings.json`."""
    found = program["findings"]
    alarmed = any(finding["severity"] != "note" for finding in found)
    return Answer(alarmed, [finding["rule"] in program["truth"] for finding in found])


def counted(programs: Sequence[Mapping[str, Any]], answers: Sequence[Answer]) -> dict[str, int]:
    """How many causes a tool names at all and first, how many sick programs it notices, and how often it cries wolf."""
    counts = dict.fromkeys(("sick", "first", "first three", "named", "noticed", "healthy", "alarms", "broken"), 0)
    for program, answer in zip(programs, answers, strict=True):
        counts["broken"] += answer.broken
        if program["kind"] is None:
            counts["healthy"] += 1
            counts["alarms"] += answer.alarmed
            continue
        counts["sick"] += 1
        counts["first"] += any(answer.right[:1])
        counts["first three"] += any(answer.right[:3])
        counts["named"] += any(answer.right)
        counts["noticed"] += answer.alarmed
    return counts


def row(name: str, counts: Mapping[str, int]) -> list[str]:
    """One tool as a line of the table."""
    sick, healthy = counts["sick"], counts["healthy"]
    shares = [f"{counts[what]} ({counts[what] / sick:.0%})" for what in ("first", "first three", "named", "noticed")]
    return [name, *shares, f"{counts['alarms']} of {healthy} ({counts['alarms'] / healthy:.0%})", str(counts["broken"])]


def main() -> None:
    """Run every peer, two at a time, and publish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--python", required=True, help="the python of an environment with the peers in it")
    parser.add_argument("--programs", type=Path, default=HERE.parents[1] / "build" / "calibration" / "programs")
    parser.add_argument("--peers", nargs="*", default=PEERS)
    options = parser.parse_args()
    everything = json.loads((HERE / "readings.json").read_text())["programs"]
    programs = [one for one in everything if one["part"] == PARTS[-1]]
    scripts = {one["program"]: options.programs / one["script"] for one in programs}

    folder = options.programs.parent / "peers"
    folder.mkdir(exist_ok=True)

    def asked(peer: str) -> dict[str, dict[str, Any]]:
        attached = Attached(options.python, peer, folder)
        return {name: attached.told(script) for name, script in scripts.items()}

    with ThreadPoolExecutor(2) as pool:
        told = dict(zip(options.peers, pool.map(asked, options.peers), strict=True))
    counts = {"torchdx": counted(programs, [of_ours(one) for one in programs])}
    for peer in options.peers:
        counts[peer] = counted(programs, [of_peer(one, told[peer][one["program"]]) for one in programs])
    sick = counts["torchdx"]["sick"]
    header = [f"{sick} sick programs", "cause first", "in first three", "named", "noticed", "healthy: alarm", "broke"]
    publish("peers", {"counts": counts, "told": told}, header, [row(name, one) for name, one in counts.items()])


if __name__ == "__main__":
    main()
