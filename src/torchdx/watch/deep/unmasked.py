"""Does a loss count the places that are padding, as the lengths or the mask that the model is given tell?"""

from __future__ import annotations

from typing import Any

import torch

from torchdx.watch.deep.episode import Episode
from torchdx.watch.deep.padding import Padding
from torchdx.watch.deep.specimen import Specimen


def padding_unmasked(specimen: Specimen, episode: Episode, padding: Padding) -> dict[str, Any]:
    """The share of targets at padded places, all one class, and of how many of these the loss's term is not zero."""
    target, count, places = episode.target, len(padding.lengths), padding.places
    if not padding.told or target is None or target.is_floating_point() or target.numel() != count * places:
        return {}
    torch.manual_seed(0)
    with torch.no_grad():
        terms = specimen.terms(episode)
    if terms is None or terms.numel() != target.numel():
        return {}
    lengths = torch.tensor(padding.lengths, device=target.device)[:, None]
    padded = torch.arange(places, device=target.device) >= lengths
    axes = (padding.batch, padding.time)
    if axes not in ((0, 1), (1, 0)):
        return {}
    sizes = (count, places) if axes == (0, 1) else (places, count)
    rows, lost = (one.detach().reshape(sizes).permute(axes) for one in (target, terms))
    values = rows[padded].unique()
    if len(values) != 1:
        return {}
    counted = (lost[padded] != 0).double().mean()
    return {"unmasked": {"share": float(padded.double().mean()), "counted": float(counted), "target": int(values)}}
