import math
import sys

import torch
from torch import nn

# tiny encoder-only transformer that learns to sort digits; padded; warm-up then cosine; weight tying
PAD, V, L = 10, 11, 6


class Sorter(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.tok = nn.Embedding(V, dim, padding_idx=PAD)
        self.pos = nn.Parameter(torch.randn(L, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, V, bias=False)
        nn.init.normal_(self.tok.weight, std=0.1)
        self.out.weight = self.tok.weight

    def forward(self, x):
        return self.out(self.norm(self.enc(self.tok(x) + self.pos, src_key_padding_mask=x == PAD)))


def make(n, g=None):
    x = torch.randint(0, 10, (n, L), generator=g)
    k = torch.randint(3, L + 1, (n, 1), generator=g)
    x = x.masked_fill(torch.arange(L) >= k, PAD)
    return x, x.sort(1).values.masked_fill(x == PAD, -100)


def main() -> int:
    torch.manual_seed(8)
    net = Sorter()
    N = 700
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3, betas=(0.9, 0.98))
    sch = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s + 1) / 50) * 0.5 * (1 + math.cos(math.pi * s / N)))
    lossf = nn.CrossEntropyLoss(ignore_index=-100)
    held = make(300, torch.Generator().manual_seed(1234))
    for s in range(N):
        x, y = make(64)
        loss = lossf(net(x).transpose(1, 2), y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sch.step()
        if (s + 1) % 100 == 0:
            net.eval()
            with torch.no_grad():
                o = net(held[0])
                ok = (o.argmax(-1) == held[1])[held[1] != -100].float().mean().item()
                print(
                    f"step {s + 1:4d} train {loss.item():.3f} held {lossf(o.transpose(1, 2), held[1]).item():.3f} acc {ok:.3f}"
                )
            net.train()
    return 0 if ok > 0.9 else 3


sys.exit(main())
