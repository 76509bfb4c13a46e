"""Learning to sort: a GRU reads digits, another writes them in order while attending to what was read."""

import torch
import torch.nn as nn

LENGTH, DIGITS = 6, 10
BOS = DIGITS  # one symbol more, which starts the answer


class Encoder(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.embed = nn.Embedding(DIGITS, dim)
        self.gru = nn.GRU(dim, hidden)

    def forward(self, src):
        outputs, state = self.gru(self.embed(src).transpose(0, 1))
        return outputs.transpose(0, 1), state[0]  # sentences first


class Attention(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.energy = nn.Linear(hidden, 1, bias=False)

    def forward(self, state, memory):
        scores = self.energy(torch.tanh(self.query(state).unsqueeze(1) + self.key(memory))).squeeze(2)
        weights = torch.softmax(scores, dim=1)
        return (weights.unsqueeze(2) * memory).sum(1)


class Decoder(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.embed = nn.Embedding(DIGITS + 1, dim)
        self.attention = Attention(hidden)
        self.cell = nn.GRUCell(dim + hidden, hidden)
        self.out = nn.Linear(2 * hidden, DIGITS)

    def step(self, token, state, memory):
        context = self.attention(state, memory)
        state = self.cell(torch.cat([self.embed(token), context], 1), state)
        return self.out(torch.cat([state, context], 1)), state


class Sorter(nn.Module):
    def __init__(self, dim=24, hidden=64):
        super().__init__()
        self.encoder, self.decoder = Encoder(dim, hidden), Decoder(dim, hidden)

    def forward(self, src, shown):
        """Logits of every place, when the decoder is shown the tokens `shown`."""
        memory, state = self.encoder(src)
        logits = []
        for t in range(LENGTH):
            step, state = self.decoder.step(shown[:, t], state, memory)
            logits.append(step)
        return torch.stack(logits, 1)

    @torch.no_grad()
    def answer(self, src):
        memory, state = self.encoder(src)
        token = torch.full((len(src),), BOS)
        answer = []
        for _ in range(LENGTH):
            logits, state = self.decoder.step(token, state, memory)
            token = logits.argmax(1)
            answer.append(token)
        return torch.stack(answer, 1)


def exercise(n):
    src = torch.randint(DIGITS, (n, LENGTH))
    return src, src.sort(1).values


torch.manual_seed(8)
model = Sorter()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
cross_entropy = nn.CrossEntropyLoss()
test_src, test_tgt = exercise(400)

for step in range(1, 301):
    model.train()
    src, tgt = exercise(64)
    bos = torch.full((len(tgt), 1), BOS)
    shown = torch.cat([bos, tgt[:, :-1]], 1)
    logits = model(src, shown)
    loss = cross_entropy(logits.reshape(-1, DIGITS), tgt.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if step % 60 == 0:
        model.eval()
        right = (model.answer(test_src) == test_tgt).float().mean().item()
        print(f"step {step}: loss {loss.item():.4f}, digits in their places {right:.4f}")
