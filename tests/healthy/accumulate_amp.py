"""Big effective batches on a small machine: gradient accumulation, bf16 autocast and gradient clipping."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--micro-batch", type=int, default=16)
parser.add_argument("--accum-steps", type=int, default=4)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--clip", type=float, default=1.0)
opts = parser.parse_args()

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

data, target = load_digits(return_X_y=True)
data = torch.as_tensor(data, dtype=torch.float32) / 16.0
target = torch.as_tensor(target)
shuffled = torch.randperm(len(data))
n_train = 1472
train_loader = DataLoader(
    TensorDataset(data[shuffled[:n_train]], target[shuffled[:n_train]]), batch_size=opts.micro_batch, shuffle=True
)
val_x, val_y = data[shuffled[n_train:]].to(device), target[shuffled[n_train:]].to(device)

model = nn.Sequential(
    nn.Linear(64, 128),
    nn.LayerNorm(128),
    nn.GELU(),
    nn.Dropout(0.2),
    nn.Linear(128, 128),
    nn.LayerNorm(128),
    nn.GELU(),
    nn.Dropout(0.2),
    nn.Linear(128, 10),
).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=opts.lr, weight_decay=0.05)
n_updates = opts.epochs * len(train_loader) // opts.accum_steps
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=n_updates)

for epoch in range(opts.epochs):
    model.train()
    running = 0.0
    optimizer.zero_grad(set_to_none=True)
    for i, (inputs, labels) in enumerate(train_loader):
        inputs, labels = inputs.to(device), labels.to(device)
        with torch.autocast(device_type=device.type, dtype=torch.bfloat16):
            loss = criterion(model(inputs), labels)
        (loss / opts.accum_steps).backward()
        running += loss.item()
        if (i + 1) % opts.accum_steps == 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), opts.clip)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)

    model.eval()
    with torch.no_grad(), torch.autocast(device_type=device.type, dtype=torch.bfloat16):
        logits = model(val_x)
        val_loss = criterion(logits, val_y)
    acc = (logits.argmax(-1) == val_y).float().mean()
    print(
        f"epoch {epoch + 1}: train {running / len(train_loader):.4f}  val {val_loss.item():.4f}  acc {acc.item():.4f}"
    )
