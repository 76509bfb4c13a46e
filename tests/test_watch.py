"""What the probes tell of small programs, each run under the launcher."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from patients import recorded
from torchdx.launch import launch
from torchdx.record import Record


def run(folder: Path, program: str) -> Record:
    script = folder / "program.py"
    script.write_text(textwrap.dedent(program))
    record = recorded(script, folder / "record")
    assert not record.process.all("disarmed")
    return record


LOOP = """
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(8, 16)
            self.fc2 = nn.Linear(16, 16)
            self.drop = nn.Dropout(0.1)
            self.out = nn.Linear(16, 3)
            self.spare = nn.Linear(16, 3)

        def forward(self, x):
            x = torch.sigmoid(self.fc1(x))
            x = F.relu(self.fc2(x))
            return self.out(self.drop(x))

    net = Net()
    used = [p for n, p in net.named_parameters() if not n.startswith("spare")]
    opt = torch.optim.SGD(used, lr=0.1)
    data = TensorDataset(torch.randn(96, 8), torch.randint(0, 3, (96,)))
    train, val = DataLoader(data, batch_size=32, shuffle=True), DataLoader(data, batch_size=48)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(4):
        net.train()
        for x, y in train:
            opt.zero_grad()
            loss = criterion(net(x), y)
            with torch.no_grad():
                F.cross_entropy(net(x), y)  # a figure to print, not an evaluation
            loss.backward()
            opt.step()
        for x, y in val:  # with gradients and in training mode, as learners do
            criterion(net(x), y).item()
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run(tmp_path_factory.mktemp("loop"), LOOP)


def line_of(text: str) -> int:
    return next(k for k, line in enumerate(textwrap.dedent(LOOP).splitlines(), 1) if text in line)


def test_phases_are_told_from_what_happens(record: Record) -> None:
    assert [phase.what for phase in record.process.phases] == ["train", "eval"] * 4
    assert [phase.batches for phase in record.process.phases] == [3, 2] * 4
    assert all(phase.modes == {"of": 1, "training": 1} for phase in record.phases("eval"))
    assert all(phase.grad for phase in record.phases("eval"))
    assert all(phase.loss and phase.loss_error is not None for phase in record.process.phases)


def test_layers_with_functional_activations(record: Record) -> None:
    assert [layer.name for layer in record.layers if layer.looks] == [
        "fc1",
        "fc1:sigmoid",
        "fc2",
        "fc2:relu",
        "drop",
        "out",
    ]
    sigmoid = record.inner_layers("sigmoid")[0]
    assert 0 <= sigmoid.series("flat").highest < 0.5
    assert 0.3 < sigmoid.series("mean").mean < 0.7
    assert record.inner_layers("relu")[0].series("zero").mean > 0.1
    assert record.layers[0].series("gradient").lowest > 0


def test_sites_point_at_the_users_own_lines(record: Record) -> None:
    by_name = {layer.name: layer for layer in record.layers}
    for name, text in [("fc1", "self.fc1 ="), ("drop", "self.drop =")]:
        site = by_name[name].site
        assert site is not None
        assert (Path(site.path).name, site.line) == ("program.py", line_of(text))
    site = record.optimizers[0].site
    assert site is not None
    assert (site.line, site.column) == (line_of("opt = "), 7)
    assert record.losses[0].site is not None
    assert record.losses[0].site.line in (line_of("loss = "), line_of(".item()"))


def test_parameters_gradients_and_updates(record: Record) -> None:
    assert {p.name for p in record.unoptimised_parameters()} == {"spare.weight", "spare.bias"}
    weight = next(p for p in record.parameters if p.name == "fc1.weight")
    assert weight.gradient.steps[0] == 1
    first = weight.looks[0][1]
    assert first[2] == pytest.approx(0.1 * (first[0] or 0), rel=0.1)  # plain SGD: update = lr x gradient
    assert weight.initial["std"] == pytest.approx(1 / math.sqrt(3 * 8), rel=0.2)


