"""word2vec by hand: skip-gram with negative sampling. Is a word's nearest neighbour of its own topic?"""
import torch
from torch import nn

torch.manual_seed(19)
TOPICS, WORDS_EACH, COMMON = 8, 15, 10  # the last are said whatever the topic is
VOCAB = TOPICS * WORDS_EACH + COMMON
DIM, WINDOW, NEGATIVES, BATCH, EPOCHS, LR = 16, 2, 5, 200, 3, 0.06


def write_corpus(sentences, length=10):
    topic = torch.randint(TOPICS, (sentences, 1))
    words = topic * WORDS_EACH + torch.randint(WORDS_EACH, (sentences, length))
    common = TOPICS * WORDS_EACH + torch.randint(COMMON, (sentences, length))
    stray = torch.randint(TOPICS * WORDS_EACH, (sentences, length))
    dice = torch.rand(sentences, length)
    return torch.where(dice < 0.25, common, torch.where(dice < 0.4, stray, words))


def pairs_of(corpus):
    pairs = []
    for gap in range(1, WINDOW + 1):
        left, right = corpus[:, :-gap].flatten(), corpus[:, gap:].flatten()
        pairs += [torch.stack([left, right], 1), torch.stack([right, left], 1)]
    return torch.cat(pairs)


train_corpus, held_out_corpus = write_corpus(700), write_corpus(100)
train_pairs, held_out_pairs = pairs_of(train_corpus), pairs_of(held_out_corpus)
frequency = torch.bincount(train_corpus.flatten(), minlength=VOCAB).float() ** 0.75


class SkipGram(nn.Module):
    def __init__(self):
        super().__init__()
        self.centre = nn.Embedding(VOCAB, DIM)
        self.context = nn.Embedding(VOCAB, DIM)
        nn.init.uniform_(self.centre.weight, -0.5 / DIM**0.5, 0.5 / DIM**0.5)
        nn.init.uniform_(self.context.weight, -0.5 / DIM**0.5, 0.5 / DIM**0.5)

    def forward(self, word, others):
        """How well the others go with the word: one score each."""
        return torch.einsum("bd,bkd->bk", self.centre(word), self.context(others))


def draw(pairs):
    """Each pair's word; the real neighbour and some words drawn at random; and which of them is the real one."""
    drawn = torch.multinomial(frequency, len(pairs) * NEGATIVES, replacement=True).view(len(pairs), NEGATIVES)
    others = torch.cat([pairs[:, 1:], drawn], dim=1)
    real = torch.zeros(others.shape)
    real[:, 0] = 1.0
    return pairs[:, 0], others, real


@torch.no_grad()
def neighbour_of_same_topic(model):
    vectors = nn.functional.normalize(model.centre.weight[: TOPICS * WORDS_EACH], dim=1)
    nearest = (vectors @ vectors.T).fill_diagonal_(-1).argmax(1)
    topic = torch.arange(TOPICS * WORDS_EACH) // WORDS_EACH
    return (topic[nearest] == topic).float().mean().item()


model = SkipGram()
bce = nn.BCEWithLogitsLoss(reduction="sum")  # as if each pair took a step of its own
optimizer = torch.optim.SGD(model.parameters(), lr=LR)
n_steps = EPOCHS * (len(train_pairs) // BATCH)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: max(0.02, 1 - s / n_steps))
for epoch in range(EPOCHS):
    shuffled = train_pairs[torch.randperm(len(train_pairs))]
    for k in range(len(shuffled) // BATCH):
        word, others, real = draw(shuffled[k * BATCH : (k + 1) * BATCH])
        scores = model(word, others)
        loss = bce(scores, real)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 50.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        word, others, real = draw(held_out_pairs)
        held_out = bce(model(word, others), real).item() / len(held_out_pairs)
    print(f"epoch {epoch}: neighbours of the same topic {neighbour_of_same_topic(model):.4f}, loss of a pair {loss.item() / BATCH:.4f}, held out {held_out:.4f}")
