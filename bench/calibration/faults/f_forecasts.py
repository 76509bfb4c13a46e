"""Planted in thirteen programs that nobody had seen: forecasts, tables, pictures and a game."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "parcel_returns": "accuracy",
    "spectra_vae": "loss",
    "crescent_gan": "loss",
    "latch_lstm": "accuracy",
    "village_names": "loss",
    "patch_forecast": "loss",
    "room_thermostat": "minutes that are pleasant",
    "sonar_pupil": "loss",
    "weave_cnn": "accuracy",
    "deep_rotor": "loss",
    "demand_quantile": "loss",
    "tune_titles": "accuracy",
    "digit_mixer": "accuracy",
}

PLANTED: tuple[Fault, ...] = (
    # --- parcel_returns: functions, a sampler, early stopping
    plant(
        "parcel_returns",
        "sampler given weights of classes",
        (
            "WeightedRandomSampler([1 / share[label] for label in labels], num_samples=len(labels))",
            "WeightedRandomSampler((1 / share).tolist(), num_samples=len(labels))",
        ),
    ),
    plant(
        "parcel_returns", "early stopping watches the wrong way", ('patience=6, mode="min"', 'patience=6, mode="max"')
    ),
    plant(
        "parcel_returns",
        "sigmoid before its own loss",
        ("        nn.Linear(24, 1),\n", "        nn.Linear(24, 1),\n        nn.Sigmoid(),\n"),
    ),
    plant(
        "parcel_returns",
        "raw inputs",
        ("    scaler = StandardScaler().fit(x_train)\n", ""),
        ("from sklearn.preprocessing import StandardScaler\n", ""),
        ("as_tensors(scaler.transform(x_train), y_train)", "as_tensors(x_train, y_train)"),
        ("as_tensors(scaler.transform(x_val), y_val)", "as_tensors(x_val, y_val)"),
        ("as_tensors(scaler.transform(x_test), y_test)", "as_tensors(x_test, y_test)"),
    ),
    plant("parcel_returns", "loss of another task", ("nn.BCEWithLogitsLoss()", "nn.MSELoss()")),
    # --- spectra_vae: frozen config, functions
    plant(
        "spectra_vae",
        "posterior collapse",
        ("bound = log_likelihood(x, rebuilt, cfg.noise).mean() - beta", "bound = -F.mse_loss(rebuilt, x) - beta"),
    ),
    plant("spectra_vae", "wrong sign of a loss term", (".mean() - beta * divergence", ".mean() + beta * divergence")),
    plant(
        "spectra_vae",
        "graph cut",
        (
            "        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)\n",
            "        z = torch.distributions.Normal(mu, torch.exp(0.5 * log_var)).sample()\n",
        ),
    ),
    # --- crescent_gan: flat, two optimisers, a slow copy
    plant(
        "crescent_gan",
        "generator trained on detached fakes",
        ("    drawn = sample(generator, BATCH)\n", ""),
        ("-critic(drawn).mean()", "-critic(fake).mean()"),
    ),
    plant(
        "crescent_gan",
        "average slower than the training",
        ("DECAY = 4, 128, 1200, 0.995", "DECAY = 4, 128, 1200, 0.99995"),
    ),
    plant(
        "crescent_gan",
        "another model optimised",
        ("c_opt = torch.optim.Adam(critic.parameters()", "c_opt = torch.optim.Adam(generator.parameters()"),
    ),
    plant("crescent_gan", "gradients never cleared", ("    g_opt.zero_grad()\n", "")),
    # --- latch_lstm: one function for both kinds of epoch
    plant(
        "latch_lstm",
        "padding read as the last state",
        (
            "        packed = pack_padded_sequence(self.embed(logs), lengths, batch_first=True, enforce_sorted=False)\n"
            "        _, (last, _) = self.rnn(packed)\n",
            "        _, (last, _) = self.rnn(self.embed(logs))\n",
        ),
        proven="the last state comes after the padding for all but the longest log of a batch",
    ),
    plant(
        "latch_lstm",
        "forget gate shut",
        ("bias_ih_l0[:n] = -3.0", "bias_ih_l0[:n] = 3.0"),
        ("bias_ih_l0[n : 2 * n] = 3.0", "bias_ih_l0[n : 2 * n] = -3.0"),
    ),
    plant(
        "latch_lstm",
        "labels do not belong to inputs",
        (
            "    logs, modes = zip(*batch)\n",
            "    logs, modes = zip(*batch)\n    logs = sorted(logs, key=len, reverse=True)\n",
        ),
    ),
    # --- village_names: argparse, SGD, padded names
    plant(
        "village_names",
        "padding counted",
        (
            "        losses, real = letter_losses(model, names[rows])\n        loss = losses[real].mean()\n",
            "        losses, _ = letter_losses(model, names[rows])\n        loss = losses.mean()\n",
        ),
        proven="the loss that is minimised is a mean over all positions, padding as well",
    ),
    plant(
        "village_names",
        "batch_first forgotten",
        ("nn.GRU(emb, hidden, batch_first=True)", "nn.GRU(emb, hidden)"),
    ),
    plant(
        "village_names",
        "gradients clipped to nothing",
        (
            "clip_grad_norm_(model.parameters(), args.max_norm)",
            "clip_grad_norm_(model.parameters(), args.max_norm / len(names))",
        ),
    ),
    plant("village_names", "gradients never cleared", ("        optimizer.zero_grad()\n", "")),
    plant("village_names", "learning rate far too high", ("type=float, default=0.5", "type=float, default=5.0")),
    # --- patch_forecast: Transformer, warm-up
    plant(
        "patch_forecast",
        "batch_first forgotten",
        ("dropout=0.0, batch_first=True, norm", "dropout=0.0, norm"),
        proven="attention runs over the windows of a batch, not over patches: a forecast depends on its batch",
    ),
    plant(
        "patch_forecast",
        "warm-up longer than the training",
        ("Warmup(rise_epochs * steps, epochs", "Warmup(rise_epochs * len(train_set), epochs"),
        proven="the rise is counted in windows, not in batches: at the end the rate is at a seventh of what is set",
    ),
    plant(
        "patch_forecast",
        "raw inputs",
        (
            "    rows = torch.tensor((rows - mean) / std, dtype=torch.float32)\n",
            "    rows = torch.tensor(rows, dtype=torch.float32)\n",
        ),
        ("(rows[:, :PAST], rows[:, PAST:])", "(rows[:, :PAST], (rows[:, PAST:] - mean) / std)"),
    ),
    # --- room_thermostat: REINFORCE in a batched world
    plant(
        "room_thermostat",
        "wrong sign of REINFORCE",
        ("    objective = (log_probs * advantage).mean()", "    objective = -(log_probs * advantage).mean()"),
    ),
    plant("room_thermostat", "graph cut", ("append(dist.log_prob(action))", "append(dist.log_prob(action).data)")),
    plant(
        "room_thermostat",
        "modules in a plain list",
        (
            "self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))",
            "self.hidden = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]",
        ),
        proven="the layers in the list are no part of the module: no optimiser sees them, they stay as drawn",
    ),
    # --- sonar_pupil: distillation without labels
    plant(
        "sonar_pupil",
        "divergence of probabilities",
        ("wanted = soft(self.teacher(x), self.tau)", "wanted = F.softmax(self.teacher(x) / self.tau, dim=1)"),
    ),
    plant(
        "sonar_pupil",
        "divergence averaged over classes",
        ('nn.KLDivLoss(reduction="batchmean", log_target=True)', "nn.KLDivLoss(log_target=True)"),
        proven="the default reduction divides by the six classes as well: this is a sixth of the divergence",
    ),
    plant(
        "sonar_pupil",
        "dropout always on",
        (
            "        x = F.dropout(x, p=self.p_drop, training=self.training)\n",
            "        x = nn.Dropout(self.p_drop)(x)\n",
        ),
        proven="a module made anew is in training mode: the teacher is scored, and teaches, with parts dropped",
    ),
    # --- weave_cnn: a class that trains, batch norm, SGD
    plant(
        "weave_cnn",
        "batch norm on tiny batches",
        ("batch_size: int = 48", "batch_size: int = 2"),
        ("epochs: int = 5", "epochs: int = 1"),
        ("lr: float = 0.05", "lr: float = 0.005"),
    ),
    plant(
        "weave_cnn",
        "evaluated in training mode",
        ("        self.net.train(training)\n", "        self.net.training = training\n"),
        proven="the flag is set for the outermost module alone: batch norms normalise test pictures by their own batch",
    ),
    plant(
        "weave_cnn",
        "labels do not belong to inputs",
        (
            "        order = rng.permutation(len(labels))\n"
            "        self.pictures, self.labels = pictures[order], labels[order]\n",
            "        self.pictures, self.labels = rng.permutation(pictures), rng.permutation(labels)\n",
        ),
    ),
    plant(
        "weave_cnn",
        "ReLU on the logits",
        (
            "self.classifier = nn.Linear(2 * width, len(WEAVES))",
            "self.classifier = nn.Sequential(nn.Linear(2 * width, len(WEAVES)), nn.ReLU())",
        ),
        proven="a class whose score falls below zero gets no gradient any more, and no score can be negative",
    ),
    # --- deep_rotor: eight tanh layers, SGD with momentum
    plant("deep_rotor", "deep sigmoid stack", ("x = torch.tanh(layer(x))", "x = torch.sigmoid(layer(x))")),
    plant(
        "deep_rotor",
        "weights start too small",
        ("nn.init.xavier_normal_(layer.weight, gain=1.2)", "nn.init.trunc_normal_(layer.weight, std=0.02)"),
    ),
    plant(
        "deep_rotor",
        "weights start huge",
        ("nn.init.xavier_normal_(layer.weight, gain=1.2)", "nn.init.uniform_(layer.weight, -WIDTH**0.5, WIDTH**0.5)"),
    ),
    plant(
        "deep_rotor",
        "modules in a plain list",
        (
            "self.hidden = nn.ModuleList([nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:])])",
            "self.hidden = [nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:])]",
        ),
    ),
    plant("deep_rotor", "weight decay far too strong", ("0.02, 1e-5, 15, 50", "0.02, 1e-1, 15, 50")),
    # --- demand_quantile: a loss of its own, gathered gradients
    plant(
        "demand_quantile",
        "wrong custom backward",
        ("        return grad_output * slope, None\n", "        return slope, None\n"),
    ),
    plant(
        "demand_quantile",
        "accumulation not divided",
        ("        (loss / args.gather).backward()\n", "        loss.backward()\n"),
    ),
    plant("demand_quantile", "step never taken", ("if (i + 1) % args.gather == 0", "if i + 1 % args.gather == 0")),
    plant(
        "demand_quantile",
        "penalty drowns the loss",
        ('"--l1", type=float, default=1e-6', '"--l1", type=float, default=1e-2'),
    ),
    plant(
        "demand_quantile",
        "overfitting",
        ('"--rows", type=int, default=4096', '"--rows", type=int, default=64'),
        ('"--epochs", type=int, default=10', '"--epochs", type=int, default=1000'),
        ('"--width", type=int, default=48', '"--width", type=int, default=128'),
        ("(epoch + 1) % 2 == 0", "(epoch + 1) % 50 == 0"),
    ),
    # --- tune_titles: two towers
    plant(
        "tune_titles", "temperature multiplied, not divided by", ("a @ b.t() / temperature", "a @ b.t() * temperature")
    ),
    plant(
        "tune_titles",
        "samples mixed",
        ("self.project(h.flatten(1))", "self.project(h.permute(2, 0, 1).reshape(len(contour), -1))"),
    ),
    plant(
        "tune_titles",
        "another model optimised",
        (
            "for epoch in range(5):\n",
            "tune_tower, title_tower = TuneTower(dim=32), TitleTower(dim=32)  # 24 was too few\n"
            "for epoch in range(5):\n",
        ),
    ),
    plant(
        "tune_titles",
        "half precision",
        ("torch.tensor(contour, dtype=torch.float32)", "torch.tensor(contour, dtype=torch.float16)"),
        ("TuneTower(dim=24), TitleTower(dim=24)", "TuneTower(dim=24).half(), TitleTower(dim=24).half()"),
    ),
    # --- digit_mixer: flat, bf16, averaged weights
    plant("digit_mixer", "average slower than the training", ("ema=0.97", "ema=0.9999")),
    plant(
        "digit_mixer",
        "schedule of another length",
        ("total_steps=steps, pct_start", "total_steps=100 * steps, pct_start"),
    ),
    plant(
        "digit_mixer",
        "scored on the training data",
        ("    return images[fit], labels[fit], images[test]", "    return images, labels, images[test]"),
        proven="the digits that are tested are among those trained on",
    ),
)
"""What is planted in the programs of this folder."""
