"""Mean teacher: seventy digits have labels, the rest only have to be told the same by the net and by its running average."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class MeanTeacher:
    def __init__(self, student, lr=3e-3, decay=0.97, consistency=4.0, ramp=150):
        self.student = student
        self.teacher = copy.deepcopy(student)
        for p in self.teacher.parameters():
            p.requires_grad = False
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=lr)
        self.decay, self.consistency, self.ramp, self.step_count = decay, consistency, ramp, 0

    def weight(self):
        """Of the consistency: little at first, while the teacher knows nothing."""
        return self.consistency * min(1.0, self.step_count / self.ramp) ** 2

    def update_teacher(self):
        for t, s in zip(self.teacher.parameters(), self.student.parameters()):
            t.data.mul_(self.decay).add_(s.data, alpha=1 - self.decay)

    def step(self, x_labelled, y, x_unlabelled):
        self.student.train()
        supervised = F.cross_entropy(self.student(perturb(x_labelled)), y)
        with torch.no_grad():
            target = F.softmax(self.teacher(perturb(x_unlabelled)), dim=1)
        said = F.softmax(self.student(perturb(x_unlabelled)), dim=1)
        agreement = ((said - target) ** 2).sum(1).mean()
        loss = supervised + self.weight() * agreement
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.update_teacher()
        self.step_count += 1
        return supervised.item(), agreement.item()

    @torch.no_grad()
    def score(self, x, y):
        self.teacher.eval()
        return (self.teacher(x).argmax(1) == y).float().mean().item()


def perturb(x):
    """Every picture moved by a pixel or not at all, sideways, and noise on it."""
    shift = torch.randint(-1, 2, (len(x), 1, 1))
    columns = (torch.arange(8)[None, None, :] + shift).clamp(0, 7).expand(-1, 8, -1)
    return x.view(-1, 8, 8).gather(2, columns).reshape(len(x), 64) + 0.15 * torch.randn_like(x)


def main():
    torch.manual_seed(14)
    data, target = load_digits(return_X_y=True)
    data = (data / 16.0 - 0.305) / 0.376
    x, x_test, y, y_test = train_test_split(data, target, test_size=400, random_state=14, stratify=target)
    x_lab, x_unl, y_lab, _ = train_test_split(x, y, train_size=70, random_state=14, stratify=y)
    x_lab, x_unl, x_test = (torch.tensor(a, dtype=torch.float32) for a in (x_lab, x_unl, x_test))
    y_lab, y_test = torch.tensor(y_lab), torch.tensor(y_test)
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    method = MeanTeacher(net)
    for step in range(1, 601):
        lab = torch.randint(len(x_lab), (32,))
        unl = torch.randint(len(x_unl), (96,))
        supervised, agreement = method.step(x_lab[lab], y_lab[lab], x_unl[unl])
        if step % 100 == 0:
            print(f"step {step} supervised {supervised:.4f} agreement {agreement:.4f} teacher {method.score(x_test, y_test):.4f}")


if __name__ == "__main__":
    main()
