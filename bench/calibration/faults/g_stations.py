"""What is planted in the programs of this folder: crafts, cargoes and conversations."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "brine_stack": "accuracy",
    "kiln_glaze": "loss",
    "scrap_sorter": "accuracy",
    "tile_inspector": "accuracy",
    "river_relay": "loss",
    "loaf_vae": "loss",
    "pidgin_lstm": "accuracy",
    "stamp_pairs": "accuracy",
    "delta_gan": "loss",
    "seed_farm": "income",
    "errand_attention": "accuracy",
    "vole_dqn": "return",
}
"""The last number that each program prints: of a loss or an error rate less is better, of all else more."""

PLANTED: tuple[Fault, ...] = (
    # --- brine_stack: twelve ReLU layers, flat, SGD
    plant(
        "brine_stack",
        "deep ReLU stack, default start",
        (
            "    fan_in = layer.weight.shape[1]\n    std = math.sqrt(2.0 / fan_in)\n"
            "    nn.init.normal_(layer.weight, 0.0, std)\n",
            "    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))\n",
        ),
    ),
    plant("brine_stack", "weights start too small", ("std = math.sqrt(2.0 / fan_in)", "std = 2.0 / fan_in")),
    plant(
        "brine_stack",
        "log-softmax missing",
        ("        return F.log_softmax(self.last(x), dim=-1)\n", "        return self.last(x)\n"),
        proven="nll_loss of bare scores: the score of the right well can be raised without end, no other has to fall",
    ),
    plant("brine_stack", "weight decay far too strong", ("weight_decay=1e-4", "weight_decay=0.5")),
    plant(
        "brine_stack",
        "accumulation not divided",
        ("            (loss / PARTS).backward()\n", "            loss.backward()\n"),
        proven="four means are summed where one mean over all four parts is meant: gradients are four times as large",
    ),
    # --- kiln_glaze: mean and spread, argparse, batches drawn by hand
    plant("kiln_glaze", "deviation given for variance", ("    var = sigma**2\n", "    var = sigma\n")),
    plant(
        "kiln_glaze",
        "overfitting",
        ("test_size=0.25", "train_size=0.025"),
    ),
    plant(
        "kiln_glaze",
        "target among the inputs",
        ("    inputs = slice(0, len(COLUMNS))\n", "    inputs = slice(0, log.shape[1])\n"),
        proven="the last column of the log, the gloss itself, is among the inputs",
    ),
    plant(
        "kiln_glaze",
        "rate falls to zero",
        (
            'group["lr"] = args.lr * (1 - (step - 1) / args.steps)',
            'group["lr"] *= 1 - (step - 1) / args.steps',
        ),
    ),
    # --- scrap_sorter: a balanced sampler, the best epoch kept
    plant(
        "scrap_sorter",
        "sampler given weights of classes",
        ("    per_row = per_class[y]\n", ""),
        ("WeightedRandomSampler(per_row, ", "WeightedRandomSampler(per_class, "),
    ),
    plant(
        "scrap_sorter",
        "early stopping watches the wrong way",
        ('            watched = now["loss"]\n', '            watched = now["recall"]\n'),
    ),
    plant(
        "scrap_sorter",
        "labels do not belong to inputs",
        (
            "    x_val, y_val = conveyor(2000, belt)\n",
            "    x_train = x_train[torch.randperm(len(x_train))]\n    x_val, y_val = conveyor(2000, belt)\n",
        ),
    ),
    plant(
        "scrap_sorter",
        "gradients never cleared",
        ("            self.optimizer.zero_grad()\n", "            self.optimizer.zero_grad\n"),
        proven="the method is named and not called: every step is made with the sum of all gradients so far",
    ),
    # --- tile_inspector: a small convolutional net, a class that trains
    plant(
        "tile_inspector",
        "batch norm momentum misread",
        ("momentum=0.05", "momentum=0.99"),
        proven="momentum is the share of the new batch: running statistics are those of the last batch alone",
    ),
    plant(
        "tile_inspector",
        "train and validation scaled differently",
        (
            "            photo = photo.flip(-1)\n        return (photo - self.grey[0]) / self.grey[1], self.state[i]\n",
            "            photo = photo.flip(-1)\n"
            "        photo = (photo - self.grey[0]) / self.grey[1] if self.mirror else photo / 255\n"
            "        return photo, self.state[i]\n",
        ),
    ),
    plant(
        "tile_inspector",
        "training mode not restored",
        (
            "        for epoch in range(epochs):\n            self.model.train()\n",
            "        self.model.train()\n        for epoch in range(epochs):\n",
        ),
        proven="score() calls eval(): from the second epoch on nothing is dropped and no statistics are gathered",
    ),
    plant(
        "tile_inspector",
        "dropout always on",
        ("F.dropout(h, self.drop, self.training)", "F.dropout(h, self.drop)"),
        proven="the function's default is training=True: parts are dropped when it is scored as well",
    ),
    plant(
        "tile_inspector",
        "batch norm on tiny batches",
        ("train_set, test_set, batch_size=32, lr=2e-3)", "train_set, test_set, batch_size=2, lr=2e-3)"),
        ("training.run(epochs=8)", "training.run(epochs=1)"),
    ),
    # --- river_relay: an LSTM whose memory is handed on, flat
    plant(
        "river_relay",
        "weight decay far too strong",
        ("net.parameters(), lr=4e-3)", "net.parameters(), lr=4e-3, weight_decay=0.3)"),
    ),
    plant("river_relay", "loss of another task", ("criterion = nn.MSELoss()", "criterion = nn.BCEWithLogitsLoss()")),
    plant(
        "river_relay",
        "target among the inputs",
        ("torch.stack([rain[:, :-1], flow[:, :-1]], dim=-1)", "torch.stack([rain[:, :-1], flow[:, 1:]], dim=-1)"),
        proven="the flow of the hour that is to be foretold is itself the second input",
    ),
    plant("river_relay", "not a number", ("rain = rain.log1p()", "rain = rain.log()")),
    # --- loaf_vae: a variational autoencoder, dataclass
    plant(
        "loaf_vae",
        "posterior collapse",
        ("return rebuild.mean(), divergence.mean()", "return rebuild.mean(), divergence.sum()"),
    ),
    plant(
        "loaf_vae",
        "output cannot reach the targets",
        ("nn.Linear(s.hidden, s.radii))", "nn.Linear(s.hidden, s.radii), nn.Softplus())"),
    ),
    plant(
        "loaf_vae",
        "half precision",
        ("    torch.manual_seed(s.seed)\n", "    torch.set_default_dtype(torch.half)\n    torch.manual_seed(s.seed)\n"),
    ),
    plant(
        "loaf_vae",
        "another model optimised",
        ("torch.optim.Adam(vae.parameters(), lr=s.lr)", "torch.optim.Adam(build(s).parameters(), lr=s.lr)"),
    ),
    plant("loaf_vae", "learning rate far too low", ("    lr: float = 2e-3\n", "    lr: float = 2e-6\n")),
    # --- pidgin_lstm: phrases of any length, gathered gradients, argparse
    plant(
        "pidgin_lstm",
        "padding read as the last state",
        ("        last = states[torch.arange(len(x)), lengths - 1]\n", "        last = states[:, -1]\n"),
        proven="for all but the longest phrase of a batch the last state comes after the padding, whose length varies",
    ),
    plant("pidgin_lstm", "batch_first forgotten", ("nn.LSTM(emb, hidden, batch_first=True)", "nn.LSTM(emb, hidden)")),
    plant(
        "pidgin_lstm",
        "softmax before cross entropy",
        ("        return self.out(last)\n", "        return self.out(last).softmax(dim=-1)\n"),
        proven="cross entropy takes the softmax itself: with four classes the loss cannot fall below 0.74",
    ),
    plant(
        "pidgin_lstm",
        "forget gate shut",
        ("uniform_(1, longest - 1).log()", "uniform_(1, longest - 1).reciprocal().log()"),
    ),
    # --- stamp_pairs: two towers
    plant(
        "stamp_pairs",
        "contrastive loss without negatives",
        ("similar.log_softmax(dim=1).diagonal()", "similar.diagonal()"),
        ("similar.log_softmax(dim=0).diagonal()", "similar.T.diagonal()"),
    ),
    plant(
        "stamp_pairs",
        "labels do not belong to inputs",
        (
            "        order = torch.randperm(len(stamps))\n",
            "        order, other = torch.randperm(len(stamps)), torch.randperm(len(marks))\n",
        ),
        (
            "        for rows in order.split(batch):\n",
            "        for rows, with_rows in zip(order.split(batch), other.split(batch)):\n",
        ),
        ("matcher.loss(stamps[rows], marks[rows])", "matcher.loss(stamps[rows], marks[with_rows])"),
    ),
    plant(
        "stamp_pairs",
        "parameter not registered",
        ("self.log_scale = nn.Parameter(torch.tensor(1.5))", "self.log_scale = torch.tensor(1.5, requires_grad=True)"),
        proven="a plain tensor is not among the parameters: the scale stays at 4.5",
    ),
    plant("stamp_pairs", "step never taken", ("            optimizer.step()\n", "")),
    # --- delta_gan: flat, two optimisers
    plant(
        "delta_gan",
        "generator trained on detached fakes",
        ("    fake = netG(torch.randn(BATCH, 4))\n", "    fake = netG(torch.randn(BATCH, 4)).detach()\n"),
        ("netD(fake.detach())", "netD(fake)"),
    ),
    plant("delta_gan", "gradients never cleared", ("    optD.zero_grad()\n", "")),
    plant("delta_gan", "step never taken", ("    optG.step()\n", "    optG.step\n")),
    # --- seed_farm: REINFORCE
    plant(
        "seed_farm",
        "returns summed the wrong way",
        ("    return rewards.flip(0).cumsum(0).flip(0)\n", "    return rewards.cumsum(0)\n"),
    ),
    plant(
        "seed_farm",
        "learning rate far too low",
        ("optim.Adam(farmer.parameters(), lr=1e-2)", "optim.Adam(farmer.parameters(), lr=1e-5)"),
    ),
    plant(
        "seed_farm",
        "layer made in forward",
        ("        self.choose = nn.Linear(32, 2)\n", ""),
        (
            "        return Categorical(logits=self.choose(torch.tanh(self.inner(seen))))\n",
            "        h = torch.tanh(self.inner(seen))\n"
            "        return Categorical(logits=nn.Linear(h.shape[-1], 2)(h))\n",
        ),
    ),
    # --- errand_attention: a Transformer written out
    plant(
        "errand_attention",
        "attention softmax over a wrong dimension",
        ("scores.softmax(dim=-1)", "scores.softmax(dim=1)"),
        proven="dimension 1 is that of the heads: the weights of a query do not sum to one over the keys",
    ),
    plant(
        "errand_attention",
        "parameter not registered",
        (
            "nn.Parameter(0.3 * torch.randn(STOPS, plan.width))",
            "nn.Parameter(0.3 * torch.randn(STOPS, plan.width)).unsqueeze(0)",
        ),
        proven="a view of a Parameter is none: the module does not know it, and the order's vectors stay as drawn",
    ),
    plant(
        "errand_attention",
        "schedule of another length",
        ("steps_per_epoch=len(train_loader)", "steps_per_epoch=len(train_set)"),
        proven="steps are counted in walks, not in batches: training ends in the first of the warm-up",
    ),
    plant(
        "errand_attention",
        "ReLU on the logits",
        ("return self.answer(self.norm(h).mean(dim=1))", "return self.answer(self.norm(h).mean(dim=1)).relu()"),
        proven="an answer whose score falls below zero gets no gradient any more, and no score can be negative",
    ),
    plant(
        "errand_attention",
        "layer made in forward",
        ("        self.merge = nn.Linear(width, width)\n", "        self.width = width\n"),
        (
            "        return self.merge((weights @ v)",
            "        merge = nn.Linear(self.width, self.width)\n        return merge((weights @ v)",
        ),
        proven="a new random layer merges the heads at each call, and none of them is ever trained",
    ),
    # --- vole_dqn: Q-learning with a soft target
    plant(
        "vole_dqn",
        "target network never updated",
        ("            t.mul_(1 - TAU).add_(TAU * o)\n", "            t = (1 - TAU) * t + TAU * o\n"),
    ),
    plant(
        "vole_dqn",
        "dead ReLU",
        (
            "        q.values.bias.fill_(-0.02 * LIMIT)",
            "        for layer in q.children():\n            layer.bias.fill_(-0.02 * LIMIT)",
        ),
    ),
)
