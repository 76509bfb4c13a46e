"""A small BERT classifier from a config, on sums of digits written as tokens, under transformers' Trainer."""

import tempfile

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()


class Parity(Dataset):
    """Which of two tokens is the more frequent one in a short text?"""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.tokens = rng.integers(2, 12, size=(count, 12))
        self.labels = ((self.tokens < 7).sum(1) > 6).astype(np.int64)

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        ids = torch.tensor(self.tokens[index])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor(self.labels[index])}


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main():
    set_seed(3)
    config = BertConfig(
        vocab_size=12,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        num_labels=2,
    )
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        learning_rate=3e-3,
        num_train_epochs=4,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=128,
        warmup_steps=10,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=arguments,
        train_dataset=Parity(800, 0),
        eval_dataset=Parity(200, 1),
        compute_metrics=accuracy,
    )
    trainer.train()
    print(f"accuracy {trainer.evaluate()['eval_accuracy']:.3f}")


if __name__ == "__main__":
    main()
