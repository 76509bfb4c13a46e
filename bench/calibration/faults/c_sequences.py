"""What is planted in unseen programs on tables, series, words and games: by people who had seen no rule."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "churn_embeddings": "accuracy",
    "impedance_table": "loss",
    "load_forecast": "loss",
    "rhythm_gru": "accuracy",
    "story_lm": "loss",
    "sort_seq2seq": "accuracy",
    "rating_factors": "loss",
    "ranknet_queries": "accuracy",
    "reinforce_cart": "steps on the track",
    "dqn_catch": "return",
    "price_ensemble": "loss",
    "curve_vae": "loss",
}


PLANTED: tuple[Fault, ...] = (
    # --- churn_embeddings: embedded categories, rare positives, bf16 autocast
    plant(
        "churn_embeddings", "collapse to one class", ("pos_weight=n_neg / n_pos", "pos_weight=torch.tensor(50_000.0)")
    ),
    plant("churn_embeddings", "class weights inverted", ("pos_weight=n_neg / n_pos", "pos_weight=n_pos / n_neg")),
    plant("churn_embeddings", "too much dropout", ("width=64, p=0.1", "width=64, p=0.9")),
    plant(
        "churn_embeddings",
        "random part frozen",
        ("nn.Embedding(c, 6)", "nn.Embedding.from_pretrained(torch.randn(c, 6))"),
        proven="from_pretrained freezes by default: the three tables stay the random numbers they were drawn as",
    ),
    plant(
        "churn_embeddings",
        "loss of another task",
        ("nn.BCEWithLogitsLoss(pos_weight=n_neg / n_pos)", "nn.SoftMarginLoss()"),
        proven="SoftMarginLoss is for labels -1 and 1; a label of 0 gives the constant log 2 and no gradient",
    ),
    plant(
        "churn_embeddings",
        "sampler given weights of classes",
        ("import DataLoader, Dataset", "import DataLoader, Dataset, WeightedRandomSampler"),
        (
            "    train_loader = ",
            "    sampler = WeightedRandomSampler([1 / 0.88, 1 / 0.12], len(train_set))\n    train_loader = ",
        ),
        ("shuffle=True", "sampler=sampler"),
    ),
    # --- impedance_table: own swish, residual blocks, one-cycle, averaged weights
    plant("impedance_table", "raw inputs", ("    x = (x - x[:cut].mean(0)) / x[:cut].std(0)\n", "")),
    plant(
        "impedance_table",
        "labels do not belong to inputs",
        (
            "x, y = shuffle(x, y, random_state=cfg.seed)",
            "x, y = shuffle(x, random_state=cfg.seed), shuffle(y, random_state=cfg.seed + 1)",
        ),
    ),
    plant("impedance_table", "no nonlinearity", ("Swish.apply(self.widen(h))", "self.widen(h)")),
    plant("impedance_table", "weight average never updated", ("mine.lerp_(theirs,", "mine.lerp(theirs,")),
    plant(
        "impedance_table",
        "wrong custom backward",
        ("return grad * (s + x * s * (1 - s))", "return grad * s * (1 - s)"),
        proven="that is the derivative of the sigmoid, not of x * sigmoid(x); gradcheck fails",
    ),
    # --- load_forecast: LSTM on windows of a time series
    plant(
        "load_forecast",
        "train and validation scaled differently",
        (
            "features(load[split:], t[split:], mean, std)",
            "features(load[split:], t[split:], load[split:].mean(), load[split:].std())",
        ),
    ),
    plant("load_forecast", "batch_first forgotten", ("nn.LSTM(4, hidden, batch_first=True)", "nn.LSTM(4, hidden)")),
    plant(
        "load_forecast",
        "future seen",
        ('mode="full")[: len(z)]', 'mode="same")'),
        proven="the daily mean is centred: at the last hour of a window it holds the twelve hours after it",
    ),
    plant("load_forecast", "learning rate far too low", ("lr=5e-3", "lr=5e-6")),
    plant("load_forecast", "penalty drowns the loss", ("SMOOTH = 1e-3", "SMOOTH = 10.0")),
    # --- rhythm_gru: padded sequences, time-first GRU, collate
    plant(
        "rhythm_gru",
        "padding read as the last state",
        ("last = out[lengths - 1, torch.arange(len(lengths))]", "last = out[-1]"),
        proven="what is read is the state after the padding, whose length depends on the other samples of the batch",
    ),
    plant(
        "rhythm_gru",
        "labels do not belong to inputs",
        (
            "    batch = sorted(batch, key=lambda item: len(item[0]), reverse=True)\n    strokes, labels = zip(*batch)\n",
            "    strokes, labels = zip(*batch)\n    strokes = sorted(strokes, key=len, reverse=True)\n",
        ),
    ),
    plant(
        "rhythm_gru",
        "samples mixed",
        ("torch.tanh(self.lift(x)).transpose(0, 1)", "torch.tanh(self.lift(x)).reshape(x.size(1), x.size(0), -1)"),
    ),
    plant(
        "rhythm_gru",
        "graph cut",
        (
            "        out, _ = self.gru(x)\n",
            "        with torch.no_grad():\n            out, _ = self.gru(x)\n",
        ),
    ),
    plant(
        "rhythm_gru",
        "collapse to one class",
        ("weight=counts.sum() / (4 * counts)", "weight=torch.tensor([1.0, 1.0, 1.0, 1000.0])"),
    ),
    # --- story_lm: tied LSTM, warm-up, accumulation
    plant(
        "story_lm",
        "targets not shifted",
        ("chunk[:, :-1], chunk[:, 1:]", "chunk[:, :-1], chunk[:, :-1]"),
        proven="the word to be predicted is the word that is read",
    ),
    plant(
        "story_lm",
        "warm-up longer than the training",
        ('"--warmup", type=int, default=20', '"--warmup", type=int, default=20000'),
    ),
    plant(
        "story_lm",
        "future seen",
        ("nn.LSTM(dim, dim, batch_first=True)", "nn.LSTM(dim, dim // 2, batch_first=True, bidirectional=True)"),
        proven="the backward direction reads the words that are to be predicted",
    ),
    plant(
        "story_lm",
        "too much dropout",
        ('"--dropout", type=float, default=0.1', '"--dropout", type=float, default=0.95'),
    ),
    plant("story_lm", "step never taken", ("if (i + 1) % args.accumulate == 0", "if i + 1 % args.accumulate == 0")),
    # --- sort_seq2seq: GRU encoder and decoder with additive attention
    plant(
        "sort_seq2seq",
        "attention softmax over a wrong dimension",
        ("torch.softmax(scores, dim=1)", "torch.softmax(scores, dim=0)"),
        proven="a sentence's weights depend on the other sentences of the batch and do not add up to one",
    ),
    plant(
        "sort_seq2seq",
        "target among the inputs",
        ("logits = model(src, shown)", "logits = model(src, tgt)"),
    ),
    plant(
        "sort_seq2seq",
        "samples mixed",
        ("return outputs.transpose(0, 1), state[0]", "return outputs.reshape(src.size(0), src.size(1), -1), state[0]"),
        proven="the memory that a sentence attends to holds states of other sentences",
    ),
    # --- rating_factors: matrix factorisation with biases
    plant("rating_factors", "weight decay far too strong", ("weight_decay=0.1", "weight_decay=3.0")),
    plant(
        "rating_factors",
        "overfitting",
        ("FACTORS = 200, 120, 6", "FACTORS = 200, 120, 64"),
        ("EPOCHS, BATCH = 20, 128", "EPOCHS, BATCH = 50, 128"),
        (", weight_decay=0.1", ", weight_decay=0.0"),
        ("gamma=0.9)", "gamma=0.98)"),
    ),
    plant(
        "rating_factors",
        "broadcast loss",
        (
            "bias = self.user_bias(user).squeeze(1) + self.film_bias(film).squeeze(1)",
            "bias = self.user_bias(user) + self.film_bias(film)",
        ),
        proven="each pair's bias is added to every other pair's match: predictions are a square matrix",
    ),
    plant(
        "rating_factors",
        "random part frozen",
        ("opt = torch.optim.AdamW(", "model.film.requires_grad_(False)\nopt = torch.optim.AdamW("),
    ),
    # --- ranknet_queries: pairwise ranking, one backward for each query
    plant(
        "ranknet_queries",
        "no nonlinearity",
        (
            "            nn.Linear(n_features, 48),\n            nn.Tanh(),\n            nn.Linear(48, 32),\n            nn.Tanh(),\n",
            "            nn.Linear(n_features, 48),\n            nn.Linear(48, 32),\n",
        ),
    ),
    plant(
        "ranknet_queries",
        "target among the inputs",
        ("Query(rows[:, 1:8], rows[:, -1])", "Query(rows[:, 1:], rows[:, -1])"),
        proven="the last of the eight features is the relevance itself",
    ),
    plant(
        "ranknet_queries",
        "accumulation clears each micro batch",
        (
            "            self.optim.zero_grad()\n            for i in chosen:\n",
            "            for i in chosen:\n                self.optim.zero_grad()\n",
        ),
        proven="of sixteen queries only the last one's gradient is left, divided by sixteen",
    ),
    # --- reinforce_cart
    plant("reinforce_cart", "wrong sign of REINFORCE", ("loss = -(torch.stack", "loss = (torch.stack")),
    plant(
        "reinforce_cart",
        "graph cut",
        (
            "torch.stack(log_probs) * advantage",
            "torch.tensor([lp.tolist() for lp in log_probs], requires_grad=True) * advantage",
        ),
    ),
    plant(
        "reinforce_cart",
        "returns summed the wrong way",
        ("reversed(range(len(rewards)))", "range(len(rewards))"),
    ),
    # --- dqn_catch
    plant(
        "dqn_catch",
        "target network never updated",
        (
            "            self.q_target.load_state_dict(self.q.state_dict())\n\n",
            "            self.q_target.load_state_dict(self.q_target.state_dict())\n\n",
        ),
        proven="the target network keeps its random start: it is given its own weights",
    ),
    plant("dqn_catch", "step never taken", ("learn_after=300", "learn_after=5000")),
    plant("dqn_catch", "gradients never cleared", ("        self.optimizer.zero_grad()\n", "")),
    # --- price_ensemble: mean and log-variance, three members
    plant("price_ensemble", "broadcast loss", ("price.unsqueeze(1)", "price")),
    plant(
        "price_ensemble",
        "wrong sign of a loss term",
        (
            "+ log_var + (y - mean) ** 2 * torch.exp(-log_var)",
            "- log_var + (y - mean) ** 2 * torch.exp(-log_var)",
        ),
    ),
    plant(
        "price_ensemble",
        "overfitting",
        ("hidden=32, rows=2000, epochs=21", "hidden=256, rows=80, epochs=301"),
        ("decay=1e-3", "decay=0.0"),
    ),
    plant("price_ensemble", "raw inputs", ("    x, x_test = scale_x(x), scale_x(x_test)\n", "")),
    # --- curve_vae
    plant("curve_vae", "learning rate far too high", ("lr=3e-3", "lr=0.1")),
    plant(
        "curve_vae",
        "posterior collapse",
        ("((recon - x) ** 2).sum(1) / (2 * cfg.noise_var)", "((recon - x) ** 2).mean(1)"),
    ),
    plant(
        "curve_vae",
        "loss of another task",
        (
            "return ((recon - x) ** 2).sum(1) / (2 * cfg.noise_var)",
            'return nn.functional.binary_cross_entropy_with_logits(recon, x, reduction="none").sum(1)',
        ),
    ),
    plant(
        "curve_vae",
        "output cannot reach the targets",
        (
            "nn.Linear(cfg.hidden, cfg.points),\n        )",
            "nn.Linear(cfg.hidden, cfg.points),\n            nn.Sigmoid(),\n        )",
        ),
    ),
)
