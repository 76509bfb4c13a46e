"""The deep look: what its experiments find on small programs, sick and healthy, and that training never feels it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from patients import quickly_recorded
from torchdx.exam import examine
from torchdx.launch import launch
from torchdx.record import Record
from torchdx.watch.deep.curvature import CannotMeasure, difference_product, ends_of, flat_gradient, hessian_product
from torchdx.watch.deep.episode import CannotKeep, copied
from torchdx.watch.deep.route import number_of, route
from torchdx.watch.deep.specimen import apart, duplicate

IDENTICAL = Path(__file__).parent / "identical" / "train.py"

HEAD = """
    import torch, torch.nn.functional as F
    from torch import nn
    torch.manual_seed(0)
    x, y = torch.randn(256, 12), torch.randint(0, 3, (256,))
    x[torch.arange(256), y] += 3
    net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3))
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    def step(loss):
        opt.zero_grad(); loss.backward(); opt.step()
"""


def deep(folder: Path, program: str) -> Record:
    """The record of the program, run with the deep look."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(HEAD) + textwrap.dedent(program))
    record = quickly_recorded(script, folder / "record", deep=True)
    assert not record.process.all("disarmed"), record.process.all("disarmed")
    return record


def why_not(folder: Path, program: str) -> str:
    """Why nothing could be computed again."""
    return str(deep(folder, program).process.last("replay")["why"])


# --- curvature, against the whole Hessian


def tiny() -> tuple[list[Callable[[], Tensor]], list[nn.Parameter]]:
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    x = torch.randn(20, 3, generator=generator)
    y = torch.randint(0, 2, (20,), generator=generator)
    losses = [lambda k=k: nn.functional.cross_entropy(net(x[k : k + 10]), y[k : k + 10]) for k in (0, 10)]
    return losses, [*net.parameters()]


def whole_hessian(losses: list[Callable[[], Tensor]], parameters: list[nn.Parameter]) -> Tensor:
    gradient = sum((flat_gradient(loss(), parameters, again=True) for loss in losses), torch.zeros(()))
    rows = [torch.autograd.grad(g / len(losses), parameters, retain_graph=True) for g in gradient]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])


