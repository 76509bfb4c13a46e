"""Planted faults over programs of this folder."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "shape_trainer": "accuracy",
    "scratch_masks": "accuracy",
    "click_wide_deep": "loss",
    "next_track": "accuracy",
    "recipe_tags": "accuracy",
    "gesture_encoder": "accuracy",
    "point_diffusion": "loss",
    "coin_rooms": "return",
    "club_graphs": "accuracy",
    "beat_infonce": "accuracy",
    "review_bilstm": "accuracy",
    "patch_upscale": "loss",
    "plant_experts": "loss",
    "regime_filter": "accuracy",
}

PLANTED: tuple[Fault, ...] = (
    # --- shape_trainer: residual network, Trainer with hooks, BatchSampler
    plant(
        "shape_trainer",
        "rate falls to zero",
        (
            "    def on_epoch_end(self, trainer):\n        self.schedule.step()\n",
            "    def on_batch_end(self, trainer):\n        self.schedule.step()\n",
        ),
    ),
    plant(
        "shape_trainer",
        "batch norm momentum misread",
        (
            "        self.norm1 = nn.BatchNorm2d(c_out)\n",
            "        self.norm1 = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.99)\n",
        ),
        (
            "        self.norm2 = nn.BatchNorm2d(c_out)\n",
            "        self.norm2 = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.99)\n",
        ),
        proven="0.99 is Keras' share of the old value; here it is that of the new one, and the running statistics are those of the last batch",
    ),
    plant(
        "shape_trainer",
        "training mode not restored",
        ("        self.model.train()\n        return hits / total", "        return hits / total"),
        proven="after the first epoch the batch norms normalise by running statistics that no longer change, and there is no dropout",
    ),
    plant(
        "shape_trainer",
        "sorted and not shuffled",
        ("DataLoader, Dataset, RandomSampler", "DataLoader, Dataset, SequentialSampler"),
        ("BatchSampler(RandomSampler(train_set)", "BatchSampler(SequentialSampler(train_set)"),
    ),
    # --- scratch_masks: dilated convolutions, prior in the last bias, batches cut by hand
    plant(
        "scratch_masks",
        "image augmented without its mask",
        (
            "    both = torch.cat([photo, mask], dim=1).rot90(turns, (2, 3))\n",
            "    both = torch.cat([photo.rot90(turns, (2, 3)), mask], dim=1)\n",
        ),
    ),
    plant(
        "scratch_masks",
        "dead ReLU",
        (
            "    nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))\n",
            "    for layer in net:\n        if isinstance(layer, nn.Conv2d):\n            nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))\n",
        ),
    ),
    plant(
        "scratch_masks",
        "collapse to one class",
        ("    weight = 1 + 2 * mask\n", "    weight = mask\n"),
    ),
    plant(
        "scratch_masks",
        "train and validation scaled differently",
        ("val_photos = (val_photos - mu) / sigma\n", "val_photos = val_photos / 255\n"),
    ),
    # --- click_wide_deep: two optimizers, dataclass, three periods
    plant(
        "click_wide_deep",
        "part not optimised",
        ('if not name.startswith("wide")]', 'if name.startswith("deep")]'),
        proven="the two tables of embeddings stay as they were drawn",
    ),
    plant(
        "click_wide_deep",
        "scaled twice",
        (
            "    scaler = StandardScaler().fit(present.numeric)\n",
            "    scaler = StandardScaler().fit(present.numeric)\n    present.numeric, later.numeric = scaler.transform(present.numeric), scaler.transform(later.numeric)\n",
        ),
    ),
    plant("click_wide_deep", "broadcast loss", ("torch.tensor(log.clicked)", "torch.tensor(log.clicked).unsqueeze(1)")),
    plant(
        "click_wide_deep",
        "target among the inputs",
        ("    rates = past_rates(past)\n", "    rates = past_rates(present)\n"),
    ),
    plant(
        "click_wide_deep",
        "gradients cleared before the step",
        (
            "            for optimizer in optimizers:\n                optimizer.zero_grad()\n            loss.backward()\n            for optimizer in optimizers:\n                optimizer.step()\n",
            "            loss.backward()\n            for optimizer in optimizers:\n                optimizer.zero_grad()\n                optimizer.step()\n",
        ),
    ),
    # --- next_track: SASRec, Noam schedule, argparse
    plant("next_track", "learning rate far too low", ("lr=1.0, betas", "lr=1e-3, betas")),
    plant(
        "next_track",
        "future seen",
        (
            "torch.tril(torch.ones(length, length, dtype=torch.bool))",
            "torch.tril(torch.ones(length, length, dtype=torch.bool), diagonal=1)",
        ),
    ),
    plant(
        "next_track",
        "targets not shifted",
        ("inputs, targets = batch[:, :-1], batch[:, 1:]", "inputs, targets = batch[:, :-1], batch[:, :-1]"),
    ),
    plant(
        "next_track",
        "attention softmax over a wrong dimension",
        ("torch.softmax(scores, dim=-1)", "torch.softmax(scores, dim=-2)"),
        proven="the weights of a query over its keys do not add up to one, and depend on later queries",
    ),
    # --- recipe_tags: padded lists, own reduction of the loss, SGD
    plant(
        "recipe_tags",
        "padding pooled as if it were data",
        (
            "        real = (items != 0).float().unsqueeze(2)\n        h = self.each(self.table(items)) * real\n        pooled = h.sum(1) / real.sum(1).clamp(min=1)\n",
            "        h = self.each(self.table(items))\n        pooled = h.mean(1)\n",
        ),
        proven="what is said of a recipe depends on the longest recipe of its batch",
    ),
    plant("recipe_tags", "too much dropout", ("nn.Dropout(1 - keep)", "nn.Dropout(keep)")),
    plant("recipe_tags", "not a number", ("real.sum(1).clamp(min=1)", "real.sum(1)")),
    plant("recipe_tags", "sum in place of mean", ("per_tag.sum(dim=1).mean()", "per_tag.sum()")),
    # --- gesture_encoder: nn.TransformerEncoder, class token, log-softmax in the model, warm-up and cosine
    plant(
        "gesture_encoder",
        "parameter not registered",
        (
            "        self.position = nn.Parameter(torch.zeros(1, cfg.time, cfg.dim))\n        nn.init.trunc_normal_(self.position, std=0.02)\n",
            "        self.position = nn.init.trunc_normal_(torch.zeros(1, cfg.time, cfg.dim), std=0.02).requires_grad_()\n",
        ),
    ),
    plant(
        "gesture_encoder",
        "layer made in forward",
        ("        self.embed = nn.Linear(axes, cfg.dim)\n", ""),
        (
            "        x = self.embed(signal) + self.position\n",
            "        embed = nn.Linear(signal.size(-1), cfg.dim)\n        x = embed(signal) + self.position\n",
        ),
    ),
    plant(
        "gesture_encoder",
        "log-softmax missing",
        ("nn.Sequential(nn.Linear(cfg.dim, classes), nn.LogSoftmax(dim=1))", "nn.Linear(cfg.dim, classes)"),
        proven="the loss is the negative of a raw score: it has no floor and does not make the other classes unlikely",
    ),
    # --- point_diffusion: flat, averaged weights
    plant(
        "point_diffusion",
        "weight average never updated",
        (
            "            mean.copy_(self.decay * mean + (1 - self.decay) * now)\n",
            "            mean = self.decay * mean + (1 - self.decay) * now\n",
        ),
    ),
    plant(
        "point_diffusion",
        "noise added in place to the clean picture",
        ("noisy = points * signal + noise * spread", "noisy = points.mul_(signal).add_(noise * spread)"),
    ),
    plant(
        "point_diffusion",
        "no nonlinearity",
        ("h = self.act(layer(h) + when)", "h = layer(h) + when"),
        ("        self.act = nn.SiLU()\n", ""),
    ),
    plant(
        "point_diffusion",
        "output cannot reach the targets",
        ("return self.leave(h)", "return torch.tanh(self.leave(h))"),
    ),
    # --- coin_rooms: n-step double DQN on a grid, argparse
    plant(
        "coin_rooms",
        "target network never updated",
        ('"--sync-every", type=int, default=50', '"--sync-every", type=int, default=10_000'),
    ),
    plant(
        "coin_rooms",
        "returns summed the wrong way",
        ("in reversed(rewards[start:stop])", "in rewards[start:stop]"),
        proven="the first reward is discounted most and the last not at all",
    ),
    plant(
        "coin_rooms",
        "broadcast loss",
        (".gather(1, moves.unsqueeze(1)).squeeze(1)\n", ".gather(1, moves.unsqueeze(1))\n"),
    ),
    # --- club_graphs: padded graphs, message passing, one-cycle
    plant(
        "club_graphs",
        "argument in wrong slot",
        ("        self.act = nn.LeakyReLU(0.1)\n", "        self.act = nn.LeakyReLU(True)\n"),
    ),
    plant(
        "club_graphs",
        "weights start alike",
        (
            "        nn.init.xavier_uniform_(module.weight)\n",
            "        module.weight.data.fill_(1 / module.in_features)\n",
        ),
    ),
    plant(
        "club_graphs",
        "softmax before cross entropy",
        ("        return self.readout(pooled)\n", "        return self.readout(pooled).softmax(dim=-1)\n"),
        proven="the loss cannot fall below log(1 + 2/e), and gradients are those of a softmax of a softmax",
    ),
    # --- beat_infonce: InfoNCE, then a linear probe
    plant(
        "beat_infonce",
        "contrastive loss without negatives",
        (
            "    logits = a @ b.t() / temperature\n    target = torch.arange(len(a))\n    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2\n",
            "    return -(a * b).sum(dim=1).mean() / temperature\n",
        ),
    ),
    plant(
        "beat_infonce",
        "part not optimised",
        (
            "optim.Adam([*encoder.parameters(), *projector.parameters()], lr=cfg.lr)",
            "optim.Adam(projector.parameters(), lr=cfg.lr)",
        ),
    ),
    plant("beat_infonce", "random part frozen", ("    encoder.load_state_dict(weights)\n", "")),
    # --- review_bilstm: packed sequences, functional dropout, accumulated gradients
    plant(
        "review_bilstm",
        "accumulation clears each micro batch",
        (
            "            loss = loss_fn(model(words, lengths), labels)\n",
            "            optimizer.zero_grad()\n            loss = loss_fn(model(words, lengths), labels)\n",
        ),
        proven="of four small batches only the last one's gradient is left, a quarter of it at that",
    ),
    plant(
        "review_bilstm",
        "argument in wrong slot",
        (
            "F.dropout(self.embedding(words), p=self.p, training=self.training)",
            "F.dropout(self.embedding(words), self.training)",
        ),
    ),
    plant(
        "review_bilstm",
        "gradients cleared before the step",
        (
            "                nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n                optimizer.step()\n                optimizer.zero_grad()\n",
            "                optimizer.zero_grad()\n                nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n                optimizer.step()\n",
        ),
    ),
    # --- patch_upscale: deep plain convolutions with He initialisation, notebook
    plant(
        "patch_upscale",
        "deep ReLU stack, default start",
        (
            '        for conv in [self.first, *self.middle]:\n            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")\n            nn.init.zeros_(conv.bias)\n',
            "",
        ),
    ),
    plant(
        "patch_upscale",
        "output cannot reach the targets",
        ("return blurred + self.last(h)", "return blurred + F.relu(self.last(h))"),
    ),
    plant(
        "patch_upscale",
        "learning rate far too low",
        ("torch.optim.Adam(upscaler.parameters(), lr=1.5e-3)", "torch.optim.SGD(upscaler.parameters(), lr=1.5e-3)"),
    ),
    # --- plant_experts: mixture of experts with a Gaussian likelihood
    plant(
        "plant_experts",
        "deviation given for variance",
        ("self.criterion(mean, y, deviation**2)", "self.criterion(mean, y, deviation)"),
    ),
    plant(
        "plant_experts",
        "weights start alike",
        (
            "        self.experts = nn.ModuleList([self.expert(n_in, width) for _ in range(n_experts)])\n",
            "        expert = self.expert(n_in, width)\n        self.experts = nn.ModuleList([copy.deepcopy(expert) for _ in range(n_experts)])\n",
        ),
    ),
    plant(
        "plant_experts",
        "no nonlinearity",
        (
            "nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, 2))",
            "nn.Sequential(nn.Linear(n_in, width), nn.Linear(width, 2))",
        ),
    ),
    # --- regime_filter: a state carried over windows, SGD by hand
    plant(
        "regime_filter",
        "state never detached",
        ("        if hidden is not None:\n            hidden = hidden.detach()\n", ""),
        ("        loss.backward()\n", "        loss.backward(retain_graph=True)\n"),
        proven="each backward goes through every window since the start of the epoch again, with weights that have moved since",
    ),
    plant(
        "regime_filter",
        "softmax over the batch",
        ("nn.LogSoftmax(dim=-1)", "nn.LogSoftmax()"),
        proven="without a dim, three-dimensional scores are normalised over the first, the streams; torch warns of it",
    ),
    plant("regime_filter", "class weights inverted", ("counts.sum() / (3 * counts)", "3 * counts / counts.sum()")),
    plant(
        "regime_filter",
        "rate falls to zero",
        ("        total += loss.item()\n    lr *= 0.9\n", "        total += loss.item()\n        lr *= 0.9\n"),
    ),
)
