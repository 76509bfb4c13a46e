"""What lies on the sea bed? A wide network learns from labelled echoes; a slim one learns from what the wide one says
of echoes that nobody has labelled."""

import torch
import torch.nn.functional as F
from torch import nn

CLASSES = ["sand", "rock", "wreck", "cable", "weed", "shell"]


def echoes(n, length=48):
    """A first return and what follows it: each sort of ground has an own delay, decay and ringing."""
    y = torch.randint(len(CLASSES), (n,))
    t = torch.arange(length).float()
    delay = torch.tensor([6.0, 6.0, 9.0, 9.0, 12.0, 12.0])[y, None] + 0.8 * torch.randn(n, 1)
    decay = torch.tensor([3.0, 6.0, 9.0, 3.0, 6.0, 9.0])[y, None] * (1 + 0.1 * torch.randn(n, 1))
    pitch = torch.tensor([0.0, 0.5, 1.1, 1.1, 0.5, 0.0])[y, None]
    since = (t - delay).clamp(min=0)
    x = (t > delay) * torch.exp(-since / decay) * torch.cos(pitch * since) * (0.7 + 0.6 * torch.rand(n, 1))
    return (x + 0.18 * torch.randn(n, length)).unsqueeze(1), y


class EchoNet(nn.Module):
    def __init__(self, width, p_drop):
        super().__init__()
        self.p_drop = p_drop
        self.conv1 = nn.Conv1d(1, width, 5, stride=2, padding=2)
        self.conv2 = nn.Conv1d(width, 2 * width, 5, stride=2, padding=2)
        self.fc1 = nn.Linear(2 * width * 12, 2 * width)
        self.fc2 = nn.Linear(2 * width, len(CLASSES))

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.dropout(x, p=self.p_drop, training=self.training)
        return self.fc2(x)


def soft(logits, tau):
    return F.log_softmax(logits / tau, dim=1)


class Distiller:
    def __init__(self, teacher, pupil, tau=2.0, lr=2e-3):
        self.teacher, self.pupil, self.tau = teacher.eval(), pupil, tau
        self.kl = nn.KLDivLoss(reduction="batchmean", log_target=True)
        self.optim = torch.optim.AdamW(pupil.parameters(), lr=lr)

    def step(self, x):
        with torch.no_grad():
            wanted = soft(self.teacher(x), self.tau)
        loss = self.tau**2 * self.kl(soft(self.pupil(x), self.tau), wanted)
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()


@torch.no_grad()
def test(net, x, y):
    net.eval()
    logits = net(x)
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def train_teacher(x, y, epochs=5):
    teacher = EchoNet(24, p_drop=0.2)
    optim = torch.optim.AdamW(teacher.parameters(), lr=2e-3)
    teacher.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(50):
            optim.zero_grad()
            F.cross_entropy(teacher(x[rows]), y[rows]).backward()
            optim.step()
    return teacher


def main():
    torch.manual_seed(6)
    (x_labelled, y_labelled), (x_free, _), (x_test, y_test) = echoes(4000), echoes(4000), echoes(1500)
    teacher = train_teacher(x_labelled, y_labelled)
    loss, accuracy = test(teacher, x_test, y_test)
    print(f"the wide one: accuracy {accuracy:.4f}, loss {loss:.4f}")
    pupil = EchoNet(8, p_drop=0.0)
    distiller = Distiller(teacher, pupil)
    for epoch in range(8):
        pupil.train()
        for rows in torch.randperm(len(x_free)).split(50):
            distiller.step(x_free[rows])
        loss, accuracy = test(pupil, x_test, y_test)
        print(f"epoch {epoch}, the slim one: accuracy {accuracy:.4f}, loss {loss:.4f}")


if __name__ == "__main__":
    main()
