"""Topics of documents from the words in them: an EmbeddingBag trained with Adagrad."""

import torch
from torch import nn
from torch.utils.data import DataLoader

N_WORDS, N_TOPICS = 300, 5


def make_documents(n, word_probs):
    documents = []
    for _ in range(n):
        topic = int(torch.randint(N_TOPICS, (1,)))
        length = int(torch.randint(15, 40, (1,)))
        mixed = 0.7 * word_probs[topic] + 0.3 / N_WORDS
        documents.append((torch.multinomial(mixed, length, replacement=True), topic))
    return documents


def collate_batch(batch):
    texts = [words for words, _ in batch]
    offsets = torch.tensor([0] + [len(words) for words in texts[:-1]]).cumsum(0)
    return torch.cat(texts), offsets, torch.tensor([topic for _, topic in batch])


class TextClassifier(nn.Module):
    def __init__(self, n_words, dim, n_topics):
        super().__init__()
        self.embedding = nn.EmbeddingBag(n_words, dim, mode="mean")
        self.fc = nn.Linear(dim, n_topics)
        self.embedding.weight.data.uniform_(-0.5, 0.5)

    def forward(self, words, offsets):
        return self.fc(self.embedding(words, offsets))


def train(model, loader, optimizer, criterion):
    model.train()
    for words, offsets, topics in loader:
        optimizer.zero_grad()
        loss = criterion(model(words, offsets), topics)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


def evaluate(model, loader):
    model.eval()
    correct, total = 0, 0
    with torch.no_grad():
        for words, offsets, topics in loader:
            correct += (model(words, offsets).argmax(1) == topics).sum().item()
            total += topics.size(0)
    return correct / total


if __name__ == "__main__":
    torch.manual_seed(6)
    probs = torch.distributions.Dirichlet(torch.full((N_WORDS,), 0.1)).sample((N_TOPICS,))
    train_docs, test_docs = make_documents(1500, probs), make_documents(400, probs)
    train_dl = DataLoader(train_docs, batch_size=25, shuffle=True, collate_fn=collate_batch)
    test_dl = DataLoader(test_docs, batch_size=100, collate_fn=collate_batch)
    model = TextClassifier(N_WORDS, 24, N_TOPICS)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.2)
    for epoch in range(1, 7):
        train(model, train_dl, optimizer, criterion)
        print(f"| epoch {epoch} | test accuracy {evaluate(model, test_dl):.4f}")
