"""A wide teacher, a narrow student that learns from its soft answers."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

TEMPERATURE = 3.0
ALPHA = 0.8


def mlp(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def loaders():
    x, y = load_digits(return_X_y=True)
    x = (x - 4.9) / 6.0
    x1, x2, y1, y2 = train_test_split(x, y, test_size=0.25, random_state=10)
    pack = lambda a, b: TensorDataset(torch.tensor(a).float(), torch.tensor(b))
    return DataLoader(pack(x1, y1), 64, shuffle=True), DataLoader(pack(x2, y2), 250)


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        hits = sum((net(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def train_teacher(teacher, loader, epochs=8):
    opt = optim.Adam(teacher.parameters(), lr=1e-3)
    teacher.train()
    for _ in range(epochs):
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(teacher(x), y)
            loss.backward()
            opt.step()


def distillation_loss(student_logits, teacher_logits, labels):
    soft = F.kl_div(
        F.log_softmax(student_logits / TEMPERATURE, dim=1),
        F.softmax(teacher_logits / TEMPERATURE, dim=1),
        reduction="batchmean",
    )
    hard = F.cross_entropy(student_logits, labels)
    return ALPHA * TEMPERATURE**2 * soft + (1 - ALPHA) * hard


def train_student(student, teacher, train_loader, test_loader, epochs=10):
    optimizer = optim.AdamW(student.parameters(), lr=3e-3)
    teacher.eval()
    for epoch in range(epochs):
        student.train()
        for x, y in train_loader:
            with torch.no_grad():
                t_logits = teacher(x)
            s_logits = student(x)
            loss = distillation_loss(s_logits, t_logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"student epoch {epoch}: loss {loss.item():.4f} accuracy {accuracy(student, test_loader):.4f}")


def main():
    torch.manual_seed(10)
    train_loader, test_loader = loaders()
    teacher, student = mlp(160), mlp(20)
    train_teacher(teacher, train_loader)
    print(f"teacher accuracy {accuracy(teacher, test_loader):.4f}")
    train_student(student, teacher, train_loader, test_loader)


if __name__ == "__main__":
    main()
