"""The optimiser of every model: AdamW, with a rate of their own for spectral numbers."""

import torch
from torch import nn

SPECTRAL = ("phase", "phase_raw", "smoothing_raw", "gate", "share")


def optimizer_of(
    model: nn.Module, *, weight_decay: float, phase_rate: float
) -> torch.optim.Optimizer:
    """AdamW; phases, smoothings and relaxation move `phase_rate` times faster and do not decay."""
    named = list(model.named_parameters())
    spectral = [p for name, p in named if _is_spectral(name)]
    others = [p for name, p in named if not _is_spectral(name)]
    groups = [
        {"params": others, "factor": 1.0, "weight_decay": weight_decay},
        {"params": spectral, "factor": phase_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of all groups, each times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def _is_spectral(name: str) -> bool:
    return name.rpartition(".")[2] in SPECTRAL
