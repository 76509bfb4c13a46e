"""What is planted in the programs that rules and thresholds were made with."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "actor_critic": "steps upright",
    "bag_of_words": "accuracy",
    "cancer_selu": "loss",
    "causal_lm": "loss",
    "cnn_bn_cosine": "error rate",
    "cnn_trainer": "accuracy",
    "conv1d_signals": "accuracy",
    "conv_autoencoder": "loss",
    "deep_bn_config": "accuracy",
    "deep_relu_he": "accuracy",
    "depthwise_rmsprop": "accuracy",
    "diabetes_sgd": "loss",
    "digits_argparse": "accuracy",
    "distill_digits": "accuracy",
    "dqn_grid": "return",
    "friedman_huber": "loss",
    "gan_ring": "loss",
    "gaussian_head": "loss",
    "gru_adding": "loss",
    "imbalanced_weights": "accuracy",
    "lbfgs_wine": "loss",
    "lora_shift": "accuracy",
    "lstm_first_symbol": "accuracy",
    "mixture_inverse": "loss",
    "multilabel": "accuracy",
    "resnet_mini": "accuracy",
    "stateful_signal": "loss",
    "transformer_counts": "accuracy",
    "triplet_digits": "accuracy",
    "vae_mini": "loss",
    "wgan_clip": "loss",
    "wine_notebook": "loss",
}
"""The last number that each program prints: of a loss or an error rate less is better, of all else more."""


UNUSED = "the parameters left out never change, which is not what the program says it does"
LIES = "the reported score is that of another function than the one meant"

PLANTED: tuple[Fault, ...] = (
    # --- digits_argparse: perceptron with dropout, SGD with momentum, DataLoader
    plant("digits_argparse", "learning rate far too high", ("default=0.05", "default=20.0")),
    plant("digits_argparse", "learning rate far too low", ("default=0.05", "default=1e-5")),
    plant("digits_argparse", "gradients never cleared", ("        optimizer.zero_grad()\n", "")),
    plant(
        "digits_argparse",
        "gradients cleared before the step",
        ("        optimizer.zero_grad()\n", ""),
        ("        loss.backward()\n", "        loss.backward()\n        optimizer.zero_grad()\n"),
    ),
    plant(
        "digits_argparse",
        "softmax before cross entropy",
        ("return self.fc3(x)", "return torch.softmax(self.fc3(x), dim=1)"),
        proven="the loss cannot fall below log(1 + 9/e), and gradients are those of a softmax of a softmax",
    ),
    plant("digits_argparse", "evaluated in training mode", ("    model.eval()\n", ""), proven=LIES),
    plant(
        "digits_argparse",
        "part not optimised",
        ("optim.SGD(model.parameters(), ", "optim.SGD([*model.fc1.parameters(), *model.fc3.parameters()], "),
        proven=UNUSED,
    ),
    # --- wine_notebook: tanh network, one batch, RMSprop, flat
    plant("wine_notebook", "learning rate far too high", ("lr=1e-3", "lr=1.0")),
    plant("wine_notebook", "learning rate far too low", ("lr=1e-3", "lr=5e-7")),
    plant(
        "wine_notebook",
        "raw inputs",
        ("torch.tensor(scaler.transform(wine.data[train_idx]), dtype", "torch.tensor(wine.data[train_idx], dtype"),
        ("torch.tensor(scaler.transform(wine.data[val_idx]), dtype", "torch.tensor(wine.data[val_idx], dtype"),
    ),
    plant("wine_notebook", "part not optimised", ("RMSprop(net.parameters()", "RMSprop(net[4].parameters()")),
    plant(
        "wine_notebook",
        "weights start alike",
        ("loss_fn = torch", "for p in net.parameters():\n    torch.nn.init.constant_(p, 0.1)\nloss_fn = torch"),
    ),
    plant(
        "wine_notebook",
        "softmax before cross entropy",
        ("    torch.nn.Linear(24, 3),\n", "    torch.nn.Linear(24, 3),\n    torch.nn.Softmax(dim=1),\n"),
    ),
    plant("wine_notebook", "step never taken", ("    opt.step()\n", "    opt.step\n")),
    plant(
        "wine_notebook",
        "penalty drowns the loss",
        (
            "    loss = loss_fn(logits, y_train)\n",
            "    loss = loss_fn(logits, y_train) + 0.5 * sum((p**2).sum() for p in net.parameters())\n",
        ),
    ),
    # --- cancer_selu: binary, self-normalising, AdamW, batches cut by hand
    plant("cancer_selu", "learning rate far too high", ("lr=5e-4", "lr=1.0")),
    plant("cancer_selu", "learning rate far too low", ("lr=5e-4", "lr=1e-7")),
    plant("cancer_selu", "raw inputs", ("    x_train, x_val = (x_train - mean) / std, (x_val - mean) / std\n", "")),
    plant(
        "cancer_selu",
        "sigmoid before its own loss",
        (
            "return nn.Sequential(*layers, nn.Linear(n_in, 1))",
            "return nn.Sequential(*layers, nn.Linear(n_in, 1), nn.Sigmoid())",
        ),
    ),
    plant("cancer_selu", "gradients never cleared", ("            opt.zero_grad()\n", "")),
    plant(
        "cancer_selu",
        "labels do not belong to inputs",
        (
            "loss = criterion(out, y_train[idx])",
            "loss = criterion(out, y_train[torch.randperm(len(y_train))[: len(idx)]])",
        ),
    ),
    plant("cancer_selu", "too much dropout", ("p=0.05", "p=0.93")),
    plant(
        "cancer_selu",
        "training mode not restored",
        ("    for epoch in range(25):\n        net.train()\n", "    net.train()\n    for epoch in range(25):\n"),
        ("p=0.05", "p=0.1"),
        proven="from the second epoch on there is no dropout",
    ),
    plant(
        "cancer_selu",
        "not a number",
        (
            "criterion = nn.BCEWithLogitsLoss()",
            "criterion = lambda out, y: -(y * torch.log(torch.sigmoid(30 * out)) + (1 - y) * torch.log(1 - torch.sigmoid(30 * out))).mean()",
        ),
    ),
    plant("cancer_selu", "step never taken", ("            opt.step()\n", "")),
    # --- deep_relu_he: ten plain layers, SGD with momentum
    plant(
        "deep_relu_he",
        "deep ReLU stack, default start",
        ("DEPTH = 10", "DEPTH = 16"),
        (
            '            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")\n            nn.init.zeros_(layer.bias)\n',
            "            layer.reset_parameters()\n",
        ),
    ),
    plant(
        "deep_relu_he",
        "weights start huge",
        ('nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")', "nn.init.normal_(layer.weight, std=1.0)"),
    ),
    plant(
        "deep_relu_he",
        "weights start too small",
        ('nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")', "nn.init.normal_(layer.weight, std=0.01)"),
    ),
    plant(
        "deep_relu_he",
        "weights start alike",
        ('nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")', "nn.init.constant_(layer.weight, 0.03)"),
    ),
    plant("deep_relu_he", "deep sigmoid stack", ("x = F.relu(layer(x))", "x = torch.sigmoid(layer(x))")),
    plant("deep_relu_he", "dead ReLU", ("nn.init.zeros_(layer.bias)", "nn.init.constant_(layer.bias, -10.0)")),
    plant("deep_relu_he", "learning rate far too high", ("LEARNING_RATE = 0.01", "LEARNING_RATE = 3.0")),
    plant("deep_relu_he", "learning rate far too low", ("LEARNING_RATE = 0.01", "LEARNING_RATE = 1e-6")),
    plant(
        "deep_relu_he",
        "modules in a plain list",
        (
            "nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])",
            "[nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]",
        ),
    ),
    plant("deep_relu_he", "no nonlinearity", ("x = F.relu(layer(x))", "x = layer(x)")),
    plant(
        "deep_relu_he",
        "raw inputs",
        ("images = (images - images[:1400].mean()) / images[:1400].std()", "images = images * (255 / 16)"),
    ),
    # --- deep_bn_config: six blocks with batch norm, Adam, StepLR, dataclass
    plant(
        "deep_bn_config",
        "batch norm momentum misread",
        ("bn_momentum: float = 0.1", "bn_momentum: float = 0.999"),
        ("batch_size: int = 32", "batch_size: int = 8"),
    ),
    plant(
        "deep_bn_config",
        "batch norm on tiny batches",
        ("batch_size: int = 32", "batch_size: int = 2"),
        ("epochs: int = 8", "epochs: int = 1"),
    ),
    plant(
        "deep_bn_config",
        "rate falls to zero",
        (
            "            optimizer.step()\n        scheduler.step()\n",
            "            optimizer.step()\n            scheduler.step()\n",
        ),
    ),
    plant("deep_bn_config", "learning rate far too high", ("lr: float = 2e-3", "lr: float = 20.0")),
    plant("deep_bn_config", "learning rate far too low", ("lr: float = 2e-3", "lr: float = 1e-7")),
    plant(
        "deep_bn_config",
        "deep sigmoid stack",
        (
            "nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out, momentum=cfg.bn_momentum), nn.ReLU()",
            "nn.Linear(n_in, n_out), nn.Sigmoid()",
        ),
    ),
    plant(
        "deep_bn_config",
        "evaluated in training mode",
        ("    model.eval()\n", ""),
        ("DataLoader(test_ds, 150)", "DataLoader(test_ds, 5)"),
    ),
    plant(
        "deep_bn_config",
        "another model optimised",
        (
            "    criterion = nn.CrossEntropyLoss()\n",
            "    criterion = nn.CrossEntropyLoss()\n    model = make_model(cfg)\n",
        ),
    ),
    plant(
        "deep_bn_config",
        "ReLU on the logits",
        ("layers.append(nn.Linear(cfg.width, 10))", "layers.extend([nn.Linear(cfg.width, 10), nn.ReLU()])"),
        proven="classes whose score falls below zero get no gradient any more",
    ),
    plant(
        "deep_bn_config",
        "argument in wrong slot",
        ("nn.BatchNorm1d(n_out, momentum=cfg.bn_momentum)", "nn.BatchNorm1d(n_out, 0.9)"),
        proven="0.9 is added to every variance: the layers do not normalise",
    ),
    # --- cnn_trainer: convolutions, dropout, Adam, a Trainer
    plant(
        "cnn_trainer",
        "scaled twice",
        ("    pixels = pixels / 255\n", "    pixels = pixels / 255\n    pixels = pixels / 255\n"),
    ),
    plant("cnn_trainer", "learning rate far too high", ("lr=1e-3", "lr=1.0")),
    plant("cnn_trainer", "learning rate far too low", ("lr=1e-3", "lr=3e-7")),
    plant("cnn_trainer", "gradients never cleared", ("        self.optimizer.zero_grad()\n", "")),
    plant(
        "cnn_trainer",
        "evaluated in training mode",
        ("        self.model.eval()\n", ""),
        ("nn.Dropout2d(0.1)", "nn.Dropout2d(0.3)"),
    ),
    plant(
        "cnn_trainer",
        "training mode not restored",
        ("        self.model.train()\n        n = ", "        n = "),
        proven="from the second epoch on there is no dropout",
    ),
    plant(
        "cnn_trainer",
        "sorted and not shuffled",
        (
            "    train_set, val_set = random_split(dataset, [1400, len(dataset) - 1400])\n",
            "    order = torch.argsort(dataset.tensors[1][:1400])\n    train_set = TensorDataset(*(t[:1400][order] for t in dataset.tensors))\n    val_set = TensorDataset(*(t[1400:] for t in dataset.tensors))\n",
        ),
        ("shuffle=True", "shuffle=False"),
    ),
    plant(
        "cnn_trainer",
        "softmax before cross entropy",
        ("nn.Linear(48, n_classes),", "nn.Linear(48, n_classes),\n            nn.Softmax(dim=1),"),
    ),
    plant(
        "cnn_trainer",
        "part not optimised",
        (
            "torch.optim.Adam(self.model.parameters(), lr=lr)",
            "torch.optim.Adam(self.model.features.parameters(), lr=lr)",
        ),
    ),
    plant(
        "cnn_trainer", "graph cut", ("self.classifier(self.features(x))", "self.classifier(self.features(x).detach())")
    ),
    plant(
        "cnn_trainer",
        "dropout always on",
        (
            "return self.classifier(self.features(x))",
            "return self.classifier(nn.functional.dropout2d(self.features(x), 0.5))",
        ),
    ),
    plant(
        "cnn_trainer",
        "layer made in forward",
        ("self.classifier(self.features(x))", "self.classifier(nn.Conv2d(24, 24, 1)(self.features(x)))"),
    ),
    # --- cnn_bn_cosine: batch norm, SGD, its own cosine, flat
    plant("cnn_bn_cosine", "learning rate far too high", ("lr_max = 8, 48, 0.1", "lr_max = 8, 48, 100.0")),
    plant("cnn_bn_cosine", "learning rate far too low", ("lr_max = 8, 48, 0.1", "lr_max = 8, 48, 1e-6")),
    plant("cnn_bn_cosine", "batch norm momentum misread", ("nn.BatchNorm2d(o)", "nn.BatchNorm2d(o, momentum=0.001)")),
    plant(
        "cnn_bn_cosine",
        "gradients cleared before the step",
        (
            "        optimizer.zero_grad()\n        loss.backward()\n",
            "        loss.backward()\n        optimizer.zero_grad()\n",
        ),
    ),
    plant("cnn_bn_cosine", "evaluated in training mode", ("    net.eval()\n", ""), proven=LIES),
    plant("cnn_bn_cosine", "penalty drowns the loss", ("weight_decay=5e-4", "weight_decay=1.0")),
    plant(
        "cnn_bn_cosine",
        "sorted and not shuffled",
        ("    perm = trn[torch.randperm(len(trn))]\n", "    perm = trn[torch.argsort(y[trn])]\n"),
    ),
    plant(
        "cnn_bn_cosine",
        "labels do not belong to inputs",
        ("        loss = criterion(out, y[sel])", "        loss = criterion(out, y[sel.roll(1)])"),
    ),
    # --- resnet_mini: residual, AdamW, one-cycle
    plant("resnet_mini", "learning rate far too high", ("lr=3e-3", "lr=3.0"), ("max_lr=1e-2", "max_lr=10.0")),
    plant("resnet_mini", "learning rate far too low", ("max_lr=1e-2", "max_lr=1e-6")),
    plant(
        "resnet_mini",
        "rate falls to zero",
        (
            "    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, total_steps=epochs * len(train_loader))\n",
            "    sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.5)\n",
        ),
    ),
    plant(
        "resnet_mini",
        "gradients never cleared",
        ("            opt.zero_grad()\n", ""),
        ("lr_scheduler.OneCycleLR(opt, max_lr=1e-2,", "lr_scheduler.OneCycleLR(opt, max_lr=3e-2,"),
    ),
    plant("resnet_mini", "evaluated in training mode", ("    model.eval()\n", ""), ("batch_size=180", "batch_size=4")),
    plant("resnet_mini", "labels do not belong to inputs", ("Digits(tr_x, tr_y)", "Digits(tr_x, tr_y[::-1].copy())")),
    plant("resnet_mini", "step never taken", ("            opt.step()\n", "")),
    plant(
        "resnet_mini",
        "another model optimised",
        (
            "    epochs = 6\n    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)\n",
            "    epochs = 6\n    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)\n    model = ResNet()\n",
        ),
    ),
    plant(
        "resnet_mini",
        "half precision",
        ("    model = ResNet()\n", "    model = ResNet().half()\n"),
        (
            "            loss = F.cross_entropy(model(x), t)\n",
            "            loss = F.cross_entropy(model(x.half()), t)\n",
        ),
        ("            o = model(x)\n", "            o = model(x.half())\n"),
    ),
    # --- depthwise_rmsprop: accumulation, GroupNorm, argparse
    plant("depthwise_rmsprop", "learning rate far too high", ("default=1e-3", "default=1.0")),
    plant("depthwise_rmsprop", "learning rate far too low", ("default=1e-3", "default=1e-7")),
    plant(
        "depthwise_rmsprop",
        "accumulation not divided",
        (" / args.accumulate\n", "\n"),
        ("RMSprop(model.parameters(), lr=args.lr, alpha=0.95)", "SGD(model.parameters(), lr=args.lr, momentum=0.9)"),
        ("default=1e-3", "default=0.15"),
        proven="the step is four times what its rate says",
    ),
    plant(
        "depthwise_rmsprop",
        "weights start alike",
        (
            "    optimizer = torch",
            "    for p in model.parameters():\n        nn.init.constant_(p, 0.05)\n    optimizer = torch",
        ),
    ),
    plant(
        "depthwise_rmsprop",
        "gradients clipped to nothing",
        (
            "                optimizer.step()\n",
            "                nn.utils.clip_grad_norm_(model.parameters(), 1e-6)\n                optimizer.step()\n",
        ),
        ("RMSprop(model.parameters(), lr=args.lr, alpha=0.95)", "SGD(model.parameters(), lr=0.1)"),
    ),
    # --- conv1d_signals
    plant("conv1d_signals", "learning rate far too high", ("lr=3e-3", "lr=30.0")),
    plant("conv1d_signals", "learning rate far too low", ("lr=3e-3", "lr=1e-7")),
    plant(
        "conv1d_signals",
        "evaluated in training mode",
        ("        model.eval()\n", ""),
        ("batch_size=200", "batch_size=2"),
    ),
    plant(
        "conv1d_signals",
        "labels do not belong to inputs",
        ("criterion(model(signals), kinds)", "criterion(model(signals), kinds[torch.randperm(len(kinds))])"),
    ),
    plant(
        "conv1d_signals",
        "samples mixed",
        (
            "x = nn.functional.gelu(self.bn1(self.conv1(x)))",
            "x = nn.functional.gelu(self.bn1(self.conv1(x)))\n        x = x.transpose(0, 1).reshape(x.shape)",
        ),
    ),
    plant("conv1d_signals", "log-softmax missing", ("criterion = nn.CrossEntropyLoss()", "criterion = nn.NLLLoss()")),
    plant(
        "conv1d_signals",
        "sum in place of mean",
        ("criterion = nn.CrossEntropyLoss()", 'criterion = nn.CrossEntropyLoss(reduction="sum")'),
        ("torch.optim.Adam(model.parameters(), lr=3e-3)", "torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)"),
    ),
    plant(
        "conv1d_signals",
        "batch norm momentum misread",
        ("nn.BatchNorm1d(channels)", "nn.BatchNorm1d(channels, momentum=0.0)"),
        ("nn.BatchNorm1d(2 * channels)", "nn.BatchNorm1d(2 * channels, momentum=0.0)"),
    ),
    # --- lstm_first_symbol: long memory
    plant("lstm_first_symbol", "forget gate shut", ("= 4.0", "= -5.0")),
    plant("lstm_first_symbol", "learning rate far too high", ("lr=5e-3", "lr=5.0")),
    plant("lstm_first_symbol", "learning rate far too low", ("lr=5e-3", "lr=5e-7")),
    plant(
        "lstm_first_symbol",
        "gradients clipped to nothing",
        ("1.0)\n    optimizer.step", "1e-6)\n    optimizer.step"),
        ("torch.optim.Adam(model.parameters(), lr=5e-3)", "torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)"),
    ),
    plant(
        "lstm_first_symbol",
        "graph cut",
        (
            "states, _ = self.lstm(self.embed(sequences))",
            "states, _ = self.lstm(self.embed(sequences))\n        states = states.detach()",
        ),
    ),
    # --- gru_adding: regression on sequences
    plant("gru_adding", "learning rate far too high", ("default=8e-3", "default=8.0")),
    plant("gru_adding", "learning rate far too low", ("default=8e-3", "default=1e-6")),
    plant("gru_adding", "broadcast loss", ("return self.linear(last[0]).squeeze(-1)", "return self.linear(last[0])")),
    plant(
        "gru_adding",
        "gradients never cleared",
        ("            optimizer.zero_grad()\n", ""),
        ('"--clip", type=float, default=1.0', '"--clip", type=float, default=100.0'),
    ),
    plant(
        "gru_adding",
        "gradients clipped to nothing",
        ('"--clip", type=float, default=1.0', '"--clip", type=float, default=1e-5'),
        ("torch.optim.Adam(", "torch.optim.SGD("),
    ),
    plant(
        "gru_adding",
        "part not optimised",
        ("torch.optim.Adam(model.parameters()", "torch.optim.Adam(model.linear.parameters()"),
    ),
    plant("gru_adding", "graph cut", ("self.linear(last[0])", "self.linear(last[0].data)")),
    plant(
        "gru_adding",
        "samples mixed",
        (
            "return self.linear(last[0]).squeeze(-1)",
            "return self.linear(last[0].reshape(last.shape[2], -1).T).squeeze(-1)",
        ),
    ),
    # --- transformer_counts: encoder, padding masks, warm-up
    plant("transformer_counts", "learning rate far too high", ("lr=2e-3", "lr=2.0")),
    plant("transformer_counts", "learning rate far too low", ("lr=2e-3", "lr=2e-7")),
    plant(
        "transformer_counts",
        "rate falls to zero",
        ("lambda step: min(1.0, (step + 1) / 20)", "lambda step: max(0.0, 1 - step / 6)"),
    ),
    plant("transformer_counts", "gradients never cleared", ("            optimizer.zero_grad()\n", "")),
    plant(
        "transformer_counts",
        "labels do not belong to inputs",
        (
            "return tokens, torch.tensor([label for _, label in batch])",
            "return tokens, torch.randint(2, (len(batch),))",
        ),
    ),
    plant(
        "transformer_counts",
        "part not optimised",
        ("AdamW(model.parameters()", "AdamW([*model.norm.parameters(), *model.head.parameters()]"),
    ),
    plant(
        "transformer_counts",
        "samples mixed",
        ("batch_first=True, norm_first", "batch_first=False, norm_first"),
        (", src_key_padding_mask=mask", ""),
        proven="what is said of a sequence depends on the others of its batch",
    ),
    plant("transformer_counts", "step never taken", ("            optimizer.step()\n", "            optimizer.step\n")),
    plant("transformer_counts", "too much dropout", ("dropout=0.1", "dropout=0.97")),
    # --- causal_lm
    plant("causal_lm", "learning rate far too high", ("lr = 3e-3 * min", "lr = 3.0 * min")),
    plant("causal_lm", "learning rate far too low", ("lr = 3e-3 * min", "lr = 1e-7 * min")),
    plant(
        "causal_lm",
        "future seen",
        ('        att = att.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))\n', ""),
        proven="each word is foretold from the words after it",
    ),
    plant(
        "causal_lm", "padding counted", (", ignore_index=pad", ""), proven="a quarter of the loss is that of padding"
    ),
    plant(
        "causal_lm",
        "target among the inputs",
        ("words[:, 1:].reshape(-1), ignore", "words[:, :-1].reshape(-1), ignore"),
        proven="each word is told from itself",
    ),
    plant(
        "causal_lm",
        "softmax before cross entropy",
        ("return self.lm_head(self.ln(x))", "return self.lm_head(self.ln(x)).softmax(-1)"),
    ),
    plant(
        "causal_lm",
        "modules in a plain list",
        ("nn.ModuleList([Block(), Block()])", "[Block(), Block()]"),
        proven=UNUSED,
    ),
    plant(
        "causal_lm",
        "gradients cleared before the step",
        (
            "    optimizer.zero_grad(set_to_none=True)\n    loss.backward()\n",
            "    loss.backward()\n    optimizer.zero_grad(set_to_none=True)\n",
        ),
    ),
    plant(
        "causal_lm",
        "weights start huge",
        (
            "    def forward(self, idx):",
            "        for p in self.parameters():\n            nn.init.normal_(p, std=3.0)\n\n    def forward(self, idx):",
        ),
    ),
    # --- bag_of_words: EmbeddingBag, Adagrad
    plant("bag_of_words", "learning rate far too low", ("lr=0.2", "lr=1e-6")),
    plant(
        "bag_of_words",
        "weights start alike",
        (
            "self.embedding.weight.data.uniform_(-0.5, 0.5)",
            "nn.init.zeros_(self.embedding.weight)\n        nn.init.zeros_(self.fc.weight)",
        ),
    ),
    plant("bag_of_words", "part not optimised", ("Adagrad(model.parameters()", "Adagrad(model.fc.parameters()")),
    # --- conv_autoencoder
    plant("conv_autoencoder", "learning rate far too high", ("lr=2e-3", "lr=2.0")),
    plant("conv_autoencoder", "learning rate far too low", ("lr=2e-3", "lr=2e-7")),
    plant(
        "conv_autoencoder", "part not optimised", ("optim.Adam(net.parameters()", "optim.Adam(net.decoder.parameters()")
    ),
    plant("conv_autoencoder", "graph cut", ("return self.decoder(code)", "return self.decoder(code.detach())")),
    plant("conv_autoencoder", "gradients never cleared", ("            optimizer.zero_grad()\n", "")),
    plant(
        "conv_autoencoder",
        "scaled twice",
        (
            "    train_images = (train_images - mean) / std\n    val_images = (val_images - mean) / std\n",
            "    train_images, val_images = train_images / 255, val_images / 255\n",
        ),
        ("validation {val:.4f}", "validation {val / val_images.var().item():.4f}"),
    ),
    # --- vae_mini
    plant("vae_mini", "learning rate far too high", ("lr=2e-3", "lr=2.0")),
    plant("vae_mini", "learning rate far too low", ("lr=2e-3", "lr=1e-7")),
    plant("vae_mini", "posterior collapse", ("return BCE + KLD", "return BCE + 1000 * KLD")),
    plant("vae_mini", "gradients never cleared", ("        optimizer.zero_grad()\n", ""), ("lr=2e-3", "lr=1e-2")),
    plant(
        "vae_mini",
        "not a number",
        ("return mu + torch.randn_like(std) * std", "return mu + torch.randn_like(std) * torch.sqrt(logvar)"),
    ),
    plant(
        "vae_mini",
        "part not optimised",
        ("optim.Adam(model.parameters(), ", "optim.Adam([*model.fc3.parameters(), *model.fc4.parameters()], "),
    ),
    # --- gan_ring
    plant("gan_ring", "learning rate far too high", ("lr=5e-4", "lr=0.5"), ("lr=2e-3", "lr=2.0")),
    plant("gan_ring", "learning rate far too low", ("lr=5e-4", "lr=1e-8")),
    plant(
        "gan_ring",
        "graph cut",
        ("loss_g = criterion(D(fake), torch.ones(BATCH))", "loss_g = criterion(D(fake.detach()), torch.ones(BATCH))"),
    ),
    plant("gan_ring", "gradients never cleared", ("    opt_d.zero_grad()\n", "")),
    plant(
        "gan_ring",
        "part not optimised",
        ("opt_g = optim.Adam(G.parameters()", "opt_g = optim.Adam(G.net[4].parameters()"),
    ),
    # --- wgan_clip
    plant("wgan_clip", "learning rate far too high", ("lr=1e-3", "lr=10.0")),
    plant("wgan_clip", "learning rate far too low", ("lr=1e-3", "lr=1e-7")),
    plant("wgan_clip", "gradients never cleared", ("        self.optim_g.zero_grad()\n", "")),
    plant("wgan_clip", "step never taken", ("        self.optim_g.step()\n", "")),
    # --- actor_critic
    plant("actor_critic", "learning rate far too high", ("lr=0.01", "lr=100.0")),
    plant("actor_critic", "learning rate far too low", ("lr=0.01", "lr=1e-6")),
    plant("actor_critic", "step never taken", ("        optimizer.step()\n", "        optimizer.step\n")),
    plant("actor_critic", "penalty drowns the loss", ("- 0.01 *", "- 10.0 *")),
    # --- dqn_grid
    plant("dqn_grid", "learning rate far too high", ("lr=2e-3", "lr=2.0")),
    plant("dqn_grid", "learning rate far too low", ("lr=2e-3", "lr=2e-7")),
    plant(
        "dqn_grid",
        "broadcast loss",
        (
            "q_values = policy_net(states).gather(1, actions).squeeze(1)",
            "q_values = policy_net(states).gather(1, actions)",
        ),
    ),
    plant("dqn_grid", "another model optimised", ("Adam(policy_net.parameters()", "Adam(target_net.parameters()")),
    # --- diabetes_sgd
    plant("diabetes_sgd", "learning rate far too high", ("lr=0.005", "lr=1.0")),
    plant("diabetes_sgd", "learning rate far too low", ("lr=0.005", "lr=1e-6")),
    plant(
        "diabetes_sgd",
        "broadcast loss",
        (
            "return self.out(self.drop(self.act(self.hidden(x)))).squeeze(1)",
            "return self.out(self.drop(self.act(self.hidden(x))))",
        ),
    ),
    plant(
        "diabetes_sgd",
        "raw inputs",
        ("torch.tensor(x_scaler.transform(X), dtype", "torch.tensor(X, dtype"),
    ),
    plant(
        "diabetes_sgd",
        "dead ReLU",
        (
            "        self.act = nn.ReLU()\n",
            "        self.act = nn.ReLU()\n        nn.init.constant_(self.hidden.bias, -20.0)\n",
        ),
    ),
    plant(
        "diabetes_sgd",
        "overfitting",
        ("order[:330], order[330:]", "order[:40], order[330:]"),
        ("nn.Dropout(0.2)", "nn.Dropout(0.0)"),
        ("Regressor(10, 32)", "Regressor(10, 512)"),
        ("range(20)", "range(250)"),
        ("lr=0.005", "lr=0.01"),
        (", weight_decay=1e-3", ""),
    ),
    plant(
        "diabetes_sgd",
        "evaluated in training mode",
        ("        model.eval()\n", ""),
        ("nn.Dropout(0.2)", "nn.Dropout(0.5)"),
    ),
    plant(
        "diabetes_sgd",
        "labels do not belong to inputs",
        ("TensorDataset(X[train], y[train])", "TensorDataset(X[train], y[val].repeat(3)[:330])"),
    ),
    plant("diabetes_sgd", "gradients never cleared", ("            optimizer.zero_grad()\n", "")),
    # --- friedman_huber
    plant("friedman_huber", "learning rate far too high", ('"lr": 3e-3', '"lr": 3.0')),
    plant("friedman_huber", "learning rate far too low", ('"lr": 3e-3', '"lr": 1e-7')),
    plant(
        "friedman_huber",
        "rate falls to zero",
        (
            "            optimizer.step()\n        scheduler.step()\n",
            "            optimizer.step()\n            scheduler.step()\n",
        ),
        ('"decay": 0.95', '"decay": 0.8'),
    ),
    plant("friedman_huber", "broadcast loss", (".view(-1, 1)", "")),
    plant("friedman_huber", "no nonlinearity", ("        layers.append(nn.SiLU())\n", "")),
    plant(
        "friedman_huber",
        "raw inputs",
        (
            "x, y = (x - x.mean(0)) / x.std(0), (y - 14.4) / 5.0",
            "x, y = x * [1000, 1000, 1000, 1, 1, 1, 1, 1], (y - 14.4) / 5.0",
        ),
    ),
    plant("friedman_huber", "step never taken", ("            optimizer.step()\n", "")),
    # --- gaussian_head
    plant("gaussian_head", "learning rate far too high", ("lr=4e-3", "lr=4.0")),
    plant("gaussian_head", "learning rate far too low", ("lr=4e-3", "lr=1e-7")),
    plant(
        "gaussian_head",
        "deviation given for variance",
        (
            "loss = self.criterion(mean, self.train_y[idx], var)",
            "loss = self.criterion(mean, self.train_y[idx], var.sqrt())",
        ),
    ),
    plant(
        "gaussian_head",
        "broadcast loss",
        (
            "return x, torch.sin(2 * x) + noise * torch.randn(n, 1)",
            "return x, (torch.sin(2 * x) + noise * torch.randn(n, 1)).squeeze(1)",
        ),
        (
            "self.criterion = nn.GaussianNLLLoss()",
            "self.criterion = lambda m, y, v: (0.5 * v.log() + 0.5 * (y - m) ** 2 / v).mean()",
        ),
    ),
    plant(
        "gaussian_head",
        "not a number",
        ("F.softplus(self.var_head(h)) + 1e-4", "self.var_head(h)"),
        (
            "self.criterion = nn.GaussianNLLLoss()",
            "self.criterion = lambda m, y, v: (0.5 * v.log() + 0.5 * (y - m) ** 2 / v).mean()",
        ),
    ),
    plant(
        "gaussian_head",
        "part not optimised",
        (
            "torch.optim.Adam(self.model.parameters(), ",
            "torch.optim.Adam([*self.model.trunk.parameters(), *self.model.mean_head.parameters()], ",
        ),
        proven=UNUSED,
    ),
    # --- multilabel
    plant("multilabel", "learning rate far too high", ("lr=2e-3", "lr=2.0")),
    plant("multilabel", "learning rate far too low", ("lr=2e-3", "lr=2e-7")),
    plant(
        "multilabel",
        "sigmoid before its own loss",
        ("return self.net(x)", "return torch.sigmoid(self.net(x))"),
        ("model(features) > 0)", "model(features) > 0.5)"),
    ),
    plant(
        "multilabel",
        "loss of another task",
        ("nn.BCEWithLogitsLoss()", "nn.MSELoss()"),
        ("model(features) > 0)", "model(features) > 0.5)"),
        proven="squared error for yes and no: no likelihood, and gradients that fade where it is most wrong",
    ),
    plant("multilabel", "gradients never cleared", ("        optimizer.zero_grad()\n", "")),
    plant(
        "multilabel",
        "labels do not belong to inputs",
        ("loss = criterion(scores, labels)", "loss = criterion(scores, labels.roll(1, 0))"),
    ),
    plant("multilabel", "step never taken", ("        optimizer.step()\n", "        optimizer.step\n")),
    # --- imbalanced_weights
    plant("imbalanced_weights", "learning rate far too high", ("lr=0.1", "lr=100.0")),
    plant("imbalanced_weights", "learning rate far too low", ("lr=0.1", "lr=3e-6")),
    plant(
        "imbalanced_weights",
        "collapse to one class",
        ("weights = counts.sum() / (2 * counts)", "weights = torch.tensor([100.0, 0.1])"),
    ),
    plant(
        "imbalanced_weights", "dead ReLU", ("criterion = nn", "nn.init.constant_(model[2].bias, -30.0)\ncriterion = nn")
    ),
    plant("imbalanced_weights", "gradients never cleared", ("        optimizer.zero_grad()\n", "")),
    plant(
        "imbalanced_weights",
        "raw inputs",
        ("torch.tensor((X_train - mu) / sigma).float()", "torch.tensor(X_train * 300).float()"),
        ("torch.tensor((X_test - mu) / sigma).float()", "torch.tensor(X_test * 300).float()"),
    ),
    plant(
        "imbalanced_weights",
        "weights start alike",
        ("criterion = nn", "for p in model.parameters():\n    nn.init.zeros_(p)\ncriterion = nn"),
    ),
    # --- triplet_digits
    plant("triplet_digits", "learning rate far too high", ("lr=1e-3", "lr=10.0")),
    plant("triplet_digits", "learning rate far too low", ("lr=1e-3", "lr=1e-8")),
    plant(
        "triplet_digits",
        "weights start alike",
        (
            "    optimizer = torch",
            "    for p in model.parameters():\n        nn.init.constant_(p, 0.02)\n    optimizer = torch",
        ),
    ),
    # --- distill_digits
    plant(
        "distill_digits",
        "divergence of probabilities",
        ("F.log_softmax(student_logits / TEMPERATURE, dim=1)", "F.softmax(student_logits / TEMPERATURE, dim=1)"),
        ("ALPHA = 0.8", "ALPHA = 1.0"),
    ),
    plant("distill_digits", "learning rate far too high", ("lr=3e-3", "lr=3.0")),
    plant("distill_digits", "learning rate far too low", ("lr=3e-3", "lr=3e-7")),
    plant("distill_digits", "another model optimised", ("AdamW(student.parameters()", "AdamW(teacher.parameters()")),
    plant(
        "distill_digits",
        "softmax over the batch",
        ("F.softmax(teacher_logits / TEMPERATURE, dim=1)", "F.softmax(teacher_logits / TEMPERATURE, dim=0)"),
        ("ALPHA = 0.8", "ALPHA = 1.0"),
    ),
    # --- lora_shift
    plant("lora_shift", "learning rate far too high", ("lr=5e-3, epochs=8", "lr=5.0, epochs=8")),
    plant("lora_shift", "learning rate far too low", ("lr=5e-3, epochs=8", "lr=1e-7, epochs=8")),
    plant(
        "lora_shift",
        "weights start alike",
        ("torch.randn(rank, base.in_features) / base.in_features**0.5", "torch.zeros(rank, base.in_features)"),
    ),
    plant(
        "lora_shift",
        "gradients cleared before the step",
        ("            optimizer.zero_grad()\n            loss = ", "            loss = "),
        ("            loss.backward()\n", "            loss.backward()\n            optimizer.zero_grad()\n"),
    ),
    # --- mixture_inverse
    plant("mixture_inverse", "learning rate far too high", ("lr=1e-2", "lr=10.0")),
    plant("mixture_inverse", "learning rate far too low", ("lr=1e-2", "lr=1e-7")),
    plant(
        "mixture_inverse",
        "not a number",
        (
            "return -torch.logsumexp(log_weights + log_probs, dim=1).mean()",
            "return -torch.log((log_weights + log_probs).exp().sum(1)).mean()",
        ),
        ("self.log_stds(h).clamp(-5, 3)", "self.log_stds(h) - 4"),
    ),
    plant(
        "mixture_inverse",
        "rate falls to zero",
        (
            "            optimizer.step()\n        scheduler.step()\n",
            "            optimizer.step()\n            scheduler.step()\n",
        ),
        (
            "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)",
            "torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)",
        ),
    ),
    # --- lbfgs_wine
    plant("lbfgs_wine", "raw inputs", ("torch.tensor((a - m) / s, dtype", "torch.tensor(a, dtype")),
    plant("lbfgs_wine", "penalty drowns the loss", ("penalty = 2e-3", "penalty = 2.0")),
    plant("lbfgs_wine", "softmax before cross entropy", ("nn.Linear(16, 3))", "nn.Linear(16, 3), nn.Softmax(1))")),
    # --- stateful_signal
    plant("stateful_signal", "state never detached", ("        state = detach(state)\n", "")),
    plant("stateful_signal", "learning rate far too high", ("lr=5e-3", "lr=5.0")),
    plant("stateful_signal", "learning rate far too low", ("lr=5e-3", "lr=5e-8")),
    plant("stateful_signal", "gradients never cleared", ("        optimizer.zero_grad()\n", "")),
    plant(
        "stateful_signal",
        "target among the inputs",
        ("y = train_data[:, start + 1 : start + STRETCH + 1]", "y = train_data[:, start : start + STRETCH]"),
    ),
    # --- faults of kinds that few programs have room for
    plant(
        "cancer_selu",
        "loss of another task",
        ("criterion = nn.BCEWithLogitsLoss()", "criterion = nn.CrossEntropyLoss()"),
    ),
    plant(
        "transformer_counts",
        "parameter not registered",
        ("nn.Parameter(torch.randn(longest, dim) * 0.02)", "torch.randn(longest, dim, requires_grad=True)"),
        proven=UNUSED,
    ),
    plant(
        "causal_lm",
        "samples mixed",
        (".view(b, t, 3, n_head, c // n_head).permute(2, 0, 3, 1, 4)", ".view(3, b, n_head, t, c // n_head)"),
        proven="what is said of a word depends on other sentences of the batch",
    ),
    plant(
        "distill_digits",
        "divergence averaged over classes",
        ('reduction="batchmean"', 'reduction="mean"'),
        proven="the soft part weighs a tenth of what ALPHA says",
    ),
    plant(
        "resnet_mini",
        "schedule of another length",
        ("total_steps=epochs * len(train_loader)", "total_steps=100 * epochs * len(train_loader)"),
        proven="the rate never gets past the beginning of its warm-up",
    ),
    plant(
        "mixture_inverse",
        "schedule of another length",
        ("T_max=epochs", "T_max=13"),
        proven="the rate goes up and down and ends at its highest, where a single fall is meant",
    ),
    plant("lora_shift", "random part frozen", ("lr=1e-3, epochs=8", "lr=1e-3, epochs=0")),
    plant(
        "cnn_trainer",
        "random part frozen",
        (
            "    trainer = Trainer(ConvNet(), train_set, val_set)\n",
            "    net = ConvNet()\n    net.features.requires_grad_(False)\n    trainer = Trainer(net, train_set, val_set)\n",
        ),
    ),
)
