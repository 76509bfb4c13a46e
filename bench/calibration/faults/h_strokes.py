"""What is planted in twelve more programs that no rule or threshold was made with: strokes, ovens, trams, menus."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "whale_calls": "accuracy",
    "cistern_level": "loss",
    "abacus_lm": "accuracy",
    "leaf_veins": "overlap",
    "moco_strokes": "accuracy",
    "bread_oven": "loss",
    "egg_candling": "accuracy",
    "star_plates": "loss",
    "arrow_throws": "loss",
    "tram_driver": "comfort",
    "lift_dqn": "return",
    "menu_courses": "accuracy",
}
"""The last number that each program prints: of a loss or an error rate less is better, of all else more."""

PLANTED: tuple[Fault, ...] = (
    # --- whale_calls: packed contours, weighted classes
    plant(
        "whale_calls",
        "padding read as the last state",
        (
            "        packed = pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)\n"
            "        _, state = self.gru(packed)\n",
            "        _, state = self.gru(frames)\n",
        ),
        (
            "from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence\n",
            "from torch.nn.utils.rnn import pad_sequence\n",
        ),
        proven="the state is that after the padding, whose length depends on the other calls of the batch",
    ),
    plant(
        "whale_calls", "class weights inverted", ("(counts.sum() / counts).sqrt()", "(counts / counts.sum()).sqrt()")
    ),
    plant(
        "whale_calls",
        "weight decay far too strong",
        (
            "torch.optim.Adam(model.parameters(), lr=cfg.lr)",
            "torch.optim.Adam(model.parameters(), lr=cfg.lr, weight_decay=cfg.decay)",
        ),
        ("    clip: float = 1.0\n", "    clip: float = 1.0\n    decay: float = 0.1\n"),
    ),
    # --- cistern_level: an LSTM whose state goes from window to window
    plant("cistern_level", "batch_first forgotten", ("nn.LSTM(2, hidden, batch_first=True)", "nn.LSTM(2, hidden)")),
    plant(
        "cistern_level",
        "output cannot reach the targets",
        ("return self.out(h).squeeze(-1), state", "return torch.sigmoid(self.out(h)).squeeze(-1), state"),
    ),
    plant(
        "cistern_level",
        "rate falls to zero",
        (
            "optim.lr_scheduler.CosineAnnealingLR(opt, T_max=DAYS * (SECONDS // WINDOW))",
            "optim.lr_scheduler.ExponentialLR(opt, gamma=0.8)",
        ),
    ),
    # --- abacus_lm: a causal Transformer, padded sums
    plant(
        "abacus_lm",
        "padding counted",
        (
            "        target[row, equals : len(codes) - 1] = codes[equals + 1 :]\n",
            "        target[row, equals : len(codes) - 1] = codes[equals + 1 :]\n        target[row, len(codes) - 1 :] = PAD\n",
        ),
        proven="the underscores after the end of a sum are targets like its letters",
    ),
    plant(
        "abacus_lm",
        "future seen",
        (
            "        later = torch.ones(t, t, dtype=torch.bool).triu(1)\n",
            "        later = torch.ones(t, t, dtype=torch.bool).triu(t)\n",
        ),
        proven="no place is masked: each reads the letter that it has to foretell",
    ),
    plant(
        "abacus_lm",
        "attention softmax over a wrong dimension",
        ('float("-inf")), dim=-1)', 'float("-inf")), dim=-2)'),
        proven="over the queries: the weights of a query do not sum to one over its keys, and a key's depend on later queries",
    ),
    plant(
        "abacus_lm",
        "warm-up longer than the training",
        ('"--warmup", type=int, default=60)', '"--warmup", type=int, default=4000)'),
    ),
    plant(
        "abacus_lm",
        "targets not shifted",
        (
            "        target[row, equals : len(codes) - 1] = codes[equals + 1 :]\n",
            "        target[row, equals + 1 : len(codes)] = codes[equals + 1 :]\n",
        ),
        proven="at each place the target is the letter that stands there in the inputs",
    ),
    # --- leaf_veins: masks, flips, two losses in one, gathered gradients
    plant(
        "leaf_veins",
        "image augmented without its mask",
        (
            "                picture, mask = picture.flip(0), mask.flip(0)\n",
            "                picture = picture.flip(0)\n",
        ),
        (
            "                picture, mask = picture.flip(1), mask.flip(1)\n",
            "                picture = picture.flip(1)\n",
        ),
    ),
    plant(
        "leaf_veins",
        "wrong sign of a loss term",
        ("0.5 * (1 - overlap(logits.sigmoid(), mask).mean())", "overlap(logits.sigmoid(), mask).mean()"),
    ),
    plant(
        "leaf_veins",
        "accumulation clears each micro batch",
        (
            "                optimizer.step()\n                optimizer.zero_grad()\n",
            "                optimizer.step()\n",
        ),
        ("            loss.backward()\n", "            optimizer.zero_grad()\n            loss.backward()\n"),
        proven="the gradients of the first batch of each pair are thrown away: every second batch is never learned from",
    ),
    plant(
        "leaf_veins",
        "sum in place of mean",
        (
            "F.binary_cross_entropy_with_logits(logits, mask)",
            'F.binary_cross_entropy_with_logits(logits, mask, reduction="sum")',
        ),
    ),
    plant(
        "leaf_veins",
        "train and validation scaled differently",
        (
            "Leaves(pictures[650:], masks[650:], centre, spread, augment=False)",
            "Leaves(pictures[650:] / 255, masks[650:], centre, spread, augment=False)",
        ),
    ),
    # --- moco_strokes: a queue of keys, a slow encoder
    plant(
        "moco_strokes",
        "temperature multiplied, not divided by",
        ("torch.cat([own, others], dim=1) / self.temperature", "torch.cat([own, others], dim=1) * self.temperature"),
        proven="similarities between -1 and 1 become logits between -0.1 and 0.1: the loss cannot fall below 6.0 of ln 513 = 6.2",
    ),
    plant(
        "moco_strokes",
        "weight average never updated",
        ("slow.lerp_(fast, 1 - self.momentum)", "slow.lerp(fast, 1 - self.momentum)"),
    ),
    plant("moco_strokes", "average slower than the training", ("momentum=0.98", "momentum=0.99999")),
    plant(
        "moco_strokes",
        "contrastive loss without negatives",
        (
            "        others = q @ self.queue.T\n        logits = torch.cat([own, others], dim=1) / self.temperature\n",
            "        logits = own / self.temperature\n",
        ),
        (
            "        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))\n",
            "        return -logits.mean()\n",
        ),
        proven="only likeness to the own key is rewarded: nothing keeps strokes of different kinds apart",
    ),
    # --- bread_oven: a gradient written by hand
    plant(
        "bread_oven",
        "wrong custom backward",
        ("        return grad * ((x >= 0) & (x <= 1))\n", "        return ((x >= 0) & (x <= 1)).to(x.dtype)\n"),
    ),
    plant(
        "bread_oven",
        "train and validation scaled differently",
        ("y_train, normal(val), y_val, epochs", "y_train, val, y_val, epochs"),
    ),
    plant(
        "bread_oven",
        "output cannot reach the targets",
        ("Levels(), nn.Linear(width, 1))", "Levels(), nn.Linear(width, 1), Levels())"),
    ),
    plant(
        "bread_oven",
        "scored on the training data",
        ("normal(val), y_val, epochs=30", "normal(train), y_train, epochs=30"),
        proven="what is called validation is the training rows and their energies; the held-out rows are never looked at",
    ),
    # --- egg_candling: a sampler, the best epoch kept
    plant("egg_candling", "sampler given weights of classes", ("(1.0 / counts)[train[1]]", "1.0 / counts")),
    plant(
        "egg_candling",
        "early stopping watches the wrong way",
        ("score > self.best", "score < self.best"),
        proven="the weights of the worst epoch are kept and loaded at the end",
    ),
    plant("egg_candling", "class weights inverted", ("(1.0 / counts)[train[1]]", "(counts / counts.sum())[train[1]]")),
    plant(
        "egg_candling",
        "scored on the training data",
        ("candler.score(*test)", "candler.score(*train)"),
        proven="the eggs that are scored are those that were learned from; the test eggs are never looked at",
    ),
    # --- star_plates: clean pictures and noisy ones, an averaged model
    plant(
        "star_plates",
        "noise added in place to the clean picture",
        (
            "    return plates + level * torch.randn_like(plates)\n",
            "    plates += level * torch.randn_like(plates)\n    return plates\n",
        ),
        proven="the clean plates become the noisy ones: input and target are one tensor, in training and in validation",
    ),
    plant("star_plates", "weight average never updated", ("        average.update_parameters(model)\n", "")),
    plant(
        "star_plates",
        "average slower than the training",
        ("get_ema_multi_avg_fn(0.97)", "get_ema_multi_avg_fn(0.9995)"),
    ),
    plant(
        "star_plates", "rate falls to zero", ("total_iters=STEPS, power=0.9", "total_iters=PLATES // BATCH, power=0.9")
    ),
    # --- arrow_throws: a conditional VAE
    plant(
        "arrow_throws",
        "posterior collapse",
        ("loss = (misfit + divergence).mean()", "loss = misfit.mean() / height.numel() + divergence.mean()"),
    ),
    plant(
        "arrow_throws",
        "wrong sign of a loss term",
        ("loss = (misfit + divergence).mean()", "loss = (misfit - divergence).mean()"),
    ),
    plant(
        "arrow_throws",
        "penalty drowns the loss",
        (
            "loss = (misfit + divergence).mean()",
            "loss = (misfit + divergence).mean() + sum(p.square().sum() for p in vae.parameters())",
        ),
    ),
    # --- tram_driver: REINFORCE
    plant(
        "tram_driver",
        "wrong sign of REINFORCE",
        ("loss = -(log_probs * advantage).mean()", "loss = (log_probs * advantage).mean()"),
    ),
    plant(
        "tram_driver",
        "returns summed the wrong way",
        ("    for reward in reversed(rewards):\n", "    for reward in rewards:\n"),
        ("        out.insert(0, total)\n", "        out.append(total)\n"),
        proven="a choice is credited with what came before it and at once, and with nothing that comes after it",
    ),
    plant(
        "tram_driver",
        "penalty drowns the loss",
        ("- 0.01 * entropy.mean()", "- 10 * entropy.mean()"),
    ),
    # --- lift_dqn: Q-learning, a target network that is copied now and then
    plant(
        "lift_dqn",
        "target network never updated",
        ("target.load_state_dict(online.state_dict())", "target.state_dict().update(online.state_dict())"),
    ),
    plant("lift_dqn", "weight decay far too strong", ("lr=1.5e-3)", "lr=1.5e-3, weight_decay=0.1)")),
    # --- menu_courses: an average of words, gathered gradients
    plant(
        "menu_courses",
        "padding pooled as if it were data",
        (
            "        present = (ids != 0).unsqueeze(-1)\n"
            "        mean = (self.words(ids) * present).sum(dim=1) / present.sum(dim=1)\n",
            "        mean = self.words(ids).mean(dim=1)\n",
        ),
        proven="the padding's vector is averaged with those of the words: a line's vector depends on the longest of its batch",
    ),
    plant(
        "menu_courses",
        "accumulation not divided",
        ("loss_fn(net(ids), kinds) / PARTS", "loss_fn(net(ids), kinds)"),
        proven="the gradients of four means are summed where one mean is meant, at the rate of one mean",
    ),
    plant(
        "menu_courses",
        "accumulation clears each micro batch",
        ("        optimizer.zero_grad()\n        for part", "        for part"),
        ("            loss.backward()\n", "            net.zero_grad()\n            loss.backward()\n"),
        proven="of four small batches only the last is learned from: the gradients of the others are thrown away",
    ),
    plant(
        "menu_courses",
        "sum in place of mean",
        ("nn.CrossEntropyLoss()", 'nn.CrossEntropyLoss(reduction="sum")'),
    ),
)
