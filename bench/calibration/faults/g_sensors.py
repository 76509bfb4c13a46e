"""What is planted in twelve more programs that no rule or threshold was made with: sensors, pictures, rows."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "berry_forager": "berries a day",
    "boiler_duty": "loss",
    "exon_marks": "accuracy",
    "expense_notes": "accuracy",
    "heartbeat_cleaner": "loss",
    "kiln_cracks": "error rate",
    "knit_rows": "accuracy",
    "orchard_belt": "accuracy",
    "scent_match": "accuracy",
    "soil_average": "accuracy",
    "spiral_arms": "accuracy",
    "taster_panels": "loss",
}
"""The last number that each program prints: of a loss or an error rate less is better, of all else more."""

SEEN = "the score printed as that of the test rows is that of the rows trained on"
NOISY = "the score is that of a network with a random part of its units left out"

PLANTED: tuple[Fault, ...] = (
    # --- boiler_duty: flat notebook, perceptron, SGD with momentum, squared error by hand
    plant("boiler_duty", "broadcast loss", ("torch.float32).reshape(-1, 1)", "torch.float32)")),
    plant("boiler_duty", "raw inputs", ("X = torch.from_numpy(scaled)", "X = torch.from_numpy(readings)")),
    plant(
        "boiler_duty",
        "no nonlinearity",
        ("    parts += [nn.Linear(fan_in, width), nn.SiLU()]\n", "    parts.append(nn.Linear(fan_in, width))\n"),
    ),
    plant(
        "boiler_duty",
        "sum in place of mean",
        ("error = squared_error(out, Y_train[rows])", "error = (out - Y_train[rows]).pow(2).sum()"),
    ),
    plant(
        "boiler_duty",
        "penalty drowns the loss",
        (
            "        error = squared_error(out, Y_train[rows])\n",
            "        error = squared_error(out, Y_train[rows])\n"
            "        error = error + 0.05 * sum(p.abs().sum() for p in net.parameters())\n",
        ),
    ),
    # --- orchard_belt: argparse, convolutions, accumulation over micro batches
    plant(
        "orchard_belt",
        "scaled twice",
        ("return self.pictures[i], self.kinds", "return self.pictures[i] / 255, self.kinds"),
    ),
    plant(
        "orchard_belt",
        "accumulation clears each micro batch",
        ("        model.train()\n        optimizer.zero_grad()\n", "        model.train()\n"),
        ("            loss = F.cross", "            optimizer.zero_grad()\n            loss = F.cross"),
        (
            "                optimizer.step()\n                optimizer.zero_grad()\n",
            "                optimizer.step()\n",
        ),
        proven="of every three micro batches the gradients of two are thrown away",
    ),
    plant("orchard_belt", "evaluated in training mode", ("    model.eval()\n    right", "    right"), proven=NOISY),
    plant("orchard_belt", "too much dropout", ("type=float, default=0.2", "type=float, default=0.97")),
    plant(
        "orchard_belt",
        "sorted and not shuffled",
        ("kinds = rng.integers(0, len(FRUITS), n)", "kinds = np.repeat(np.arange(len(FRUITS)), n // len(FRUITS))"),
        ("batch_size=args.micro, shuffle=True)", "batch_size=args.micro)"),
    ),
    # --- kiln_cracks: dataclass, segmentation, flips
    plant(
        "kiln_cracks",
        "image augmented without its mask",
        ("tile, mask = tile.flip(-1), mask.flip(-1)", "tile = tile.flip(-1)"),
        ("tile, mask = tile.flip(-2), mask.flip(-2)", "tile = tile.flip(-2)"),
    ),
    plant(
        "kiln_cracks",
        "sigmoid before its own loss",
        ("return self.head(self.merge(joined))", "return torch.sigmoid(self.head(self.merge(joined)))"),
        ("hit = (net(tile) > 0).float()", "hit = (net(tile) > 0.5).float()"),
        proven="the sigmoid is taken twice: no pixel can be given less than one half",
    ),
    plant(
        "kiln_cracks",
        "graph cut",
        ("torch.cat([fine, self.up(coarse)], dim=1)", "torch.cat([fine, self.up(coarse.data)], dim=1)"),
        proven="the deep part never gets a gradient",
    ),
    plant(
        "kiln_cracks",
        "part not optimised",
        (
            "    optimizer = torch.optim.Adam(net.parameters(), lr=settings.lr)\n",
            "    trained = [*net.up.parameters(), *net.merge.parameters(), *net.head.parameters()]\n"
            "    optimizer = torch.optim.Adam(trained, lr=settings.lr)\n",
        ),
        proven="both parts of the way down stay as they began",
    ),
    # --- heartbeat_cleaner: trainer class, residual convolutions over time, clipping
    plant(
        "heartbeat_cleaner",
        "noise added in place to the clean picture",
        (
            "noisy = clean + self.sigma * torch.randn_like(clean)",
            "noisy = clean.add_(self.sigma * torch.randn_like(clean))",
        ),
    ),
    plant(
        "heartbeat_cleaner",
        "modules in a plain list",
        ("nn.ModuleList([Block(channels) for _ in range(depth)])", "[Block(channels) for _ in range(depth)]"),
        proven="the blocks are not among the parameters and stay as they began",
    ),
    plant("heartbeat_cleaner", "argument in wrong slot", ("nn.LeakyReLU(0.05)", "nn.LeakyReLU(True)")),
    plant("heartbeat_cleaner", "gradients clipped to nothing", ("max_norm=1.0", "max_norm=1e-4")),
    # --- knit_rows: causal transformer, tied head, warm-up and cosine
    plant("knit_rows", "future seen", ("attention(q, k, v, is_causal=True)", "attention(q, k, v)")),
    plant("knit_rows", "targets not shifted", ("batch[:, 1:].flatten()", "batch[:, :-1].flatten()")),
    plant("knit_rows", "warm-up longer than the training", ("PEAK = 420, 48, 40, 3e-3", "PEAK = 420, 48, 4000, 3e-3")),
    plant("knit_rows", "weights start huge", ("normal_(module.weight, std=0.05)", "normal_(module.weight)")),
    # --- expense_notes: bags of words, padding, class weights
    plant(
        "expense_notes",
        "padding pooled as if it were data",
        (
            "        there = (ids != PAD).unsqueeze(-1).float()\n"
            "        summary = (self.words(ids) * there).sum(1) / there.sum(1)\n",
            "        summary = self.words(ids).mean(1)\n",
        ),
        proven="the summary of a short note is mostly that of its padding, and of how long its neighbours are",
    ),
    plant(
        "expense_notes",
        "class weights inverted",
        ("(counts.mean() / counts)", "(counts / counts.mean())"),
        proven="the rarest account is given the least weight, the commonest the most",
    ),
    plant(
        "expense_notes",
        "collapse to one class",
        (
            "    return (counts.mean() / counts) ** plan.temper\n",
            "    weights = (counts.mean() / counts) ** plan.temper\n"
            '    weights[ACCOUNTS.index("legal")] = 20_000  # none of these may be missed\n'
            "    return weights\n",
        ),
    ),
    plant("expense_notes", "random part frozen", ("(vectors, freeze=False)", "(vectors)")),
    plant(
        "expense_notes",
        "gradients cleared before the step",
        (
            "            optimizer.zero_grad()\n            loss.backward()\n            optimizer.step()\n",
            "            loss.backward()\n            optimizer.zero_grad()\n            optimizer.step()\n",
        ),
    ),
    # --- exon_marks: flat, recurrent both ways, packed, one mark a base
    plant(
        "exon_marks",
        "padding counted",
        ("batch_first=True, padding_value=NOTHING", "batch_first=True, padding_value=0"),
        proven="the padding counts in the loss as bases between genes",
    ),
    plant(
        "exon_marks",
        "samples mixed",
        ("steps = seen.transpose(0, 1)", "steps = seen.reshape(seen.shape[1], seen.shape[0], -1)"),
    ),
    plant("exon_marks", "softmax over the batch", ("out.transpose(0, 1)), dim=-1)", "out.transpose(0, 1)), dim=0)")),
    # --- berry_forager: policy gradient with a baseline
    plant(
        "berry_forager",
        "wrong sign of REINFORCE",
        ("policy_loss = -(log_probs * advantages).mean()", "policy_loss = (log_probs * advantages).mean()"),
    ),
    plant(
        "berry_forager",
        "wrong sign of a loss term",
        ("policy_loss + VALUE_SHARE * value_loss", "policy_loss - VALUE_SHARE * value_loss"),
    ),
    plant("berry_forager", "learning rate far too high", ("lr=6e-3", "lr=6e-1")),
    # --- taster_panels: closures, divergence of shares
    plant(
        "taster_panels",
        "divergence of probabilities",
        ("return torch.log_softmax(self.leave(x), dim=1)", "return torch.softmax(self.leave(x), dim=1)"),
        ("expected = panel(x)", "expected = panel(x).log()"),
    ),
    plant(
        "taster_panels",
        "divergence averaged over classes",
        ('nn.KLDivLoss(reduction="batchmean")', "nn.KLDivLoss()"),
        proven="the loss, and with it every step of plain SGD, is a sixth of the one meant",
    ),
    plant("taster_panels", "softmax over the batch", ("(self.leave(x), dim=1)", "(self.leave(x), dim=0)")),
    plant(
        "taster_panels",
        "weights start alike",
        ('nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")', "nn.init.constant_(layer.weight, 0.05)"),
    ),
    plant(
        "taster_panels",
        "scored on the training data",
        ("test panels {excess_nats(panel, *test):.5f}", "test panels {excess_nats(panel, *train):.5f}"),
        proven=SEEN,
    ),
    # --- scent_match: two towers, contrastive, early stopping
    plant("scent_match", "temperature multiplied, not divided by", ("a @ b.T / TEMPERATURE", "a @ b.T * TEMPERATURE")),
    plant(
        "scent_match",
        "part not optimised",
        ("AdamW(chain(nose.parameters(), mouth.parameters()), lr", "AdamW(nose.parameters(), lr"),
        ("from itertools import chain\n", ""),
    ),
    plant("scent_match", "graph cut", ("similar = a @ b.T /", "similar = a @ torch.tensor(b.tolist()).T /")),
    # --- soil_average: flat, a running average of the weights
    plant("soil_average", "weight average never updated", ("slow.lerp_(fast", "slow.lerp(fast")),
    plant("soil_average", "average slower than the training", ("KEEP = 0.97 ", "KEEP = 0.9999 ")),
    plant("soil_average", "learning rate far too high", ("lr=1e-3", "lr=1e-0")),
    plant(
        "soil_average",
        "scored on the training data",
        ("of the average: {accuracy(average, *test):.4f}", "of the average: {accuracy(average, *fit):.4f}"),
        proven=SEEN,
    ),
    # --- spiral_arms: class around it, deep, an activation with a backward of its own
    plant("spiral_arms", "wrong custom backward", ("return grad_output * gate * (1", "return gate * (1")),
    plant("spiral_arms", "deep sigmoid stack", ("self.act = Swish()", "self.act = nn.Sigmoid()")),
    plant(
        "spiral_arms",
        "weights start huge",
        ("std=1.5 / math.sqrt(layer.in_features)", "std=1.5 * math.sqrt(layer.in_features)"),
    ),
    plant("spiral_arms", "no nonlinearity", ("x = self.act(layer(x))", "x = layer(x)")),
    plant(
        "spiral_arms",
        "gradients clipped to nothing",
        (
            "            self.opt.step()\n",
            "            nn.utils.clip_grad_norm_(self.net.parameters(), 1e-5)\n            self.opt.step()\n",
        ),
    ),
)
