"""Does a sequence hold more a's than b's? A transformer encoder with padding masks, AdamW and warm-up."""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

PAD, A, B, VOCAB = 0, 1, 2, 8


class Sequences(Dataset):
    def __init__(self, size, seed, longest=16):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        while len(self.items) < size:
            length = int(torch.randint(6, longest + 1, (1,), generator=g))
            tokens = torch.randint(1, VOCAB, (length,), generator=g)
            difference = int((tokens == A).sum() - (tokens == B).sum())
            if difference != 0:
                self.items.append((tokens, int(difference > 0)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(batch):
    tokens = nn.utils.rnn.pad_sequence([t for t, _ in batch], batch_first=True, padding_value=PAD)
    return tokens, torch.tensor([label for _, label in batch])


class Encoder(nn.Module):
    def __init__(self, dim=32, heads=4, layers=2, longest=16):
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, dim, padding_idx=PAD)
        self.places = nn.Parameter(torch.randn(longest, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 2)

    def forward(self, tokens):
        mask = tokens == PAD
        x = self.tokens(tokens) + self.places[: tokens.shape[1]]
        x = self.norm(self.encoder(x, src_key_padding_mask=mask))
        x = x.masked_fill(mask.unsqueeze(-1), 0.0)
        return self.head(x.sum(1) / (~mask).sum(1, keepdim=True))


def evaluate(model, loader):
    model.eval()
    right = count = 0
    with torch.no_grad():
        for tokens, labels in loader:
            right += (model(tokens).argmax(1) == labels).sum().item()
            count += len(labels)
    return right / count


def main():
    torch.manual_seed(4)
    train_loader = DataLoader(Sequences(1200, 1), batch_size=40, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(Sequences(400, 2), batch_size=100, collate_fn=collate)
    model = Encoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 20))
    criterion = nn.CrossEntropyLoss()
    for epoch in range(6):
        model.train()
        for tokens, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(tokens), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch} loss {loss.item():.4f} validation accuracy {evaluate(model, val_loader):.4f}")


if __name__ == "__main__":
    main()
