"""Knowledge distillation: a small student learns from the softened answers of a larger teacher."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

T = 3.0  # temperature
ALPHA = 0.7  # weight of the teacher's answers


def get_data():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x).float().sub(4.88).div(6.02)
    y = torch.tensor(y).long()
    g = torch.Generator().manual_seed(0)
    perm = torch.randperm(len(x), generator=g)
    tr, va = perm[:1400], perm[1400:]
    return DataLoader(TensorDataset(x[tr], y[tr]), batch_size=64, shuffle=True, generator=g), (x[va], y[va])


def teacher_net():
    return nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, 10),
    )


def student_net():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def distill_loss(student_logits, teacher_logits, labels):
    soft = F.kl_div(
        F.log_softmax(student_logits / T, dim=1),
        F.softmax(teacher_logits / T, dim=1),
        reduction="batchmean",
    )
    hard = F.cross_entropy(student_logits, labels)
    return ALPHA * T * T * soft + (1 - ALPHA) * hard


@torch.no_grad()
def evaluate(model, x, y):
    was_training = model.training
    model.eval()
    logits = model(x)
    model.train(was_training)
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def train_teacher(loader, val, epochs=8):
    teacher = teacher_net()
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    for epoch in range(epochs):
        teacher.train()
        for x, y in loader:
            loss = F.cross_entropy(teacher(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        val_loss, acc = evaluate(teacher, *val)
        print(f"teacher {epoch + 1}: loss {loss.item():.4f} val {val_loss:.4f} acc {acc:.3f}")
    return teacher.eval().requires_grad_(False)


def train_student(teacher, loader, val, epochs=20):
    student = student_net()
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for epoch in range(epochs):
        student.train()
        total = 0.0
        for x, y in loader:
            with torch.no_grad():
                teacher_logits = teacher(x)
            loss = distill_loss(student(x), teacher_logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        val_loss, acc = evaluate(student, *val)
        print(f"student {epoch + 1}: loss {total / len(loader):.4f} val {val_loss:.4f} acc {acc:.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    loader, val = get_data()
    train_student(train_teacher(loader, val), loader, val)
