"""Planted in twelve programs that nobody saw."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "gesture_tcn": "accuracy",
    "byte_lm": "loss",
    "ordinal_grades": "loss",
    "credit_default": "accuracy",
    "offer_bandit": "chance that the offer is taken",
    "lsgan_pinwheel": "loss",
    "beta_vae_digits": "loss",
    "slot_tagger": "accuracy",
    "committee_distill": "loss",
    "sales_seq2seq": "loss",
    "twin_digits": "accuracy",
    "molecule_energy": "loss",
}

PLANTED: tuple[Fault, ...] = (
    # --- gesture_tcn: padded streams, causal convolutions, one cycle, trainer class
    plant(
        "gesture_tcn",
        "padding read as the last state",
        ("        final = x[torch.arange(len(x)), :, lengths - 1]\n", "        final = x[:, :, -1]\n"),
        proven="the last step of the padded batch is padding for all but the longest recording of it",
    ),
    plant(
        "gesture_tcn",
        "modules in a plain list",
        ("        self.blocks = nn.ModuleList(blocks)\n", "        self.blocks = blocks\n"),
    ),
    plant(
        "gesture_tcn",
        "schedule of another length",
        (
            "        total = settings.epochs * len(self.train_loader)\n",
            "        total = settings.epochs * len(train)\n",
        ),
        proven="the cycle is counted in recordings, not in batches: the training ends long before the rate has risen",
    ),
    plant(
        "gesture_tcn",
        "raw inputs",
        ("        train.standardise(mean, std)\n        val.standardise(mean, std)\n", ""),
        ("        mean, std = train.statistics()\n", ""),
    ),
    # --- byte_lm: chrono start, warm-up and cosine, clipping
    plant(
        "byte_lm",
        "gradients clipped to nothing",
        ('"--clip", type=float, default=1.0', '"--clip", type=float, default=1e-9'),
    ),
    plant(
        "byte_lm",
        "warm-up longer than the training",
        ('"--warmup", type=int, default=20', '"--warmup", type=int, default=4000'),
    ),
    plant(
        "byte_lm",
        "batch_first forgotten",
        ("nn.LSTM(dim, hidden, batch_first=True)", "nn.LSTM(input_size=dim, hidden_size=hidden)"),
    ),
    # --- ordinal_grades: flat, eight tanh layers, cumulative logits
    plant(
        "ordinal_grades",
        "sigmoid before its own loss",
        ("    return net(x) - cut\n", "    return torch.sigmoid(net(x) - cut)\n"),
        ("(out > 0).sum(1)", "(out > 0.5).sum(1)"),
    ),
    plant(
        "ordinal_grades", "deep sigmoid stack", ("layers += [linear, nn.Tanh()]", "layers += [linear, nn.Sigmoid()]")
    ),
    plant(
        "ordinal_grades",
        "weights start too small",
        (
            "    nn.init.xavier_normal_(linear.weight)\n",
            "    nn.init.normal_(linear.weight, std=0.02)\n",
        ),
    ),
    plant(
        "ordinal_grades",
        "weight decay far too strong",
        (
            "torch.optim.AdamW(weights, lr=1.5e-3, weight_decay=0.05",
            "torch.optim.Adam(weights, lr=1.5e-3, weight_decay=0.5",
        ),
    ),
    plant(
        "ordinal_grades",
        "loss of another task",
        (
            'F.binary_cross_entropy_with_logits(logits, above, reduction="none").sum(1).mean()',
            "F.cross_entropy(logits, above)",
        ),
    ),
    # --- credit_default: sampler, early stopping, embeddings
    plant(
        "credit_default",
        "sampler given weights of classes",
        (
            "WeightedRandomSampler(per_class[default], num_samples=len(train_set))",
            "WeightedRandomSampler(per_class, num_samples=len(train_set))",
        ),
    ),
    plant(
        "credit_default",
        "early stopping watches the wrong way",
        ("    best, best_state, waited = 0.0, None, 0\n", '    best, best_state, waited = float("inf"), None, 0\n'),
        ("        if now > best:\n", "        if now < best:\n"),
    ),
    plant(
        "credit_default",
        "dropout always on",
        ("F.dropout(F.relu(self.fc1(x)), self.drop, self.training)", "F.dropout(F.relu(self.fc1(x)), self.drop)"),
        ("F.dropout(F.relu(self.fc2(x)), self.drop, self.training)", "F.dropout(F.relu(self.fc2(x)), self.drop)"),
        proven="F.dropout drops unless told not to: loans are scored with a random part of the network missing",
    ),
    plant(
        "credit_default",
        "scored on the training data",
        (
            "    test_set = as_dataset(*make_loans(2000, seed=3), mean, std)\n",
            "    test_set = as_dataset(*make_loans(6000, seed=1), mean, std)\n",
        ),
        proven="the same seed draws the same loans as for training",
    ),
    # --- offer_bandit: agent class
    plant(
        "offer_bandit",
        "wrong sign of REINFORCE",
        ("advantage = reward - value.detach()", "advantage = value.detach() - reward"),
    ),
    plant(
        "offer_bandit",
        "step never taken",
        (
            "        nn.utils.clip_grad_norm_(self.parameters, 1.0)\n        self.optimizer.step()\n",
            "        if nn.utils.clip_grad_norm_(self.parameters, 1.0) > 100.0:\n            self.optimizer.step()\n",
        ),
    ),
    plant(
        "offer_bandit",
        "graph cut",
        (
            "        policy, value = self.look(x)\n        offer = policy.sample()\n",
            "        with torch.no_grad():\n            policy, _ = self.look(x)\n            offer = policy.sample()\n        _, value = self.look(x)\n",
        ),
    ),
    plant(
        "offer_bandit",
        "wrong sign of a loss term",
        ("policy_loss + 0.5 * value_loss", "policy_loss - 0.5 * value_loss"),
    ),
    # --- lsgan_pinwheel: two optimisers, averaged generator, flat
    plant(
        "lsgan_pinwheel",
        "generator trained on detached fakes",
        (
            "    fake = G(torch.randn(BATCH, NOISE_DIM))\n",
            "    with torch.no_grad():\n        fake = G(torch.randn(BATCH, NOISE_DIM))\n",
        ),
    ),
    plant(
        "lsgan_pinwheel",
        "another model optimised",
        ("opt_g = torch.optim.Adam(G.parameters()", "opt_g = torch.optim.Adam(G_mean.parameters()"),
    ),
    plant(
        "lsgan_pinwheel", "gradients never cleared", ("    opt_d.zero_grad()\n", ""), ("    opt_g.zero_grad()\n", "")
    ),
    plant(
        "lsgan_pinwheel",
        "average slower than the training",
        ("STEPS, KEEP = 3, 4, 128, 1200, 0.99", "STEPS, KEEP = 3, 4, 128, 1200, 0.9999"),
    ),
    plant(
        "lsgan_pinwheel",
        "learning rate far too high",
        ("lr=1e-3, betas", "lr=0.1, betas"),
        ("lr=2e-3, betas", "lr=0.2, betas"),
    ),
    # --- beta_vae_digits
    plant("beta_vae_digits", "posterior collapse", ("beta * divergence.mean()", "beta * divergence.sum()")),
    plant(
        "beta_vae_digits",
        "wrong sign of a loss term",
        ("missed.mean() + beta * divergence.mean()", "missed.mean() - beta * divergence.mean()"),
    ),
    plant("beta_vae_digits", "learning rate far too high", ("lr=3e-3", "lr=3e-1")),
    plant(
        "beta_vae_digits",
        "overfitting",
        ("test_size=0.25", "test_size=0.97"),
        ("EPOCHS = 6, 1.2, 6, 25", "EPOCHS = 6, 1.2, 6, 700"),
        ("step_size=10, gamma=0.5", "step_size=700, gamma=0.5"),
        ("epoch % 4 == 0", "epoch % 100 == 99"),
    ),
    # --- slot_tagger: packed sequences, ignored padding, accumulation
    plant(
        "slot_tagger",
        "padding counted",
        (
            "        gold = pad_sequence([tags[i] for i in chosen], batch_first=True, padding_value=IGNORE)\n",
            "        gold = pad_sequence([tags[i] for i in chosen], batch_first=True)\n",
        ),
        proven="tags are padded with 0, which is the tag O: the loss is averaged over padding as well",
    ),
    plant("slot_tagger", "step never taken", ("if i % ACCUMULATE == 0:", "if i % ACCUMULATE == ACCUMULATE:")),
    plant(
        "slot_tagger",
        "accumulation not divided",
        ("            (loss / ACCUMULATE).backward()\n", "            loss.backward()\n"),
        ("MICRO, ACCUMULATE = 8, 4", "MICRO, ACCUMULATE = 2, 16"),
    ),
    # --- committee_distill
    plant(
        "committee_distill",
        "divergence of probabilities",
        ("F.kl_div(F.log_softmax(logits / T, dim=1)", "F.kl_div(F.softmax(logits / T, dim=1)"),
    ),
    plant(
        "committee_distill",
        "divergence averaged over classes",
        ('reduction="batchmean"', 'reduction="mean"'),
        proven='reduction="mean" divides by the ten classes as well: the committee counts a tenth of what it should',
    ),
    plant(
        "committee_distill",
        "temperature multiplied, not divided by",
        ("F.log_softmax(logits / T, dim=1)", "F.log_softmax(logits * T, dim=1)"),
    ),
    plant(
        "committee_distill",
        "ReLU on the logits",
        ("        return self.last(h)\n", "        return F.relu(self.last(h))\n"),
    ),
    plant(
        "committee_distill",
        "dropout always on",
        ("F.dropout(h, self.drop, training=self.training)", "F.dropout(h, self.drop)"),
        proven="F.dropout drops unless told not to: teachers and student are used and scored with random parts missing",
    ),
    # --- sales_seq2seq
    plant(
        "sales_seq2seq",
        "half precision",
        ("    model = Forecaster(hidden=40)\n", "    model = Forecaster(hidden=40).half()\n"),
        ("np.concatenate(a), dtype=torch.float32)", "np.concatenate(a), dtype=torch.float16)"),
    ),
    plant(
        "sales_seq2seq",
        "overfitting",
        ("AHEAD, SHOPS, DAYS = 28, 7, 30, 420", "AHEAD, SHOPS, DAYS = 28, 7, 4, 420"),
        ("split = 330", "split = 80"),
        ("hidden=40", "hidden=128"),
        ("epochs=12", "epochs=300"),
        ("gamma=0.85", "gamma=0.997"),
    ),
    plant(
        "sales_seq2seq",
        "samples mixed",
        ("        return torch.stack(days, dim=1)\n", "        return torch.stack(days).view(len(past), AHEAD)\n"),
    ),
    plant(
        "sales_seq2seq",
        "scored on the training data",
        ("late_target = windows(z, offer, split, DAYS)", "late_target = windows(z, offer, 0, split)"),
        proven="the weeks it is checked on are those it is trained on",
    ),
    # --- twin_digits
    plant(
        "twin_digits",
        "batch norm on tiny batches",
        ('"--batch-size", type=int, default=48', '"--batch-size", type=int, default=2'),
        ('"--epochs", type=int, default=8', '"--epochs", type=int, default=2'),
        ('"--lr", type=float, default=2e-3', '"--lr", type=float, default=5e-4'),
    ),
    plant(
        "twin_digits",
        "evaluated in training mode",
        ("        self.net.eval()\n", ""),
        proven="the batch norms normalise test pairs by their own batch, and take their statistics into the running ones",
    ),
    plant(
        "twin_digits",
        "labels do not belong to inputs",
        (
            "    order = np.random.default_rng(23)",
            "    images = images[torch.randperm(len(images))]\n    order = np.random.default_rng(23)",
        ),
    ),
    plant(
        "twin_digits",
        "another model optimised",
        ("torch.optim.AdamW(self.net.parameters()", "torch.optim.AdamW(Embedder(args.dim).parameters()"),
    ),
    # --- molecule_energy
    plant(
        "molecule_energy",
        "wrong custom backward",
        ("return grad_output * torch.sigmoid(x)", "return torch.sigmoid(x)"),
    ),
    plant(
        "molecule_energy",
        "samples mixed",
        ("        edges.append(bonds + offset)\n", "        edges.append(bonds)\n"),
        ("        offset += len(atoms)\n", ""),
    ),
    plant(
        "molecule_energy",
        "weights start huge",
        (
            "        self.readout = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))\n",
            "        self.readout = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))\n        for p in self.parameters():\n            nn.init.normal_(p)\n",
        ),
    ),
    plant(
        "molecule_energy",
        "modules in a plain list",
        ("nn.ModuleList(Interaction(dim) for _ in range(rounds))", "[Interaction(dim) for _ in range(rounds)]"),
    ),
    plant(
        "molecule_energy",
        "penalty drowns the loss",
        (
            "            loss.backward()\n",
            "            loss = loss + 0.1 * sum(p.norm() for p in net.parameters())\n            loss.backward()\n",
        ),
    ),
)
