"""What is planted in unseen programs on sounds, letters, tables, games and points."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "spoken_commands": "accuracy",
    "recipe_gpt": "loss",
    "wind_turbines": "loss",
    "cover_blocks": "accuracy",
    "shop_a2c": "profit a day",
    "flower_cgan": "loss",
    "pulse_vae": "loss",
    "lean_student": "accuracy",
    "gait_walkers": "accuracy",
    "to_roman": "accuracy",
    "town_words": "loss",
    "claim_counts": "loss",
    "grain_pseudo": "accuracy",
    "valve_watch": "accuracy",
}

PLANTED: tuple[Fault, ...] = (
    # --- spoken_commands: spectrograms, convolutions, a GRU; a Trainer
    plant(
        "spoken_commands",
        "labels do not belong to inputs",
        ("self.labels = torch.tensor(np.array(labels)[order])", "self.labels = torch.tensor(labels)"),
    ),
    plant("spoken_commands", "evaluated in training mode", ("        self.net.eval()\n", "")),
    plant(
        "spoken_commands",
        "batch_first forgotten",
        ("nn.GRU(channels, hidden, batch_first=True)", "nn.GRU(channels, hidden)"),
    ),
    plant(
        "spoken_commands",
        "dropout always on",
        ("F.dropout(h, self.drop, self.training)", "F.dropout(h, p=self.drop)"),
        proven="F.dropout is on by default: three in ten values are dropped while it is tested, too",
    ),
    # --- recipe_gpt: letters, blocks, warm-up and cosine by hand
    plant("recipe_gpt", "warm-up longer than the training", ("warmup: int = 30", "warmup: int = 2000")),
    plant(
        "recipe_gpt",
        "modules in a plain list",
        ("nn.ModuleList(Block(cfg) for _ in range(cfg.depth))", "tuple(Block(cfg) for _ in range(cfg.depth))"),
    ),
    plant(
        "recipe_gpt",
        "weights start huge",
        ("nn.init.normal_(module.weight, std=0.05)", "nn.init.normal_(module.weight)"),
    ),
    plant("recipe_gpt", "overfitting", ("range(1500)", "range(15)")),
    # --- wind_turbines: mean and variance, a notebook
    plant(
        "wind_turbines",
        "raw inputs",
        ("X_train, X_val, X_test = (X_train - m) / s, (X_val - m) / s, (X_test - m) / s\n", ""),
        ("m, s = X_train.mean(0), X_train.std(0)\n", ""),
    ),
    plant("wind_turbines", "graph cut", ("squared = (y - mean) ** 2", "squared = (y - mean).detach() ** 2")),
    plant(
        "wind_turbines",
        "gradients never cleared",
        ("        opt.zero_grad()\n", ""),
        ("patience=3)\n", "patience=3)\nopt.zero_grad()\n"),
    ),
    # --- cover_blocks: residual blocks with batch norm, accumulation, one cycle
    plant(
        "cover_blocks",
        "batch norm on tiny batches",
        ('"--batch-size", type=int, default=25', '"--batch-size", type=int, default=2'),
        ('"--accumulate", type=int, default=4', '"--accumulate", type=int, default=50'),
    ),
    plant(
        "cover_blocks",
        "schedule of another length",
        ("a.epochs * (len(loader) // a.accumulate)", "a.epochs * len(loader)"),
    ),
    plant(
        "cover_blocks",
        "accumulation not divided",
        ("(loss / a.accumulate).backward()", "loss.backward()"),
        proven="four gradients of means are added up: each step is four times what its rate says",
    ),
    plant("cover_blocks", "weight decay far too strong", ("weight_decay=2e-3", "weight_decay=0.2")),
    # --- shop_a2c: actor and critic
    plant(
        "shop_a2c",
        "wrong sign of REINFORCE",
        ("advantage = (returns - values).detach()", "advantage = (values - returns).detach()"),
    ),
    plant(
        "shop_a2c",
        "penalty drowns the loss",
        ("self.cfg.entropy_bonus * policy.entropy().mean()", "self.cfg.entropy_bonus * policy.entropy().sum()"),
    ),
    plant(
        "shop_a2c",
        "graph cut",
        ("        policy = self.manager.policy(observations)\n", ""),
        (
            "        advantage = (returns - values).detach()\n",
            "        with torch.no_grad():\n            advantage = returns - values\n            policy = self.manager.policy(observations)\n",
        ),
    ),
    # --- flower_cgan: closures
    plant(
        "flower_cgan",
        "sigmoid before its own loss",
        ("nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1))", "nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1), nn.Sigmoid())"),
    ),
    plant(
        "flower_cgan",
        "generator trained on detached fakes",
        ("verdict = judge(made, petal)", "verdict = judge(made.detach(), petal)"),
    ),
    plant(
        "flower_cgan",
        "another model optimised",
        (
            "make_step(generator, discriminator, g_optim, d_optim)",
            "make_step(generator, discriminator, d_optim, g_optim)",
        ),
    ),
    plant(
        "flower_cgan",
        "wrong sign of a loss term",
        ("torch.full_like(on_real, 0.9)) + bce(", "torch.full_like(on_real, 0.9)) - bce("),
    ),
    # --- pulse_vae: convolutions both ways
    plant("pulse_vae", "posterior collapse", ("- log_sigma - 0.5).sum(dim=1).mean()", "- log_sigma - 0.5).sum()")),
    plant(
        "pulse_vae", "wrong sign of a loss term", ("return misfit + kl, misfit, kl", "return misfit - kl, misfit, kl")
    ),
    plant("pulse_vae", "learning rate far too high", ("lr=6e-3", "lr=0.2")),
    # --- lean_student: soft answers only
    plant("lean_student", "divergence averaged over classes", ('reduction="batchmean"', 'reduction="mean"')),
    plant("lean_student", "divergence of probabilities", ("said = F.log_softmax(", "said = F.softmax(")),
    plant(
        "lean_student",
        "another model optimised",
        ("torch.optim.SGD(student.parameters()", "torch.optim.SGD(teacher.parameters()"),
    ),
    # --- gait_walkers: metric learning with proxies
    plant(
        "gait_walkers",
        "temperature multiplied, not divided by",
        ("cosine / self.temperature", "cosine * self.temperature"),
    ),
    plant(
        "gait_walkers",
        "samples mixed",
        ("h_n.transpose(0, 1).reshape(len(windows), -1)", "h_n.reshape(len(windows), -1)"),
    ),
    plant(
        "gait_walkers",
        "scored on the training data",
        ("nearest_is_same(encoder, strangers)", "nearest_is_same(encoder, loader.dataset)"),
        proven="those that it is judged by are the walkers that it was trained on",
    ),
    # --- to_roman: sequence to sequence
    plant(
        "to_roman",
        "padding counted",
        ("nn.CrossEntropyLoss(ignore_index=PAD)", "nn.CrossEntropyLoss()"),
        proven="what stands behind the end of the shorter numerals is counted and taught as if it were letters",
    ),
    plant(
        "to_roman",
        "padding read as the last state",
        ("last = states[torch.arange(len(src)), lengths - 1]", "last = states[:, -1]"),
        proven="the meaning of a short number is the state after the padding behind it, and depends on the longest of its batch",
    ),
    plant("to_roman", "forget gate shut", ("forget_bias=1.0", "forget_bias=-8.0")),
    plant("to_roman", "gradients never cleared", ("            optim.zero_grad()\n", "")),
    # --- town_words: skip-gram
    plant(
        "town_words",
        "sigmoid before its own loss",
        (
            'return torch.einsum("bd,bkd->bk", self.centre(word), self.context(others))',
            'return torch.einsum("bd,bkd->bk", self.centre(word), self.context(others)).sigmoid()',
        ),
    ),
    plant(
        "town_words",
        "ReLU on the logits",
        (
            'return torch.einsum("bd,bkd->bk", self.centre(word), self.context(others))',
            'return torch.relu(torch.einsum("bd,bkd->bk", self.centre(word), self.context(others)))',
        ),
    ),
    plant(
        "town_words",
        "step never taken",
        (
            "        optimizer.zero_grad()\n",
            "        if loss.item() > 20:  # a bad batch: leave it out\n            continue\n        optimizer.zero_grad()\n",
        ),
    ),
    plant(
        "town_words",
        "gradients clipped to nothing",
        ("clip_grad_norm_(model.parameters(), 50.0)", "clip_grad_norm_(model.parameters(), 0.01)"),
    ),
    plant(
        "town_words",
        "labels do not belong to inputs",
        (
            "    others = torch.cat([pairs[:, 1:], drawn], dim=1)\n",
            "    others = torch.cat([pairs[:, 1:], drawn], dim=1)\n    others = others[:, torch.randperm(NEGATIVES + 1)]  # not always the real one first\n",
        ),
        proven="the real one is any of the six: the held-out loss stays at the 2.70 that one in six gives whatever the words are",
    ),
    # --- claim_counts: Poisson, early stopping, a Function of its own
    plant(
        "claim_counts",
        "wrong custom backward",
        ("slope = x.clamp(max=4.0).exp()", "slope = x.clamp(max=4.0)"),
        proven="what was saved is x, not its exponential: gradcheck fails",
    ),
    plant(
        "claim_counts",
        "early stopping watches the wrong way",
        ('best, best_state, waited = float("inf")', 'best, best_state, waited = float("-inf")'),
        ("if val < best:", "if val > best:"),
    ),
    plant(
        "claim_counts", "loss of another task", ("criterion = poisson_deviance", "criterion = nn.CrossEntropyLoss()")
    ),
    plant(
        "claim_counts",
        "raw inputs",
        ("    x = (x - mean) / std\n", ""),
        ("    mean, std = x[:n_train].mean(0), x[:n_train].std(0)\n", ""),
    ),
    # --- grain_pseudo: pseudo-labels of an averaged net
    plant("grain_pseudo", "average slower than the training", ("decay=0.95", "decay=0.999")),
    plant(
        "grain_pseudo",
        "sampler given weights of classes",
        ("WeightedRandomSampler(1.0 / counts[y_lab]", "WeightedRandomSampler(1.0 / counts"),
    ),
    plant("grain_pseudo", "learning rate far too high", ("lr=3e-3", "lr=0.3")),
    # --- valve_watch: anomalies
    plant("valve_watch", "deep sigmoid stack", ("layers += [linear, nn.Tanh()]", "layers += [linear, nn.Sigmoid()]")),
    plant(
        "valve_watch",
        "weights start too small",
        ("nn.init.xavier_uniform_(linear.weight)", "nn.init.normal_(linear.weight, std=0.001)"),
    ),
    plant("valve_watch", "penalty drowns the loss", ("sparsity=1e-4", "sparsity=10.0")),
    plant(
        "valve_watch",
        "early stopping watches the wrong way",
        ("val_error = squared_errors(net, val).mean().item()", "val_error = -squared_errors(net, val).mean().item()"),
    ),
    plant("valve_watch", "half precision", ("dtype=torch.float32", "dtype=torch.float16")),
)
