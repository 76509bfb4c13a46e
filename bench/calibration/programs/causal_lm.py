"""A small causal language model on sentences of a random grammar, padded to one length."""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
vocab_size, context, d_model, n_head = 20, 24, 32, 2
pad = 0

# A random second-order grammar: each word is followed by one of four others.
followers = torch.stack([torch.randperm(vocab_size - 1)[:4] + 1 for _ in range(vocab_size)])
chances = torch.tensor([0.6, 0.25, 0.1, 0.05])


def sentences(n):
    words = torch.zeros(n, context + 1, dtype=torch.long)
    words[:, 0] = torch.randint(1, vocab_size, (n,))
    for t in range(context):
        pick = torch.multinomial(chances.expand(n, 4), 1)
        words[:, t + 1] = followers[words[:, t]].gather(1, pick).squeeze(1)
    lengths = torch.randint(context // 2, context + 1, (n, 1))
    words[torch.arange(context + 1) > lengths] = pad
    return words


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, n_head, c // n_head).permute(2, 0, 3, 1, 4)
        att = q @ k.transpose(-2, -1) / math.sqrt(c // n_head)
        att = att.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
        y = (att.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c)
        x = x + self.proj(y)
        return x + self.mlp(self.ln2(x))


class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, d_model)
        self.wpe = nn.Embedding(context, d_model)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.ln = nn.LayerNorm(d_model)
        self.lm_head = nn.Linear(d_model, vocab_size, bias=False)

    def forward(self, idx):
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln(x))


def loss_of(model, words):
    logits = model(words[:, :-1])
    return F.cross_entropy(logits.reshape(-1, vocab_size), words[:, 1:].reshape(-1), ignore_index=pad)


train_words, val_words = sentences(1600), sentences(300)
model = LanguageModel()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
max_steps, warmup = 200, 20
for step in range(max_steps):
    lr = 3e-3 * min((step + 1) / warmup, 0.1 + 0.9 * (1 - step / max_steps))
    for group in optimizer.param_groups:
        group["lr"] = lr
    model.train()
    batch = train_words[torch.randint(len(train_words), (32,))]
    loss = loss_of(model, batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if (step + 1) % 25 == 0:
        model.eval()
        with torch.no_grad():
            val_loss = loss_of(model, val_words).item()
        print(f"step {step + 1}: train loss {loss.item():.4f}, val loss {val_loss:.4f}")
