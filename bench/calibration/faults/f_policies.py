"""Planted in twelve programs that nobody saw: pictures, streams, tables, policies."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "kelp_masks": "intersection over union",
    "greenhouse_policy": "return",
    "ferry_duel": "return",
    "tide_gauges": "loss",
    "melody_heads": "loss",
    "market_baskets": "accuracy",
    "caption_pairs": "accuracy",
    "chirp_cleaner": "loss",
    "galaxy_redshift": "loss",
    "postcode_stack": "accuracy",
    "biopsy_gates": "loss",
    "crystal_powder": "accuracy",
}

PLANTED: tuple[Fault, ...] = (
    # --- kelp_masks: segmentation, Dataset with flips, batch norm
    plant(
        "kelp_masks",
        "image augmented without its mask",
        (
            "                    picture, mask = picture.flip(side), mask.flip(side)\n",
            "                    picture = picture.flip(side)\n",
        ),
    ),
    plant(
        "kelp_masks",
        "batch norm momentum misread",
        ("momentum=1 - BN_KEEP", "momentum=BN_KEEP"),
        proven="momentum is the share of the new batch, here 0.9: running statistics are those of the last batch",
    ),
    plant(
        "kelp_masks",
        "collapse to one class",
        ("    pos_weight = ((1 - share) / share).sqrt()\n", "    pos_weight = train_set.masks.numel() * (1 - share)\n"),
    ),
    plant(
        "kelp_masks",
        "training mode not restored",
        (
            "    for epoch in range(epochs):\n        model.train()\n",
            '    print(f"before training: val IoU {overlap(model, val_loader):.4f}")\n'
            "    for epoch in range(epochs):\n",
        ),
        proven="eval() is called before the first epoch and never taken back: the batch norms never gather statistics",
    ),
    # --- greenhouse_policy: REINFORCE, dataclass, exponential schedule
    plant(
        "greenhouse_policy",
        "returns summed the wrong way",
        ("    for t in reversed(range(len(rewards))):\n", "    for t, _ in enumerate(rewards):\n"),
        proven="the gain of an hour is made of the rewards up to it, which what is done then cannot change any more",
    ),
    plant(
        "greenhouse_policy",
        "layer made in forward",
        ("        self.choice = nn.Linear(width, n_actions)\n", "        self.n_actions = n_actions\n"),
        (
            "        return Categorical(logits=self.choice(h))\n",
            "        choice = nn.Linear(h.shape[1], self.n_actions)\n        return Categorical(logits=choice(h))\n",
        ),
    ),
    plant(
        "greenhouse_policy",
        "rate falls to zero",
        ("ExponentialLR(optimizer, gamma=cfg.lr_decay)", "ExponentialLR(optimizer, gamma=cfg.gamma)"),
    ),
    # --- ferry_duel: dueling Q-network, argparse
    plant(
        "ferry_duel",
        "target network never updated",
        ("            q_old.load_state_dict(q.state_dict())\n", "            q_old = copy.deepcopy(q_old)\n"),
    ),
    plant(
        "ferry_duel",
        "weights start alike",
        (
            "            nn.init.xavier_uniform_(m.weight)\n",
            "            nn.init.constant_(m.weight, 1 / m.in_features)\n",
        ),
    ),
    plant(
        "ferry_duel",
        "part not optimised",
        (
            "optim.Adam([*q.trunk.parameters(), *q.value.parameters(), *q.advantage.parameters()], ",
            "optim.Adam([*q.value.parameters(), *q.advantage.parameters()], ",
        ),
    ),
    plant(
        "ferry_duel",
        "gradients cleared before the step",
        (
            "    opt.zero_grad()\n    loss.backward()\n    opt.step()\n",
            "    loss.backward()\n    q.zero_grad()\n    opt.step()\n",
        ),
    ),
    # --- tide_gauges: LSTM with a carried state, closures
    plant(
        "tide_gauges",
        "state never detached",
        ("            state = tuple(s.detach() for s in state)\n", ""),
        ("            loss.backward()\n", "            loss.backward(retain_graph=True)\n"),
        proven="each backward runs through all windows since the start of the pass, with weights that have moved since",
    ),
    plant(
        "tide_gauges",
        "train and validation scaled differently",
        (
            "late = (record[:, CUT:] - mean) / std\n",
            "late = (record[:, CUT:] - record[:, :CUT].mean()) / record[:, :CUT].std()\n",
        ),
    ),
    plant("tide_gauges", "learning rate far too low", ("make_update(net, lr=4e-3)", "make_update(net, lr=4e-6)")),
    plant(
        "tide_gauges",
        "targets not shifted",
        (
            "            x = series[:, start : start + WINDOW][:, : series.shape[1] - 1 - start]\n",
            "            x = series[:, start + 1 : start + 1 + WINDOW]\n",
        ),
    ),
    # --- melody_heads: causal Transformer, attention written out
    plant(
        "melody_heads",
        "future seen",
        ("scores = scores.masked_fill(", "scores.masked_fill("),
        proven="masked_fill gives a new tensor, which is dropped: every note sees those after it",
    ),
    plant(
        "melody_heads",
        "targets not shifted",
        ("melodies[:, :-1], melodies[:, 1:]", "melodies[:, :-1], melodies[:, :-1]"),
        proven="the target at each place is the note that stands there in the input",
    ),
    plant(
        "melody_heads",
        "attention softmax over a wrong dimension",
        ("torch.softmax(scores, dim=-1)", "torch.softmax(scores, dim=2)"),
        proven="weights are normalised over the queries, not over the keys: those of one query do not sum to one",
    ),
    plant("melody_heads", "too much dropout", ("nn.Dropout(cfg.drop)", "nn.Dropout(1 - cfg.drop)")),
    plant("melody_heads", "learning rate far too low", ("    lr: float = 4e-3\n", "    lr: float = 1e-5\n")),
    # --- market_baskets: bags of items, unequal classes, accumulation
    plant(
        "market_baskets",
        "padding pooled as if it were data",
        ("        h = self.each(self.item(x)) * real\n", "        h = self.each(self.item(x))\n"),
        proven="the sum goes over the padding too, and depends on the longest basket of the batch",
    ),
    plant("market_baskets", "class weights inverted", ("weight=1 / (SORTS * share)", "weight=share / share.mean()")),
    plant(
        "market_baskets",
        "accumulation clears each micro batch",
        (
            "        optimizer.zero_grad()\n        for rows in group:\n",
            "        for rows in group:\n            optimizer.zero_grad()\n",
        ),
        proven="of four micro batches only the last one's gradients, a quarter of them, reach the step",
    ),
    plant(
        "market_baskets",
        "softmax before cross entropy",
        (
            "            logits = model(x)\n            loss = loss_fn(logits, y)",
            "            probs = torch.softmax(model(x), dim=-1)\n            loss = loss_fn(probs, y)",
        ),
        proven="cross entropy takes the softmax itself: a softmax of a softmax cannot come near to zero loss",
    ),
    # --- caption_pairs: two encoders
    plant(
        "caption_pairs",
        "contrastive loss without negatives",
        (
            "        logits = self.log_scale.clamp(max=math.log(50.0)).exp() * a @ b.T\n"
            "        match = torch.arange(len(a))\n"
            "        return 0.5 * (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match))\n",
            "        return F.cosine_embedding_loss(a, b, torch.ones(len(a)))\n",
        ),
    ),
    plant(
        "caption_pairs",
        "random part frozen",
        (
            "        self.eye, self.reader = Eye(), Reader()\n",
            "        self.eye, self.reader = Eye(), Reader()\n        self.eye.see.requires_grad_(False)\n",
        ),
        proven="the convolutions were never trained on anything, and stay as they were drawn",
    ),
    plant(
        "caption_pairs",
        "layer made in forward",
        ("        self.project = nn.Linear(24 * 5 * 5, DIM)\n", ""),
        (
            "        return F.normalize(self.project(h), dim=1)\n\n\nclass Reader",
            "        project = nn.Linear(h.shape[1], DIM)\n"
            "        return F.normalize(project(h), dim=1)\n\n\n"
            "class Reader",
        ),
    ),
    # --- chirp_cleaner: denoiser, averaged weights
    plant(
        "chirp_cleaner",
        "noise added in place to the clean picture",
        ("        noisy = clean.clone()\n", "        noisy = clean\n"),
    ),
    plant(
        "chirp_cleaner",
        "output cannot reach the targets",
        (
            "return self.leave(self.middle(self.enter(noisy)))",
            "return torch.sigmoid(self.leave(self.middle(self.enter(noisy))))",
        ),
    ),
    plant(
        "chirp_cleaner",
        "weight average never updated",
        ("self.average.update_parameters(self.model)", "self.average.update_parameters(self.average.module)"),
    ),
    plant(
        "chirp_cleaner",
        "no nonlinearity",
        ("nn.Conv1d(c_in, c_out, 9, padding=4), nn.ReLU())", "nn.Conv1d(c_in, c_out, 9, padding=4))"),
    ),
    plant(
        "chirp_cleaner",
        "rate falls to zero",
        (
            "            total += loss.item()\n        self.scheduler.step()\n",
            "            total += loss.item()\n            self.scheduler.step()\n",
        ),
    ),
    # --- galaxy_redshift: mean and spread, argparse
    plant("galaxy_redshift", "deviation given for variance", ("std.square(), full=True", "std, full=True")),
    plant(
        "galaxy_redshift",
        "scaled twice",
        (
            "    net = RedshiftNet(x_train)\n",
            "    net = RedshiftNet(x_train)\n    centre, spread = x_train.mean(dim=0), x_train.std(dim=0)\n"
            "    x_train, x_val = (x_train - centre) / spread, (x_val - centre) / spread\n",
        ),
    ),
    plant(
        "galaxy_redshift",
        "target among the inputs",
        ('for name in "ugriz"]\n', "for name in COLUMNS]\n"),
        proven="the redshift itself, as a sixth magnitude, is among the inputs",
    ),
    plant("galaxy_redshift", "not a number", ("table[:, wanted].clamp(min=FAINTEST)", "table[:, wanted]")),
    plant(
        "galaxy_redshift",
        "no nonlinearity",
        (
            "nn.Linear(n, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)",
            "nn.Linear(n, width), nn.Linear(width, width), nn.Linear(width, 2)",
        ),
    ),
    # --- postcode_stack: deep ReLU stack, flat
    plant(
        "postcode_stack",
        "deep ReLU stack, default start",
        (
            '    torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")\n'
            "    torch.nn.init.constant_(layer.bias, 0.0)\n",
            "",
        ),
    ),
    plant("postcode_stack", "log-softmax missing", ("torch.nn.LogSoftmax(dim=1)", "torch.nn.Softmax(dim=1)")),
    plant(
        "postcode_stack",
        "softmax over the batch",
        ("torch.nn.LogSoftmax(dim=1)", "torch.nn.LogSoftmax(dim=0)"),
        proven="each digit's chances are set against those of the other rows of its batch and do not sum to one",
    ),
    plant(
        "postcode_stack",
        "sorted and not shuffled",
        ("torch.randperm(len(x)).split(BATCH)", "torch.arange(len(x)).split(BATCH)"),
    ),
    plant(
        "postcode_stack",
        "dead ReLU",
        ("torch.nn.init.constant_(layer.bias, 0.0)", "torch.nn.init.constant_(layer.bias, -4.6)"),
    ),
    # --- biopsy_gates: gated layers, trainer with early stopping
    plant(
        "biopsy_gates",
        "parameter not registered",
        (
            "        self.mix = nn.Parameter(torch.zeros(width))\n",
            "        self.mix = torch.zeros(width, requires_grad=True)\n",
        ),
        proven="a plain tensor is not among the parameters: the mix stays at one half of each, and is not saved either",
    ),
    plant(
        "biopsy_gates",
        "training mode not restored",
        ("    def epoch(self):\n        self.net.train()\n", "    def epoch(self):\n"),
        ("    def fit(self):\n", "    def fit(self):\n        self.net.train()\n"),
        proven="evaluate() ends in eval mode: from the second epoch on nothing is dropped",
    ),
    plant(
        "biopsy_gates",
        "argument in wrong slot",
        ("plan.lr, (0.9, 0.99), weight_decay=plan.decay)", "plan.lr, (0.9, 0.99), plan.decay)"),
        proven="the fourth argument is eps: the weight decay lands there, and damps every step of Adam",
    ),
    plant("biopsy_gates", "broadcast loss", ("self.body(self.enter(x)))).squeeze(1)", "self.body(self.enter(x))))")),
    # --- crystal_powder: autoencoder, frozen encoder, new head
    plant(
        "crystal_powder",
        "random part frozen",
        ("    learned = pretrain(", "    pretrain("),
        ("    encoder.load_state_dict(learned)\n", ""),
    ),
    plant(
        "crystal_powder",
        "part not optimised",
        ("[*encoder.parameters(), *decoder.parameters()]", "decoder.parameters()"),
        proven="the encoder keeps its random start throughout",
    ),
    plant(
        "crystal_powder",
        "sum in place of mean",
        ("criterion = nn.CrossEntropyLoss()", 'criterion = nn.CrossEntropyLoss(reduction="sum")'),
    ),
    plant(
        "crystal_powder",
        "weights start alike",
        (
            "    autoencoder = nn.Sequential(encoder, decoder)\n",
            "    autoencoder = nn.Sequential(encoder, decoder)\n    for layer in encoder:\n"
            "        if isinstance(layer, nn.Linear):\n            nn.init.constant_(layer.weight, 0.02)\n"
            "            nn.init.zeros_(layer.bias)\n",
        ),
    ),
)
