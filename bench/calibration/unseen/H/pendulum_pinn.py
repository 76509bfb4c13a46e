"""The swing of a damped pendulum from its equation alone: a physics-informed network, no measured data."""

import math

import torch
import torch.nn as nn

T_END = 3.0
DAMPING, STIFFNESS = 0.3, 4.0  # angle'' = -DAMPING angle' - STIFFNESS sin(angle)
START = (1.0, 0.0)  # angle, angular speed


class Swing(nn.Module):
    """Angle and angular speed at a time; the start is right by construction."""

    def __init__(self, width=32, depth=3):
        super().__init__()
        sizes = [1] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.last = nn.Linear(width, 2)
        for layer in [*self.hidden, self.last]:
            nn.init.xavier_normal_(layer.weight, gain=1.4)
            nn.init.zeros_(layer.bias)

    def forward(self, t):
        h = 2 * t / T_END - 1
        for layer in self.hidden:
            h = torch.tanh(layer(h))
        out = torch.tensor(START) + (1 - torch.exp(-t)) * self.last(h)
        return out[:, :1], out[:, 1:]


def derivative(y, t):
    return torch.autograd.grad(y.sum(), t, create_graph=True)[0]


def residual(net, t):
    """By how much the two first-order equations are missed, squared, on average."""
    t = t.requires_grad_()
    angle, speed = net(t)
    kinematics = derivative(angle, t) - speed
    newton = derivative(speed, t) + DAMPING * speed + STIFFNESS * torch.sin(angle)
    return (kinematics**2 + newton**2).mean()


def runge_kutta(times):
    """The angle at evenly spaced times, integrated with many small steps."""

    def slope(a, s):
        return s, -DAMPING * s - STIFFNESS * math.sin(a)

    angle, speed = START
    dt, angles = (times[1] - times[0]).item() / 20, [angle]
    for _ in times[1:]:
        for _ in range(20):
            a1, s1 = slope(angle, speed)
            a2, s2 = slope(angle + dt / 2 * a1, speed + dt / 2 * s1)
            a3, s3 = slope(angle + dt / 2 * a2, speed + dt / 2 * s2)
            a4, s4 = slope(angle + dt * a3, speed + dt * s3)
            angle += dt / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
            speed += dt / 6 * (s1 + 2 * s2 + 2 * s3 + s4)
        angles.append(angle)
    return torch.tensor(angles)


def solve(net, steps, points, lr):
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.01 ** (1 / steps))
    for step in range(1, steps + 1):
        # one point at random in each of `points` equal intervals
        t = T_END * (torch.arange(points)[:, None] + torch.rand(points, 1)) / points
        loss = residual(net, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 300 == 0:
            fresh = residual(net, T_END * torch.rand(200, 1)).item()
            print(f"step {step}: residual {loss.item():.5f}, at other times {fresh:.5f}")


def main():
    torch.manual_seed(2)
    net = Swing()
    solve(net, steps=1200, points=48, lr=1e-2)
    times = torch.linspace(0, T_END, 201)
    net.eval()
    with torch.no_grad():
        angle, _ = net(times[:, None])
    off = (angle[:, 0] - runge_kutta(times)).pow(2).mean().sqrt().item()
    print(f"root mean squared error of the angle against Runge-Kutta: {off:.5f}")


if __name__ == "__main__":
    main()
