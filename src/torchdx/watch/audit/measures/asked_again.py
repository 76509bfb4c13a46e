"""Samples asked for twice, in one process and in two workers; and the time that fetching them takes."""

from __future__ import annotations

import time
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from torchdx.watch.audit.pool import Pool, length_of
from torchdx.watch.audit.samples import input_of
from torchdx.watch.audit.subjects import Subject
from torchdx.watch.audit.values import Shot

SAMPLES, DRAWS = 8, 4


def repeat(pool: Pool, subject: Subject) -> dict[str, Any] | None:
    """How many samples differ when they are asked for again."""
    if isinstance(subject.dataset, IterableDataset) or not pool.indices or not pool.digests:
        return None
    chosen = pool.indices[:: max(1, len(pool) // SAMPLES)][:SAMPLES]
    differ = sum(_digest(subject.dataset[k]) != _digest(subject.dataset[k]) for k in chosen)
    return {"samples": len(chosen), "differ": differ}


def _digest(sample: Any) -> str:
    return Shot.of(input_of(sample)).digest


def clones(pool: Pool, subject: Subject) -> dict[str, Any] | None:
    """Do two workers draw the same random numbers? One sample, asked of both in turns as the loader asks its own."""
    loader, count = subject.thing, length_of(subject.dataset)
    if not isinstance(loader, DataLoader) or loader.num_workers < 2 or not count:
        return None
    if isinstance(subject.dataset, IterableDataset):
        return None
    index = pool.indices[len(pool) // 2] if len(pool) else 0
    again = DataLoader(
        subject.dataset,
        batch_size=None,
        sampler=[index] * (2 * DRAWS),
        num_workers=2,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        timeout=20,
    )
    drawn = [_digest(sample) for sample in again]
    first, second = drawn[0::2], drawn[1::2]
    random = len(set(first)) > 1
    return {
        "workers": loader.num_workers,
        "samples": DRAWS,
        "random": random,
        "same": sum(map(str.__eq__, first, second)),
    }


def timing(pool: Pool, subject: Subject) -> dict[str, Any] | None:
    """Seconds that one sample takes, and that putting it into a batch does, each the middle of several."""
    size = getattr(subject.thing, "batch_size", None)
    collate = getattr(subject.thing, "collate_fn", None)
    if not pool.fetched or not size or collate is None:
        return None
    samples = [subject.dataset[k] for k in pool.indices[: min(size, len(pool))]]
    began = time.perf_counter()
    collate(samples)
    each = (time.perf_counter() - began) / len(samples)
    item = sorted(pool.fetched)[len(pool.fetched) // 2]
    return {"samples": len(pool.fetched), "seconds": {"item": item, "collate": each}, "batch": size}
