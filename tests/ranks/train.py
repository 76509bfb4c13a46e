"""Train a small net on two ranks, by torchrun or, with the argument `spawn`, by itself; print what is left."""

import hashlib
import sys
import tempfile

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def digest(state):
    total = hashlib.sha256()
    for tensor in state.values():
        total.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def train(rank, meeting=None):
    if meeting:
        distributed.init_process_group("gloo", init_method=f"file://{meeting}/point", rank=rank, world_size=2)
    else:
        distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.manual_seed(rank)
    x = torch.randn(640, 64, generator=torch.Generator().manual_seed(5))
    y = (x @ torch.randn(64, 4, generator=torch.Generator().manual_seed(6))).argmax(1)
    data = TensorDataset(x, y)
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=16, sampler=sampler)
    net = nn.Sequential(nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))
    model = DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        if rank == 0:
            net.eval()
            with torch.no_grad():
                nn.functional.cross_entropy(net(x), y)
    distributed.barrier()
    left = {**net.state_dict(), "random": torch.get_rng_state()}
    print(f"rank {rank} {digest(left)} {float(loss.detach()).hex()}\n", end="", flush=True)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    if "spawn" in sys.argv:
        torch.multiprocessing.spawn(train, (tempfile.mkdtemp(),), nprocs=2)
    else:
        train(0)
