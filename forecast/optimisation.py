"""The optimiser of every model: AdamW, with a rate of their own for spectral numbers."""

import torch
from torch import nn

SPECTRAL = ("phase", "phase_raw", "smoothing_raw", "gate", "share")
FITTED = ("mixing", "stream")  # by least squares: of kernels, of a current


def optimizer_of(
    model: nn.Module, *, weight_decay: float, phase_rate: float
) -> torch.optim.Optimizer:
    """AdamW; phases, smoothings and relaxation move `phase_rate` times faster and do not decay.

    Nor does what least squares fitted: decay would damp the law that it found.
    """
    groups: dict[str, list[nn.Parameter]] = {"other": [], "spectral": [], "fitted": []}
    for name, parameter in model.named_parameters():
        last = name.rpartition(".")[2]
        kind = "spectral" if last in SPECTRAL else "fitted" if last in FITTED else "other"
        groups[kind].append(parameter)
    factors = {"other": 1.0, "spectral": phase_rate, "fitted": 1.0}
    chosen = [
        {
            "params": parameters,
            "factor": factors[kind],
            "weight_decay": weight_decay if kind == "other" else 0.0,
        }
        for kind, parameters in groups.items()
        if parameters
    ]
    return torch.optim.AdamW(chosen, lr=0.0, betas=(0.9, 0.98))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of all groups, each times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
