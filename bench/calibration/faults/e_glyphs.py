"""What is planted in the programs of this folder."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "corridor_ddqn": "return",
    "crowd_density": "loss",
    "deeponet_integral": "loss",
    "event_gpt": "loss",
    "fm_clicks": "loss",
    "gat_nodes": "accuracy",
    "glyph_vgg": "accuracy",
    "reactor_multitask": "loss",
    "skip_denoiser": "loss",
    "stream_gru": "loss",
    "ticket_attention": "accuracy",
    "wave_contrast": "accuracy",
}

UNUSED = "the parameters left out never change, which is not what the program says it does"
LEAKS = "the network is shown what it has to predict, which it will not have in use; the score is that of copying"
MODE = "after the first validation the rest of the training runs in evaluation mode"
BATCH_STATISTICS = "the running statistics are those of the last batch (99 %), not an average over many"

PLANTED: tuple[Fault, ...] = (
    # --- glyph_vgg: argparse, SGD, batches cut by hand
    plant(
        "glyph_vgg",
        "learning rate far too low",
        ("lr=args.lr, momentum", "lr=args.lr / len(x_train), momentum"),
    ),
    plant(
        "glyph_vgg",
        "argument in wrong slot",
        ("lr=args.lr, momentum=0.9, weight_decay=5e-4)", "args.lr, 5e-4, 0.9)"),
        proven="what is meant as the weight decay lands in momentum, and the momentum in dampening",
    ),
    plant("glyph_vgg", "sorted and not shuffled", ("torch.randperm(len(x_train))", "torch.arange(len(x_train))")),
    plant(
        "glyph_vgg",
        "rate falls to zero",
        ("            optimizer.step()\n", "            optimizer.step()\n            scheduler.step()\n"),
        ("        scheduler.step()\n        net.eval()\n", "        net.eval()\n"),
    ),
    plant(
        "glyph_vgg",
        "log-softmax missing",
        ("[nn.Linear(64, n_classes), nn.LogSoftmax(dim=1)]", "[nn.Linear(64, n_classes)]"),
    ),
    # --- crowd_density: trainer class, dataclass config, a Dataset that flips
    plant(
        "crowd_density",
        "image augmented without its mask",
        (
            "            image, density = image[:, :, ::-1], density[:, :, ::-1]\n",
            "            image = image[:, :, ::-1]\n",
        ),
        ("            image, density = image[:, ::-1], density[:, ::-1]\n", "            image = image[:, ::-1]\n"),
    ),
    plant("crowd_density", "sum in place of mean", ("nn.MSELoss()", 'nn.MSELoss(reduction="sum")')),
    plant(
        "crowd_density",
        "dead ReLU",
        ("    prior: float = 0.2\n", "    prior: float = -2.0\n"),
        ("        return self.head(x)\n", "        return F.relu(self.head(x))  # there is no negative crowd\n"),
    ),
    plant(
        "crowd_density",
        "layer made in forward",
        ("        self.conv2 = nn.Conv2d(width, width, 3, padding=1)\n", ""),
        (
            "        x = F.relu(self.conv2(x))\n",
            "        conv2 = nn.Conv2d(x.shape[1], x.shape[1], 3, padding=1)\n        x = F.relu(conv2(x))\n",
        ),
    ),
    # --- fm_clicks: flat, gradients gathered
    plant(
        "fm_clicks",
        "weights start alike",
        ("0.1 * torch.randn(sum(cards), rank)", "torch.full((sum(cards), rank), 0.1)"),
    ),
    plant(
        "fm_clicks",
        "parameter not registered",
        ("nn.Parameter(0.1 * torch.randn(sum(cards), rank))", "(0.1 * torch.randn(sum(cards), rank)).requires_grad_()"),
    ),
    plant(
        "fm_clicks",
        "accumulation clears each micro batch",
        ("        loss = log_loss(fm(cols", "        opt.zero_grad()\n        loss = log_loss(fm(cols"),
        ("            opt.step()\n            opt.zero_grad()\n", "            opt.step()\n"),
        ("    opt.zero_grad()\n    for i, pick", "    for i, pick"),
        proven="of every four micro batches only the last one's gradient reaches the step, and that divided by four",
    ),
    plant(
        "fm_clicks",
        "broadcast loss",
        ("v.square().sum(dim=1)).sum(dim=1)", "v.square().sum(dim=1)).sum(dim=1, keepdim=True)"),
        ("self.linear(rows).sum(dim=1).squeeze(-1)", "self.linear(rows).sum(dim=1)"),
    ),
    plant(
        "fm_clicks",
        "part not optimised",
        ("Adam(fm.parameters(), lr=0.02)", "Adam([fm.intercept, *fm.linear.parameters()], lr=0.02)"),
    ),
    # --- reactor_multitask: deep trunk, two heads, likelihood
    plant("reactor_multitask", "deviation given for variance", ("nll(centre, y, sd**2)", "nll(centre, y, sd)")),
    plant(
        "reactor_multitask",
        "deep ReLU stack, default start",
        ("        self.apply(self.start)\n", ""),
        (
            "    @staticmethod\n    def start(layer):\n        if isinstance(layer, nn.Linear):\n"
            '            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")\n'
            "            nn.init.zeros_(layer.bias)\n\n",
            "",
        ),
    ),
    plant(
        "reactor_multitask",
        "scaled twice",
        (
            "    loader = DataLoader(TensorDataset(x_fit, y_fit), batch",
            "    x_fit, x_val = scale_x(x_fit.numpy()), scale_x(x_val.numpy())\n"
            "    loader = DataLoader(TensorDataset(x_fit, y_fit), batch",
        ),
    ),
    plant(
        "reactor_multitask",
        "target among the inputs",
        ("Standard(fit_rows[:, :READINGS])", "Standard(fit_rows[:, :-2])"),
        ("scale_x(fit_rows[:, :READINGS])", "scale_x(fit_rows[:, :-2])"),
        ("scale_x(val_rows[:, :READINGS])", "scale_x(val_rows[:, :-2])"),
        proven="the first of the three yields, which are to be predicted, is the tenth input column",
    ),
    # --- event_gpt: Transformer by hand, averaged weights
    plant("event_gpt", "future seen", (".triu(diagonal=1)", ".tril(diagonal=-1)"), proven=LEAKS),
    plant(
        "event_gpt",
        "targets not shifted",
        ("inputs, targets = logs[:, :-1], logs[:, 1:]", "inputs, targets = logs, logs"),
        proven=LEAKS,
    ),
    plant(
        "event_gpt",
        "weight average never updated",
        (
            "            kept.mul_(self.decay).add_(new, alpha=1 - self.decay)\n",
            "            kept = self.decay * kept + (1 - self.decay) * new\n",
        ),
    ),
    plant(
        "event_gpt",
        "part not optimised",
        (
            'if n.endswith("weight") and "norm" not in n]',
            'if n.endswith("weight") and n.startswith(("blocks", "head")) and "norm" not in n]',
        ),
        proven=UNUSED,
    ),
    # --- skip_denoiser: flat notebook
    plant(
        "skip_denoiser",
        "noise added in place to the clean picture",
        ("noisy = x + SIGMA * torch.randn_like(x)", "noisy = x.add_(SIGMA * torch.randn_like(x))"),
    ),
    plant(
        "skip_denoiser",
        "output cannot reach the targets",
        ("        return self.out(d)\n", "        return torch.sigmoid(self.out(d))\n"),
    ),
    plant(
        "skip_denoiser",
        "gradients cleared before the step",
        ("        o.zero_grad()\n        loss.backward()\n", "        loss.backward()\n        o.zero_grad()\n"),
    ),
    # --- corridor_ddqn: functions, a memory of three-step returns
    plant(
        "corridor_ddqn",
        "target network never updated",
        ("target.load_state_dict(online.state_dict())", "target.state_dict().update(online.state_dict())"),
    ),
    plant(
        "corridor_ddqn",
        "returns summed the wrong way",
        ("in reversed(window):", "in window:"),
        proven="the reward that comes last is not discounted and the first one is discounted most",
    ),
    plant(
        "corridor_ddqn",
        "broadcast loss",
        ("gather(1, action.unsqueeze(1)).squeeze(1)", "gather(1, action.unsqueeze(1))"),
    ),
    plant(
        "corridor_ddqn",
        "gradients cleared before the step",
        ("    optimizer.zero_grad()\n    loss.backward()\n", "    loss.backward()\n    optimizer.zero_grad()\n"),
    ),
    # --- gat_nodes: flat, full batch
    plant(
        "gat_nodes",
        "softmax over the batch",
        ("F.log_softmax(x, dim=1)", "F.log_softmax(x, dim=0)"),
        proven="a class's probabilities sum to one over the members, not a member's over the classes",
    ),
    plant(
        "gat_nodes",
        "argument in wrong slot",
        ("F.dropout(x, hp.dropout, self.training)", "F.dropout(x, self.training)"),
    ),
    plant(
        "gat_nodes",
        "attention softmax over a wrong dimension",
        ("torch.softmax(e, dim=1)", "torch.softmax(e, dim=-1)"),
    ),
    plant("gat_nodes", "too much dropout", ("dropout=0.3", "dropout=0.95")),
    # --- wave_contrast: contrastive pre-training and a probe
    plant(
        "wave_contrast",
        "contrastive loss without negatives",
        ("    similarity = similarity.masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e9)\n", ""),
        (
            "    return F.cross_entropy(similarity, partner)\n",
            "    return -similarity[torch.arange(2 * n), partner].mean()\n",
        ),
    ),
    plant("wave_contrast", "training mode not restored", ("    encoder.train()\n", ""), proven=MODE),
    plant(
        "wave_contrast",
        "random part frozen",
        ("    encoder = Encoder()\n", "    encoder = Encoder().requires_grad_(False)  # the probe needs it frozen\n"),
        proven="the encoder is what is to be pre-trained, and its convolutions stay as drawn",
    ),
    plant(
        "wave_contrast",
        "batch norm momentum misread",
        ("nn.BatchNorm1d(width)", "nn.BatchNorm1d(width, momentum=0.99)"),
        ("nn.BatchNorm1d(2 * width)", "nn.BatchNorm1d(2 * width, momentum=0.99)"),
        proven=BATCH_STATISTICS,
    ),
    # --- ticket_attention: two levels of attention pooling, unequal classes
    plant(
        "ticket_attention",
        "padding pooled as if it were data",
        ("        mask = words != PAD\n", "        mask = words >= PAD\n"),
        proven="the mask is true everywhere: padding takes part in both pools, and what a ticket gets depends on its batch",
    ),
    plant(
        "ticket_attention",
        "softmax before cross entropy",
        ("return self.desk(ticket)", "return self.desk(ticket).softmax(dim=-1)"),
        proven="the loss cannot fall below log(1 + 3/e), and gradients are those of a softmax of a softmax",
    ),
    plant("ticket_attention", "not a number", ("masked_fill(~mask, -1e4)", 'masked_fill(~mask, float("-inf"))')),
    plant(
        "ticket_attention",
        "class weights inverted",
        ("weight = len(train) / (len(DESKS) * busy.float())", "weight = len(DESKS) * busy.float() / len(train)"),
    ),
    plant(
        "ticket_attention",
        "collapse to one class",
        ("weight = len(train) / (len(DESKS) * busy.float())", "weight = (busy.min() // busy).float()"),
    ),
    # --- deeponet_integral: dataclass, functional
    plant(
        "deeponet_integral",
        "no nonlinearity",
        (
            "            x = nn.functional.gelu(layer(x))\n",
            "            x = layer(x)\n            nn.functional.gelu(x)\n",
        ),
    ),
    plant(
        "deeponet_integral",
        "train and validation scaled differently",
        ("(u_new - mean) / std", "(u_new - u_new.mean(dim=0)) / u_new.std(dim=0)"),
    ),
    plant(
        "deeponet_integral",
        "parameter not registered",
        ("self.bias = nn.Parameter(torch.zeros(()))", "self.bias = torch.zeros((), requires_grad=True)"),
        proven="the bias is no parameter: no optimiser sees it, it stays 0 and is in no state dict",
    ),
    plant(
        "deeponet_integral",
        "rate falls to zero",
        ("CosineAnnealingLR(opt, T_max=s.epochs * per_epoch)", "ExponentialLR(opt, gamma=0.9)"),
        ("    per_epoch = math.ceil(len(u) / s.batch)\n", ""),
    ),
    plant("deeponet_integral", "learning rate far too low", ("lr: float = 3e-3", "lr: float = 3e-6")),
    # --- stream_gru: flat, a state carried along
    plant(
        "stream_gru",
        "future seen",
        ("nn.GRU(1, hidden)", "nn.GRU(1, hidden, bidirectional=True)"),
        ("nn.Linear(hidden, 1)", "nn.Linear(2 * hidden, 1)"),
        proven=LEAKS,
    ),
    plant(
        "stream_gru",
        "train and validation scaled differently",
        (
            "train, valid = series[:cut], series[cut:]\n",
            "train, valid = series[:cut], torch.from_numpy(readings[cut:]).unsqueeze(-1)\n",
        ),
    ),
    plant("stream_gru", "targets not shifted", ("train[i + 1 : i + WINDOW + 1]", "train[i : i + WINDOW]")),
)
