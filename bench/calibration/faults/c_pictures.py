"""What is planted in unseen programs on pictures, sets and graphs: by people who had seen no rule."""

from __future__ import annotations

from collections.abc import Mapping

from faults.fault import Fault, plant

SCORES: Mapping[str, str] = {
    "unet_cells": "accuracy",
    "vit_digits": "accuracy",
    "supcon_digits": "accuracy",
    "deepsets_clouds": "loss",
    "gcn_blocks": "accuracy",
    "maf_flow": "loss",
    "denoise_patches": "loss",
    "transfer_digits": "accuracy",
    "multitask_shapes": "loss",
    "gan_digits": "loss",
    "conv_vae_ellipses": "loss",
    "mean_teacher": "accuracy",
    "pixelcnn_digits": "loss",
}


PLANTED: tuple[Fault, ...] = (
    # --- unet_cells: U-Net, bf16 autocast, augmentation in the Dataset, a class that holds it all
    plant(
        "unet_cells",
        "image augmented without its mask",
        ("                mask = mask.flip(-1)\n", ""),
        ("                mask = mask.flip(-2)\n", ""),
    ),
    plant("unet_cells", "collapse to one class", ("torch.tensor(2.0)", "torch.tensor(float(SIDE * SIDE))")),
    plant(
        "unet_cells",
        "train and validation scaled differently",
        ("        img = (img - 95.0) / 32.0\n", "            img = (img - 95.0) / 32.0\n"),
    ),
    plant(
        "unet_cells",
        "loss of another task",
        ("nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))", "nn.CrossEntropyLoss()"),
    ),
    # --- vit_digits: attention written out, dataclass, warm-up and cosine in a closure
    plant(
        "vit_digits",
        "labels do not belong to inputs",
        ("    labels = labels[perm]\n", "    labels = labels[torch.randperm(len(labels), generator=g)]\n"),
    ),
    plant(
        "vit_digits",
        "attention softmax over a wrong dimension",
        ("scores.softmax(dim=-1)", "scores.softmax(dim=1)"),
        proven="the weights over the heads add up to one, those over the patches to nothing in particular",
    ),
    plant("vit_digits", "warm-up longer than the training", ("warmup: int = 30", "warmup: int = 4000")),
    plant("vit_digits", "too much dropout", ("drop: float = 0.05", "drop: float = 0.8")),
    plant(
        "vit_digits",
        "samples mixed",
        (
            "self.attn = SelfAttention(cfg.dim, cfg.heads, cfg.drop)",
            "self.attn = nn.MultiheadAttention(cfg.dim, cfg.heads, dropout=cfg.drop)",
        ),
        (
            "        x = x + self.attn(self.ln1(x))\n",
            "        h = self.ln1(x)\n        x = x + self.attn(h, h, h, need_weights=False)[0]\n",
        ),
    ),
    # --- supcon_digits: embeddings on a sphere, argparse
    plant("supcon_digits", "too much dropout", ("nn.Dropout(0.1)", "nn.Dropout(0.98)")),
    plant(
        "supcon_digits",
        "contrastive loss without negatives",
        (
            '    log_p = similarity - torch.logsumexp(similarity.masked_fill(itself, float("-inf")), dim=1, keepdim=True)\n',
            "    log_p = similarity\n",
        ),
    ),
    plant(
        "supcon_digits",
        "temperature multiplied, not divided by",
        ("z @ z.t() / temperature", "z @ z.t() * temperature"),
    ),
    plant("supcon_digits", "wrong sign of a loss term", ("return -per_anchor.mean()", "return per_anchor.mean()")),
    # --- deepsets_clouds: padded sets, flat
    plant("deepsets_clouds", "raw inputs", ("    sets = [(s - 500.0) / 100.0 for s in sets]\n", "")),
    plant(
        "deepsets_clouds",
        "samples mixed",
        (".reshape(b * n, 3)).view(b, n, -1)", ".reshape(b * n, 3)).view(n, b, -1).transpose(0, 1)"),
    ),
    plant("deepsets_clouds", "broadcast loss", ("self.rho(pooled).squeeze(1)", "self.rho(pooled)")),
    plant(
        "deepsets_clouds",
        "no nonlinearity",
        (
            "nn.Linear(3, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())",
            "nn.Linear(3, hidden), nn.Linear(hidden, hidden))",
        ),
    ),
    plant(
        "deepsets_clouds",
        "padding pooled as if it were data",
        (
            "        each = each * mask[:, :, None]\n        pooled = each.sum(1) / mask.sum(1, keepdim=True)\n",
            "        pooled = each.mean(1)\n",
        ),
    ),
    # --- gcn_blocks: one graph, early stopping
    plant(
        "gcn_blocks",
        "class weights inverted",
        ("weight = counts.sum() / (3 * counts)", "weight = counts / counts.sum()"),
    ),
    plant(
        "gcn_blocks",
        "target among the inputs",
        (
            "    a_hat = normalised(adjacency)\n",
            "    a_hat = normalised(adjacency)\n    known = torch.zeros(len(y), 3)\n    known[train] = F.one_hot(y[train], 3).float() * 5\n    x = torch.cat([x, known], dim=1)\n",
        ),
        proven="each training node carries the label that it is to be given; no test node does",
    ),
    plant("gcn_blocks", "raw inputs", ("    x = (x - x[train].mean(0)) / x[train].std(0)\n", "")),
    plant(
        "gcn_blocks",
        "early stopping watches the wrong way",
        ('patience = float("inf")', 'patience = -float("inf")'),
        ("if val_loss < best_loss:", "if val_loss > best_loss:"),
    ),
    plant("gcn_blocks", "weight decay far too strong", ("weight_decay=5e-4", "weight_decay=0.5")),
    # --- maf_flow: masks, averaged weights, steps counted
    plant(
        "maf_flow",
        "future seen",
        ("MaskedLinear(HIDDEN, HIDDEN, hidden[:, None] >= hidden[None, :])", "nn.Linear(HIDDEN, HIDDEN)"),
        proven="each variable is shifted and scaled by itself and those after it: the Jacobian is no triangle, the density no density",
    ),
    plant("maf_flow", "step never taken", ("if not torch.isfinite(loss):", "if torch.isfinite(loss):")),
    plant(
        "maf_flow",
        "weight average never updated",
        ("        kept.mul_(decay).add_(new, alpha=1 - decay)\n", "        kept = decay * kept + (1 - decay) * new\n"),
    ),
    plant(
        "maf_flow",
        "wrong sign of a loss term",
        ("return base + log_det", "return base - log_det"),
        proven="the volume is counted backwards: what is reported is no density",
    ),
    # --- denoise_patches: a Function of its own, accumulation
    plant(
        "denoise_patches",
        "noise added in place to the clean picture",
        ("noisy = clean + SIGMA * torch.randn_like(clean)", "noisy = clean.add_(SIGMA * torch.randn_like(clean))"),
    ),
    plant("denoise_patches", "learning rate far too low", ("lr=2e-3", "lr=2e-3 / len(pictures)")),
    plant("denoise_patches", "step never taken", ("ACCUMULATE = 2", "ACCUMULATE = 64")),
    plant(
        "denoise_patches",
        "accumulation clears each micro batch",
        (
            "        (loss / ACCUMULATE).backward()\n",
            "        optimizer.zero_grad()\n        (loss / ACCUMULATE).backward()\n",
        ),
        proven="of the gradients of two micro batches the first is thrown away",
    ),
    plant(
        "denoise_patches",
        "wrong custom backward",
        ("return grad_output * (s * (1 + x * (1 - s)))", "return grad_output * s * (1 - s)"),
        proven="that is the derivative of the sigmoid, not of x * sigmoid(x)",
    ),
    # --- transfer_digits: pretraining, checkpoint, frozen trunk
    plant(
        "transfer_digits",
        "collapse to one class",
        ("order = torch.randperm(len(new_labels))", "order = torch.argsort(new_labels)"),
    ),
    plant(
        "transfer_digits",
        "random part frozen",
        (
            "net.backbone.load_state_dict(torch.load(checkpoint))",
            "net.load_state_dict(torch.load(checkpoint), strict=False)",
        ),
    ),
    plant(
        "transfer_digits",
        "scored on the training data",
        ("x_val, y_val = new_images[rest], new_labels[rest]", "x_val, y_val = new_images[few], new_labels[few]"),
        proven="the pictures it is judged by are those it was trained on",
    ),
    plant(
        "transfer_digits",
        "labels do not belong to inputs",
        ("x, y = new_images[few], new_labels[few]", "x, y = new_images[few], new_labels[: len(few)]"),
    ),
    plant(
        "transfer_digits",
        "overfitting",
        ("order[:60]", "order[:8]"),
        ("    net.backbone.requires_grad_(False)\n", ""),
        ("range(60)", "range(180)"),
        ("weight_decay=1e-2", "weight_decay=0.0"),
    ),
    # --- multitask_shapes: two heads, learned weights of the losses, one cycle
    plant(
        "multitask_shapes",
        "graph cut",
        (
            "        features = self.trunk(images)\n",
            "        with torch.no_grad():\n            features = self.trunk(images)\n",
        ),
    ),
    plant(
        "multitask_shapes",
        "overfitting",
        ("Shapes(2000, seed=1)", "Shapes(48, seed=1)"),
        ("epochs = 8", "epochs = 200"),
    ),
    plant("multitask_shapes", "loss of another task", ("self.mse(sizes_pred, sizes)", "self.ce(sizes_pred, sizes)")),
    plant(
        "multitask_shapes",
        "penalty drowns the loss",
        (
            "            optim.zero_grad()\n",
            "            total = total + 0.1 * sum(p.abs().sum() for p in net.parameters())\n            optim.zero_grad()\n",
        ),
    ),
    plant("multitask_shapes", "broadcast loss", ("self.size_head(features).squeeze(-1)", "self.size_head(features)")),
    # --- gan_digits
    plant(
        "gan_digits",
        "generator trained on detached fakes",
        ("        fake = gen(noise)\n", "        fake = gen(noise).detach()\n"),
    ),
    plant("gan_digits", "output cannot reach the targets", ("return torch.tanh(", "return torch.sigmoid(")),
    plant(
        "gan_digits",
        "another model optimised",
        ("gen_opt = optim.Adam(gen.parameters()", "gen_opt = optim.Adam(disc.parameters()"),
    ),
    # --- conv_vae_ellipses
    plant(
        "conv_vae_ellipses",
        "posterior collapse",
        ("loss = reconstruction(logits, x) + ", "loss = F.binary_cross_entropy_with_logits(logits, x) + "),
    ),
    plant(
        "conv_vae_ellipses",
        "graph cut",
        (
            "z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)",
            "z = torch.distributions.Normal(mu, torch.exp(0.5 * logvar)).sample()",
        ),
    ),
    plant("conv_vae_ellipses", "learning rate far too high", ("lr=2e-3", "lr=0.2")),
    plant(
        "conv_vae_ellipses",
        "random part frozen",
        (
            "optimizer = torch",
            "for p in [*vae.encoder.parameters(), *vae.widen.parameters()]:\n    p.requires_grad = False\noptimizer = torch",
        ),
    ),
    # --- mean_teacher
    plant("mean_teacher", "average slower than the training", ("decay=0.97", "decay=0.9999")),
    plant(
        "mean_teacher",
        "softmax over the batch",
        (
            "F.softmax(self.teacher(perturb(x_unlabelled)), dim=1)",
            "F.softmax(self.teacher(perturb(x_unlabelled)), dim=0)",
        ),
        (
            "F.softmax(self.student(perturb(x_unlabelled)), dim=1)",
            "F.softmax(self.student(perturb(x_unlabelled)), dim=0)",
        ),
        proven="each picture's chances do not add up to one, but each class's over the batch",
    ),
    plant("mean_teacher", "learning rate far too high", ("lr=3e-3", "lr=0.5")),
    # --- pixelcnn_digits
    plant("pixelcnn_digits", "learning rate far too low", ("lr=2e-3", "lr=2e-6")),
    plant(
        "pixelcnn_digits",
        "future seen",
        ("        mask[middle + 1 :] = 0\n", ""),
        proven="each pixel is told from the rows below it",
    ),
    plant(
        "pixelcnn_digits",
        "target among the inputs",
        ('MaskedConv2d("A", 1, width, 5)', 'MaskedConv2d("B", 1, width, 5)'),
        proven="each pixel is told from itself",
    ),
    plant(
        "pixelcnn_digits",
        "no nonlinearity",
        ("h = F.relu(self.stem(x))", "h = self.stem(x)"),
        ("h = h + F.relu(conv(h))", "h = h + conv(h)"),
        proven="convolutions with nothing between them are one convolution",
    ),
)