def test_steps_loaders_and_losses(record: Record) -> None:
    assert record.steps == 12
    assert all(fact["cleared"] is not False for fact in record.process.all("step"))
    assert {loader.order for loader in record.loaders} == {"random", "sequential"}
    assert record.classes == 3
    assert record.uniform_loss == pytest.approx(math.log(3))
    assert all(use.input_is("logits") for use in record.losses_called("cross_entropy") if list(use.calls()))
    assert record.objective.first == pytest.approx(math.log(3), rel=0.2)
    assert record.process.last("end")["steps"] == 12


def test_uncleared_gradients_are_seen(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        """
        import torch
        from torch import nn
        net, x = nn.Linear(4, 1), torch.randn(8, 4)
        opt = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(10):
            net(x).square().mean().backward()
            opt.step()
        for _ in range(10):
            for p in net.parameters():
                p.grad.zero_()
            net(x).square().mean().backward()
            net(x).square().mean().backward()
            opt.step()
        """,
    )
    facts = record.process.all("step")
    assert [fact["cleared"] for fact in facts] == [None] + [False] * 9 + [True] * 10
    assert [fact["backwards"] for fact in facts] == [1] * 10 + [2] * 10


def test_parts_that_the_optimizer_does_not_know(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = [nn.Linear(4, 4) for _ in range(2)]
                self.head = nn.Linear(4, 1)

            def forward(self, x):
                for block in self.blocks:
                    x = block(x).tanh()
                return self.head(x)

        net, x = Net(), torch.randn(8, 4)
        opt = torch.optim.SGD(net.parameters(), lr=0.01)
        for step in range(100):
            opt.zero_grad()
            net(x).square().mean().backward()
            opt.step()
        second = torch.optim.SGD(net.parameters(), lr=0.01)
        net.head = nn.Linear(4, 1)
        for step in range(20):
            second.zero_grad()
            net(x).square().mean().backward()
            second.step()
        """,
    )
    names = {parameter.name for parameter in record.left_out_parameters()}
    assert names == {"<Linear>.weight", "<Linear>.bias", "head.weight", "head.bias"}
    assert len({parameter.model for parameter in record.parameters}) == 1
    assert record.latest_start == 100
    assert next(fact["step"] for fact in record.process.all("gradients") if fact["optimizer"] == 1) == 101


def test_a_hand_written_update_counts_its_steps(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        """
        import torch
        w = torch.zeros(3, requires_grad=True)
        for _ in range(20):
            loss = (w - 1).square().sum()
            loss.backward()
            with torch.no_grad():
                w -= 0.1 * w.grad
                w.grad = None
        """,
    )
    assert record.steps == 20
    assert record.objective.first == 3.0
    assert record.objective.last < 0.1


def test_phases_are_compared_by_the_mean(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        """
        import torch
        from torch import nn
        import torch.nn.functional as F
        from torch.utils.data import DataLoader, TensorDataset
        data = TensorDataset(torch.randn(64, 4), torch.randint(0, 3, (64,)))
        net = nn.Linear(4, 3)
        opt = torch.optim.SGD(net.parameters(), lr=1e-9)
        for x, y in DataLoader(data, batch_size=16):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
        with torch.no_grad():
            for x, y in DataLoader(data, batch_size=32):
                F.cross_entropy(net(x), y, reduction="sum").item()
        """,
    )
    trained, measured = record.process.phases
    assert measured.loss == pytest.approx(trained.loss, rel=1e-4)


def test_a_long_hand_written_training_is_followed_to_its_end(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        """
        import torch
        w = torch.zeros(3, requires_grad=True)
        for _ in range(3000):
            loss = (w - 1).square().sum()
            loss.backward()
            with torch.no_grad():
                w -= 0.001 * w.grad
                w.grad = None
        """,
    )
    assert record.steps == 3000
    assert record.objective.steps[-1] > 2500
    assert record.objective.last < 0.01


def test_the_first_operation_that_was_not_finite(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        """
        import torch
        w = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
        opt = torch.optim.SGD([w], lr=0.1)
        loss = (w * 2).log().mean() * 3
        loss.backward()
        opt.step()
        """,
    )
    (fact,) = record.nonfinite
    assert fact["step"] == 1
    assert fact["origin"]["operation"] == "Log"
    assert fact["origin"]["min"] == 0.0
    assert fact["site"][1] == 6


def test_values_that_an_error_refuses_are_traced_back(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        """
        import torch
        w = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        opt = torch.optim.SGD([w], lr=0.1)
        try:
            torch.distributions.Normal(torch.zeros(2), (w * 2).sqrt())
        except ValueError as error:
            import sys
            sys.last_value = error
        """,
    )
    (fact,) = record.nonfinite
    assert (fact["what"], fact["origin"]["operation"]) == ("values", "Sqrt")
    assert fact["site"][1] == 6


def test_an_optimizer_that_never_steps_is_told_of(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        """
        import torch
        one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
        opt, idle = torch.optim.SGD(other.parameters(), lr=0.1), torch.optim.Adam(one.parameters())
        for _ in range(6):
            idle.zero_grad()
            opt.zero_grad()
            other(one(torch.randn(4, 2))).square().mean().backward()
            opt.step()
        """,
    )
    (fact,) = record.process.all("unstepped")
    assert (fact["cls"], fact["moved"], len(fact["params"])) == ("Adam", False, 2)
    assert fact["looks"] >= 3


def test_a_killed_run_still_speaks(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        textwrap.dedent(LOOP).replace("opt.step()", "opt.step(); stop()").replace("import torch\n", STOP, 1)
    )
    ending = launch([str(script)], tmp_path / "record")
    assert ending.signal == 9
    record = Record.read(tmp_path / "record")
    assert record.steps == 7
    assert record.layers


STOP = """import os, signal, torch
count = [0]
def stop():
    count[0] += 1
    if count[0] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_can_be_ended_after_some_steps(tmp_path: Path) -> None:
    script = tmp_path / "short.py"
    script.write_text("import atexit\natexit.register(print, 'bye')\n" + textwrap.dedent(LOOP))
    ending = launch([str(script)], tmp_path / "record", max_steps=5)
    assert ending.status == 0
    record = Record.read(tmp_path / "record")
    assert record.steps == 5
    assert record.ended["stopped"] is True


def test_watching_from_inside(tmp_path: Path) -> None:
    script = tmp_path / "inside.py"
    opened = f"import torchdx\nassert torchdx.watch({str(tmp_path / 'own')!r}) == torchdx.watch()\n"
    script.write_text(opened + textwrap.dedent(LOOP))
    subprocess.run([sys.executable, str(script)], check=True, cwd=tmp_path)
    record = Record.read(tmp_path / "own")
    assert record.steps == 12
    assert [phase.what for phase in record.process.phases] == ["train", "eval"] * 4


def test_what_is_written_is_what_is_read() -> None:
    from torchdx.record import facts
    from torchdx.watch import writer

    assert writer.VERSION == facts.VERSION


def test_samples_do_not_fall_in_step_with_rows() -> None:
    torch = pytest.importorskip("torch")
    from torchdx.watch.tensors import positions, sample

    rows = torch.arange(64.0).repeat(4096)  # a stride that divides 64 would see one column only
    assert sample(rows).mean().item() == pytest.approx(31.5, abs=1.5)
    assert sample(rows).std().item() == pytest.approx(18.5, abs=1.0)
    places = positions(10**6, torch.device("cpu"))
    assert places.diff().min() >= 0
    assert places.max() < 10**6
    small = positions(10, torch.device("cpu")).bincount(minlength=10)
    assert small.min() > 90
