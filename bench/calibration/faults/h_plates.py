"""What is planted in twelve programs that no rule or threshold was made with: rods, ducts, plates, hands."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "rod_ends": "loss",
    "ward_survival": "error rate",
    "ring_ages": "loss",
    "plate_ctc": "accuracy",
    "bus_counter": "loss",
    "slide_dynamics": "loss",
    "pendulum_pinn": "loss",
    "mural_siren": "loss",
    "band_players": "accuracy",
    "duct_ladder": "loss",
    "poker_hands": "accuracy",
    "mill_transfer": "accuracy",
}
"""The last number that each program prints: of a loss or an error rate less is better, of all else more."""

PLANTED: tuple[Fault, ...] = (
    # --- rod_ends: convolutions, batch norm, two groups of parameters
    plant(
        "rod_ends",
        "batch norm momentum misread",
        ("momentum=1 - DECAY", "momentum=DECAY"),
        proven="momentum is the share of the new batch: nine tenths of the running statistics are the last batch's",
    ),
    plant(
        "rod_ends",
        "evaluated in training mode",
        ("    net.eval()\n", ""),
        proven="the norms scale the test pictures by their own batch, and follow it",
    ),
    plant(
        "rod_ends",
        "training mode not restored",
        ("    net.train(mode)\n", ""),
        ("    mode = net.training\n", ""),
        (" Leaves the net in the mode it was in.", ""),
        proven="after the first epoch's check the norms no longer use the batch, nor follow what the layers give",
    ),
    plant(
        "rod_ends",
        "part not optimised",
        ("if p.ndim > 1]", "if p.ndim == 2]"),
        proven="the kernels of the convolutions have four dimensions and are in neither group",
    ),
    # --- ward_survival: notebook, Cox's partial likelihood
    plant(
        "ward_survival",
        "raw inputs",
        (
            "    z = (x - mean) / std\n    return [torch.as_tensor(a, dtype=torch.float32) for a in (z, t, e)]\n",
            "    return [torch.as_tensor(a, dtype=torch.float32) for a in (x, t, e)]\n",
        ),
        ("# %% Scale by the patients that are fitted\nmean, std = X_fit.mean(0), X_fit.std(0)\n\n\n", "# %%\n"),
    ),
    plant(
        "ward_survival",
        "labels do not belong to inputs",
        (
            "X_fit, X_val, days_fit, days_val, seen_fit, seen_val = train_test_split(\n"
            "    X_rest, days_rest, seen_rest, test_size=0.15, random_state=2\n)\n",
            "X_fit, X_val = train_test_split(X_rest, test_size=0.15, random_state=2)\n"
            "days_fit, days_val, seen_fit, seen_val = train_test_split(days_rest, seen_rest, test_size=0.15, random_state=3)\n",
        ),
    ),
    plant(
        "ward_survival",
        "no nonlinearity",
        ("h = torch.tanh(self.one(x))", "h = self.one(x)"),
        ("h = torch.tanh(self.two(h))", "h = self.two(h)"),
    ),
    plant(
        "ward_survival",
        "gradients never cleared",
        ("        opt.zero_grad()\n", ""),
        proven="no gradient is ever cleared: every step is made with the sum of all so far",
    ),
    # --- ring_ages: soft targets, closures, two batches to a step
    plant(
        "ring_ages",
        "divergence of probabilities",
        ("said = F.log_softmax(net(grey[rows, None]), dim=-1)", "said = F.softmax(net(grey[rows, None]), dim=-1)"),
    ),
    plant(
        "ring_ages",
        "divergence averaged over classes",
        ('reduction="batchmean"', 'reduction="mean"'),
        proven='"mean" divides by the classes as well: loss and steps of plain SGD are a twelfth of those meant',
    ),
    plant(
        "ring_ages",
        "softmax over the batch",
        ("said = F.log_softmax(net(grey[rows, None]), dim=-1)", "said = F.log_softmax(net(grey[rows, None]), dim=0)"),
        proven="the shares are made to sum to one over the cores of a batch, not over the ages of a core",
    ),
    plant(
        "ring_ages",
        "step never taken",
        ("PER_STEP = 2 ", "PER_STEP = 256 "),
        proven="an epoch has 175 batches, so that the condition for a step is never met",
    ),
    # --- plate_ctc: argparse, recurrent both ways, CTC
    plant(
        "plate_ctc",
        "log-softmax missing",
        ("return F.log_softmax(self.characters(states), dim=-1)", "return self.characters(states)"),
        proven="CTCLoss takes log-probabilities; bare scores can be raised without end and the loss falls below zero",
    ),
    plant(
        "plate_ctc",
        "schedule of another length",
        ("steps_per_epoch=steps_per_epoch, pct_start", "steps_per_epoch=len(scans), pct_start"),
        proven="steps are counted in plates, not in batches: training ends in the first of the warm-up",
    ),
    plant(
        "plate_ctc",
        "layer made in forward",
        ("        self.columns = nn.Conv1d(HEIGHT, hidden, 5, padding=2)\n", "        self.hidden = hidden\n"),
        (
            "        strokes = F.gelu(self.columns(scans.transpose(1, 2)))\n",
            "        columns = nn.Conv1d(scans.shape[2], self.hidden, 5, padding=2)\n"
            "        strokes = F.gelu(columns(scans.transpose(1, 2)))\n",
        ),
    ),
    plant(
        "plate_ctc",
        "learning rate far too high",
        ('"--lr", type=float, default=8e-3', '"--lr", type=float, default=0.8'),
    ),
    # --- bus_counter: an LSTM cell by hand
    plant(
        "bus_counter",
        "forget gate shut",
        ("torch.sigmoid(f + self.forget_bias) * c", "torch.sigmoid(f - self.forget_bias) * c"),
        ("forget_bias=2.0", "forget_bias=6.0"),
    ),
    plant("bus_counter", "broadcast loss", ("return self.read(h)[:, 0]", "return self.read(h)")),
    plant(
        "bus_counter",
        "gradients clipped to nothing",
        ("clip_grad_norm_(net.parameters(), max_norm=1.0)", "clip_grad_value_(net.parameters(), 1e-9)"),
    ),
    plant(
        "bus_counter",
        "parameter not registered",
        (
            "nn.Parameter(torch.randn(n_hidden, 4 * n_hidden) / math.sqrt(n_hidden))",
            "nn.Parameter(torch.randn(n_hidden, 4 * n_hidden)).div(math.sqrt(n_hidden)).detach().requires_grad_()",
        ),
        proven="what is kept is no nn.Parameter but a tensor, which parameters() does not list: it stays as drawn",
    ),
    # --- slide_dynamics: two probabilistic networks, a mixture
    plant(
        "slide_dynamics",
        "deviation given for variance",
        ("var=torch.exp(2 * log_std)", "var=torch.exp(log_std)"),
    ),
    plant(
        "slide_dynamics",
        "scaled twice",
        ("train_ensemble(members, rows, scale", "train_ensemble(members, scale_in(rows), scale"),
        ("(val_rows, scale_out", "(scale_in(val_rows), scale_out"),
        ("mixture_nll(members, test_rows,", "mixture_nll(members, scale_in(test_rows),"),
    ),
    plant("slide_dynamics", "not a number", ("table.std(0).clamp(min=1e-6)", "table.std(0)")),
    plant(
        "slide_dynamics",
        "another model optimised",
        (
            "    optimizers = [torch.optim.AdamW(member.parameters(), lr=setup.lr) for member in members]\n",
            "    optimizers = [torch.optim.AdamW(members[0].parameters(), lr=setup.lr) for _ in members]\n",
        ),
        proven="both optimisers hold the first network; the second stays as it began",
    ),
    # --- pendulum_pinn: an equation in place of data
    plant(
        "pendulum_pinn",
        "graph cut",
        ("y.sum(), t, create_graph=True)[0]", "y.sum(), t, retain_graph=True)[0]"),
        proven="the derivative is a bare number to the loss: what the weights do to it never reaches them",
    ),
    plant("pendulum_pinn", "learning rate far too low", ("points=48, lr=1e-2", "points=48, lr=5e-6")),
    plant(
        "pendulum_pinn",
        "weights start alike",
        ("nn.init.xavier_normal_(layer.weight, gain=1.4)", "nn.init.constant_(layer.weight, 0.1)"),
    ),
    plant(
        "pendulum_pinn",
        "weights start too small",
        ("nn.init.xavier_normal_(layer.weight, gain=1.4)", "nn.init.normal_(layer.weight, std=1e-4)"),
    ),
    # --- mural_siren: a picture as a function
    plant(
        "mural_siren",
        "weights start huge",
        ("else math.sqrt(6 / fan_in) / OMEGA\n", "else math.sqrt(6 / fan_in)\n"),
    ),
    plant(
        "mural_siren",
        "modules in a plain list",
        ("nn.ModuleList([Sine(width, width) for _ in range(depth)])", "[Sine(width, width) for _ in range(depth)]"),
    ),
    plant("mural_siren", "learning rate far too high", ("lr=1e-3, epochs=16", "lr=1e-1, epochs=16")),
    # --- band_players: several labels at once
    plant(
        "band_players",
        "sigmoid before its own loss",
        ("nn.Linear(64, len(PLAYERS)))", "nn.Linear(64, len(PLAYERS)), nn.Sigmoid())"),
        ("says = net(spectra.x) > 0\n", "says = net(spectra.x) > 0.5\n"),
        proven="the loss takes the sigmoid once more: no player can be given less than one half",
    ),
    plant(
        "band_players",
        "ReLU on the logits",
        ("*layer(96, 64, p), nn.Linear(64, len(PLAYERS)))", "*layer(96, 64, p), *layer(64, len(PLAYERS), 0.0))"),
        proven="no logit can be negative: a silent player cannot be given less than one half",
    ),
    plant("band_players", "loss of another task", ("crit = nn.BCEWithLogitsLoss()", "crit = nn.CrossEntropyLoss()")),
    plant("band_players", "too much dropout", ("def make_net(p=0.2)", "def make_net(p=0.9)")),
    # --- duct_ladder: ten ReLU layers
    plant(
        "duct_ladder",
        "deep ReLU stack, default start",
        (
            "        for rung in self.rungs:\n"
            '            nn.init.kaiming_normal_(rung.weight, nonlinearity="relu")\n'
            "            nn.init.zeros_(rung.bias)\n",
            "",
        ),
        ("started by\n# the rule of He et al., plain SGD", "trained with\n# plain SGD"),
    ),
    plant("duct_ladder", "deep sigmoid stack", ("x = F.relu(rung(x))", "x = F.sigmoid(rung(x))")),
    plant("duct_ladder", "dead ReLU", ("nn.init.zeros_(rung.bias)", "nn.init.constant_(rung.bias, -3.0)")),
    plant(
        "duct_ladder", "half precision", (").astype(np.float32)\n    pressure", ").astype(np.float16)\n    pressure")
    ),
    # --- poker_hands: a small Transformer
    plant(
        "poker_hands",
        "softmax before cross entropy",
        (
            "        return self.name(self.norm(h).mean(dim=1))\n",
            "        return self.name(self.norm(h).mean(dim=1)).softmax(-1)\n",
        ),
        proven="cross entropy takes the softmax itself: with six hands the loss cannot fall below 1.04",
    ),
    plant(
        "poker_hands",
        "dropout always on",
        ("dropout_p=self.drop if self.training else 0.0", "dropout_p=self.drop"),
        proven="this function knows no modes: attention is dropped while it is scored as well",
    ),
    plant(
        "poker_hands",
        "sorted and not shuffled",
        ("order = torch.randperm(len(cards))", "order = torch.arange(len(cards))"),
    ),
    plant(
        "poker_hands",
        "argument in wrong slot",
        ("nn.LayerNorm(hp.dim), nn.LayerNorm(hp.dim)", "nn.LayerNorm(hp.dim, hp.dim), nn.LayerNorm(hp.dim, hp.dim)"),
        proven="the second argument is eps: the width of 32 is added to every variance",
    ),
    # --- mill_transfer: a trunk from one mill, a head for another
    plant(
        "mill_transfer",
        "random part frozen",
        ('if name.startswith("trunk.")}', 'if name.startswith("features.")}'),
        proven="no name begins so and strict=False is silent: the trunk stays random, and is frozen",
    ),
    plant(
        "mill_transfer",
        "gradients cleared before the step",
        (
            "            optimizer.zero_grad()\n            loss.backward()\n            optimizer.step()\n",
            "            loss.backward()\n            optimizer.zero_grad()\n            optimizer.step()\n",
        ),
    ),
    plant(
        "mill_transfer",
        "another model optimised",
        ("optim.AdamW(new.head.parameters()", "optim.AdamW(old.head.parameters()"),
    ),
)