@pytest.mark.parametrize("how", [hessian_product, difference_product])
def test_products_and_ends_are_those_of_the_whole_hessian(how: Callable[..., Callable[[Tensor], Tensor]]) -> None:
    losses, parameters = tiny()
    whole = whole_hessian(losses, parameters)
    product = how(losses, parameters)
    vector = torch.randn(len(whole), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(product(vector), whole @ vector, atol=2e-2)
    values = torch.linalg.eigvalsh(whole)
    ends = ends_of(product, vector, lambda: True)
    assert ends.greatest == pytest.approx(float(values[-1]), abs=0.03 * float(values[-1]))
    assert ends.least == pytest.approx(float(values[0]), abs=0.03 * float(values[-1]))


SPECTRA = {
    "a saddle": torch.cat([torch.tensor([-3.0, -1.0, 9.0, 20.0]), torch.linspace(0, 0.1, 60)]),
    "a plateau": torch.cat([torch.zeros(60), torch.tensor([5.0])]),
    "a ridge": torch.cat([torch.tensor([-5.0, 5.0]), torch.zeros(60)]),
    "nothing": torch.zeros(60),
    "a bowl": torch.full((60,), 2.0),
    "few parameters": torch.tensor([-1.0, 0.0, 2.0]),
}


@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
def test_both_ends_of_a_spectrum_are_found(values: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    count = len(values)
    basis = torch.linalg.qr(torch.randn(count, count, generator=generator))[0]
    matrix = basis @ torch.diag(values) @ basis.T
    ends = ends_of(lambda v: matrix @ v, torch.randn(count, generator=generator), lambda: True)
    extent = float(values.abs().max())
    assert abs(ends.greatest - float(values.max())) <= ends.greatest_error + 1e-4 * extent
    assert abs(ends.least - float(values.min())) <= ends.least_error + 1e-4 * extent
    assert max(ends.greatest_error, ends.least_error) <= 0.03 * extent


def test_without_scipy_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(CannotMeasure, match="torchdx\\[deep\\]"):
        ends_of(lambda v: v, torch.ones(100), lambda: True)


def test_curvature_gives_up_when_time_is_over() -> None:
    with pytest.raises(CannotMeasure, match="in time"):
        ends_of(lambda v: v, torch.ones(100), lambda: False)


# --- the noise of batches, against every single sample's gradient


def test_the_noise_scale_is_that_of_single_samples(tmp_path: Path) -> None:
    script, answer = tmp_path / "program.py", tmp_path / "answer.json"
    script.write_text(
        textwrap.dedent(f"""
        import json, pathlib, torch
        from sklearn.datasets import load_digits
        from torch import nn
        torch.manual_seed(0)
        digits = load_digits()
        inputs, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
        net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        opt = torch.optim.SGD(net.parameters(), lr=0.0)
        rows = []
        for image, label in zip(inputs, labels):
            loss = nn.functional.cross_entropy(net(image[None]), label[None])
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*net.parameters()])]))
        rows = torch.stack(rows)
        told = [rows.mean(0).square().sum().item(), rows.var(0).sum().item()]
        pathlib.Path({str(answer)!r}).write_text(json.dumps(told))
        for _ in range(40):
            at = torch.randint(len(inputs), (64,))
            opt.zero_grad(); nn.functional.cross_entropy(net(inputs[at]), labels[at]).backward(); opt.step()
        """)
    )
    record = quickly_recorded(script, tmp_path / "record", deep=True, always=True)
    square, trace = json.loads(answer.read_text())
    noise = record.experiments.noise("final")
    assert noise is not None
    assert noise.samples == 64
    assert abs(noise.square - square) < 3 * noise.square_error + 0.02 * square
    assert abs(noise.trace - trace) < 3 * noise.trace_error + 0.02 * trace
    assert noise.scale == pytest.approx(trace / square, rel=0.3)


# --- the way from output to loss, and copies


def test_the_way_is_gone_again() -> None:
    output = torch.randn(4, 6, 5, requires_grad=True) * 1
    start = {number_of(output): "here"}
    given = (
        output[:, 1:].transpose(1, 2).log_softmax(1).permute(0, 2, 1).reshape(20, 5).unsqueeze(0).squeeze(0).double()
    )
    found = route(start, given)  # type: ignore[arg-type]
    assert found is not None
    here, steps = found
    again = output
    for step in steps:
        again = step(again)
    assert here == "here"
    assert torch.equal(again, given)
    assert route(start, output + output.flip(0)) is None  # type: ignore[arg-type]


def test_only_plain_data_is_kept() -> None:
    assert torch.equal(copied({"x": [torch.ones(2)]})["x"][0], torch.ones(2))
    with pytest.raises(CannotKeep):
        copied((object(),))
    with pytest.raises(CannotKeep):
        copied(torch.ones(2, requires_grad=True) * 2)


def test_a_copy_has_no_hooks_of_the_users_and_shares_nothing() -> None:
    net = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    net.register_forward_hook(lambda *_: print("called"))
    net.last = net(torch.ones(1, 2))  # an output stored away, with its graph
    twin = duplicate(net)
    assert not twin._forward_hooks
    assert len(net._forward_hooks) == 1
    assert torch.equal(twin(torch.ones(1, 2)), net.last)
    assert not {p.data_ptr() for p in net.parameters()} & {p.data_ptr() for p in twin.parameters()}


def test_experiments_leave_no_trace(capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    with torch.no_grad(), apart(torch.device("cpu")):
        assert torch.is_grad_enabled()
        torch.rand(3)
        print("something")
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr().out == ""


# --- what cannot be computed again is said


def test_a_plain_loop_is_replayed(tmp_path: Path) -> None:
    record = deep(
        tmp_path,
        """
        for k in range(60):
            at = torch.randint(0, 256, (32,))
            step(F.nll_loss(torch.log_softmax(net(x[at]), 1), y[at]))
        """,
    )
    replay = record.experiments.replay
    assert replay["replayed"] == replay["recorded"]
    assert replay["fn"] == "nll_loss"
    assert record.experiments.result("batch_mixing")["other"] == 0
    assert record.experiments.result("evaluated_twice")["difference"] == 0
    one = record.experiments.result("one_batch")
    assert one["initial"]["best"] < 0.1 * one["constant"]
    point = record.experiments.point("initial")
    assert point is not None and point.above_noise > 2
    real = record.experiments.result("baselines")["real"]
    assert all(real["held"] < dealt["held"] for dealt in record.experiments.result("baselines")["shuffled"])
    assert record.ended["steps"] == 60


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        ("((net(x).softmax(1) - F.one_hot(y)) ** 2).mean()", "another thing than one loss"),
        ("F.cross_entropy(net(x), y) + 0.1 * net[0].weight.norm()", "another thing than one loss"),
        ("F.cross_entropy(net(x) + net(x.flip(0)), y)", "another thing than one loss"),
    ],
)
def test_other_losses_are_not_replayed_and_it_is_said(loss: str, why: str, tmp_path: Path) -> None:
    assert why in why_not(tmp_path, f"for k in range(20): step({loss})")


def test_a_model_that_remembers_is_not_believed(tmp_path: Path) -> None:
    program = """
        class Odd(nn.Module):
            def __init__(self):
                super().__init__()
                self.net, self.calls = net, 0
            def forward(self, x):
                self.calls += 1
                return self.net(x) * self.calls
        odd = Odd()
        for k in range(20): step(F.cross_entropy(odd(x), y))
    """
    assert "computed again" in why_not(tmp_path, program)


def test_a_compiled_model_is_left_alone(tmp_path: Path) -> None:
    program = """
        net = torch.compile(net, backend="aot_eager")
        for k in range(20): step(F.cross_entropy(net(x), y))
    """
    assert "compiled" in why_not(tmp_path, program)


def test_a_program_that_crashed_is_left_alone(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(HEAD) + "for k in range(20): step(F.cross_entropy(net(x), y))\nraise ValueError\n"
    )
    assert launch([str(script)], tmp_path / "record", deep=True).status == 1
    assert "exception" in Record.read(tmp_path / "record").process.last("replay")["why"]


def test_nobody_asked(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(HEAD) + "for k in range(20): step(F.cross_entropy(net(x), y))\n")
    record = quickly_recorded(script, tmp_path / "record")
    assert not record.experiments.asked
    deep_rules = {"batch-mixing", "future-leak", "saddle-point", "cannot-fit-one-batch", "labels-unrelated"}
    assert not deep_rules & {lack.rule for lack in examine(None, record).not_enough}


# --- training is untouched


def run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["mlp", "cnn", "lstm", "transformer", "amp"])
def test_training_is_bit_identical(kind: str, tmp_path: Path) -> None:
    bare = run(str(IDENTICAL), kind)
    launching = "import sys; from pathlib import Path; from torchdx.launch import launch, end_as\n"
    launching += "end_as(launch(sys.argv[2:], Path(sys.argv[1]), overhead=1000.0, deep=True))"
    assert run("-c", launching, str(tmp_path / "record"), str(IDENTICAL), kind) == bare
    record = Record.read(tmp_path / "record")
    assert not record.process.all("disarmed")
    assert record.experiments.replay, record.experiments.why_not("replay")
    assert record.experiments.point("final") is not None


def test_an_interrupt_ends_the_experiments_and_nothing_else(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    slow = "import time\nnet.register_forward_pre_hook(lambda *_: None)\n"
    slow += "class Slow(nn.Module):\n    def __init__(self): super().__init__(); self.net = net; self.calls = 0\n"
    slow += "    def forward(self, x):\n        time.sleep(0.05); return self.net(x)\nslow = Slow()\n"
    slow += "for k in range(10): step(F.cross_entropy(slow(x), y))\nprint('done', flush=True)\n"
    script.write_text(textwrap.dedent(HEAD) + slow)
    watching = f"import torch, torchdx, runpy; torchdx.watch({str(tmp_path / 'record')!r}, deep=True)\n"
    watching += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    child = subprocess.Popen(
        [sys.executable, "-c", watching], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    time.sleep(1.5)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0
    assert not errors
    record = Record.read(tmp_path / "record")
    assert record.process.last("replay").get("why") == "it was interrupted"
    assert record.ended["steps"] == 10
