"""Words of functions and methods that log-probabilities and rewards are followed through."""

from __future__ import annotations

from torchdx.source.reading import words

SAME = words(
    "sum stack cat concat concatenate vstack hstack tensor as_tensor FloatTensor array asarray list tuple detach clone "
    "cpu cuda to float double half view reshape squeeze unsqueeze flatten contiguous numpy item tolist expand flip "
    "expand_as repeat transpose permute t reversed clamp clip clamp_min clamp_max minimum maximum min max where exp "
    "scale nan_to_num gather index_select take_along_dim take_along_axis masked_select cumsum softmax tanh deque iter "
    "sorted tqdm from_numpy requires_grad_ type_as masked_fill copy ravel flipud discount_cumsum unbind split chunk "
    "pop get narrow unfold roll"
)
MEANS = words("mean nanmean average median masked_mean")
TIMES = words("mul multiply dot matmul inner einsum mv mm bmm vdot mul_")
LOGS = words("log_softmax logsigmoid")
LOSSES = words("cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits")
SEVERING = words("detach item numpy tolist tensor FloatTensor array asarray from_numpy")
"""What ends the graph of a log-probability; `as_tensor` of a tensor does not."""
