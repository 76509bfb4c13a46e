"""Distillation with no labels: a student of one hidden layer learns from a teacher's soft answers to unlabelled rows."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_classification
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 8
conf = {"temperature": 2.0, "teacher_epochs": 6, "student_epochs": 8, "student_lr": 0.4, "batch": 50, "seed": 12}


def prepare():
    x, y = make_classification(
        n_samples=6500, n_features=16, n_informative=12, n_redundant=0, n_classes=CLASSES, n_clusters_per_class=1, class_sep=1.7, random_state=conf["seed"]
    )
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    mean, std = x[:5500].mean(0), x[:5500].std(0)
    x = (x - mean) / std
    labelled = TensorDataset(x[:2500], y[:2500])
    unlabelled = TensorDataset(x[2500:5500])
    held_out = TensorDataset(x[5500:], y[5500:])
    return labelled, unlabelled, held_out


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.1))
        self.classify = nn.Linear(128, CLASSES)

    def forward(self, x):
        return self.classify(self.hidden(x))


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(16, 32)
        self.classify = nn.Linear(32, CLASSES)

    def forward(self, x):
        return self.classify(torch.tanh(self.hidden(x)))


def soft_loss(student_logits, teacher_logits, temperature):
    wanted = F.softmax(teacher_logits / temperature, dim=-1)
    said = F.log_softmax(student_logits / temperature, dim=-1)
    return F.kl_div(said, wanted, reduction="batchmean") * temperature**2


def score(network, dataset):
    network.eval()
    x, y = dataset.tensors
    with torch.no_grad():
        return (network(x).argmax(-1) == y).float().mean().item()


def fit_teacher(teacher, labelled):
    optimiser = torch.optim.AdamW(teacher.parameters(), lr=3e-3)
    for _ in range(conf["teacher_epochs"]):
        teacher.train()
        for x, y in DataLoader(labelled, conf["batch"], shuffle=True):
            optimiser.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            optimiser.step()


def distil(student, teacher, unlabelled, held_out):
    teacher.eval()
    teacher.requires_grad_(False)
    optimiser = torch.optim.SGD(student.parameters(), lr=conf["student_lr"], momentum=0.5, weight_decay=1e-4)
    for epoch in range(conf["student_epochs"]):
        student.train()
        for (x,) in DataLoader(unlabelled, conf["batch"], shuffle=True):
            loss = soft_loss(student(x), teacher(x), conf["temperature"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1} divergence {loss.item():.4f} student {score(student, held_out):.4f}")


torch.manual_seed(conf["seed"])
labelled, unlabelled, held_out = prepare()
teacher = Teacher()
fit_teacher(teacher, labelled)
print(f"the teacher: {score(teacher, held_out):.4f}")
student = Student()
distil(student, teacher, unlabelled, held_out)
