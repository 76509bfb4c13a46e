# A committee of three networks teaches a small one: digits, with what the committee believes as soft targets.
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

torch.manual_seed(33)
T, EPOCHS, BATCH = 3.0, 15, 50

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16.0, y, test_size=0.3, stratify=y, random_state=33)
x_train, x_test = torch.tensor(x_train).float() - 0.3, torch.tensor(x_test).float() - 0.3
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)


class Net(nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.hidden = nn.Linear(64, width)
        self.last = nn.Linear(width, 10)
        self.drop = drop

    def forward(self, x):
        h = F.relu(self.hidden(x))
        h = F.dropout(h, self.drop, training=self.training)
        return self.last(h)


def shuffled():
    return torch.randperm(len(x_train)).split(BATCH)


# the committee
teachers = [Net(128, 0.3) for _ in range(3)]
for k, teacher in enumerate(teachers):
    optimizer = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    teacher.train()
    for epoch in range(12):
        for idx in shuffled():
            optimizer.zero_grad()
            loss = F.cross_entropy(teacher(x_train[idx]), y_train[idx])
            loss.backward()
            optimizer.step()
    teacher.eval()
    with torch.no_grad():
        print(f"teacher {k}: test loss {F.cross_entropy(teacher(x_test), y_test).item():.4f}")

# what it believes about the training pictures
with torch.no_grad():
    belief = torch.stack([F.softmax(teacher(x_train) / T, dim=1) for teacher in teachers]).mean(0)

# the student
student = Net(24, 0.1)
optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
for epoch in range(EPOCHS):
    student.train()
    for idx in shuffled():
        logits = student(x_train[idx])
        loss = F.kl_div(F.log_softmax(logits / T, dim=1), belief[idx], reduction="batchmean") * T**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    student.eval()
    with torch.no_grad():
        out = student(x_test)
        test_loss, accuracy = F.cross_entropy(out, y_test).item(), (out.argmax(1) == y_test).float().mean().item()
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1} distillation {loss.item():.4f} accuracy {accuracy:.4f} test loss {test_loss:.4f}")
