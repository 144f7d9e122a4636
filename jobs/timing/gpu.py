"""The same work on a GPU, by its own clock, in float32 and bfloat16."""

from collections.abc import Iterator, Mapping
from statistics import median

import torch

from jobs.timing.clock import Record, Work, against
from jobs.timing.layers import forward, forward_and_backward
from jobs.timing.pair import Pair, pair, terms_of

CALLS = 20  # of one work in one sample: a kernel may last less than starting it does


def gpu(refinements: tuple[int, ...], channels: int, repeats: int) -> Iterator[Record]:
    """Nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return
    for refinement in refinements:
        on_cpu = pair(refinement, channels)
        for dtype in (torch.float32, torch.bfloat16):
            yield from _on_gpu(on_cpu.to("cuda", dtype), channels, refinement, repeats)


def device_works(both: Pair, channels: int) -> dict[str, Work]:
    """Products and layers where the pair lies; dense products in the precision of its features."""
    scale = both.operator.scale
    inputs = torch.randn(len(scale), 1, channels, device=scale.device, dtype=scale.dtype)
    inputs.requires_grad_()
    x = inputs.detach()
    matrix = torch.randn(channels, channels, device=scale.device, dtype=scale.dtype)
    works: dict[str, Work] = {
        "copy": x.clone,
        "matrix product": lambda: x @ matrix,
        "sparse product": lambda: both.operator.apply(x),
    }
    for name, layer in (("layer", both.ours), ("scatter layer", both.published)):
        works[f"{name}, forward"] = forward(layer, inputs)
        works[f"{name}, forward and backward"] = forward_and_backward(layer, inputs)
    return {name: _in_precision(work, scale) for name, work in works.items()}


def _on_gpu(both: Pair, channels: int, refinement: int, repeats: int) -> Iterator[Record]:
    seconds = _medians(device_works(both, channels), repeats)
    dtype = str(both.operator.scale.dtype).removeprefix("torch.")
    terms = terms_of(both.layer, both.operator)
    where = f"GPU, {dtype}, refinement {refinement}, {channels} channels"
    yield Record(name=f"copy, {where}", value=seconds["copy"])
    for name in ("matrix product", "sparse product"):
        yield against(f"{name}, {where}", seconds[name], "copy", seconds["copy"])
    for part in ("forward", "forward and backward"):
        ours, published = seconds[f"layer, {part}"], seconds[f"scatter layer, {part}"]
        yield against(f"layer, {part}, {where}, {terms} terms", ours, "copy", seconds["copy"])
        name = f"scatter layer, {part}, {where}, {terms} terms"
        yield against(name, published, f"layer, {part}", ours)


def _in_precision(work: Work, like: torch.Tensor) -> Work:
    """Work with matrix products in the precision of `like`, its backward too."""

    def run() -> None:
        half = like.dtype == torch.bfloat16
        with torch.autocast(like.device.type, dtype=torch.bfloat16, enabled=half):
            work()

    return run


def _medians(works: Mapping[str, Work], repeats: int) -> dict[str, float]:
    """Seconds on the GPU of each work: medians of samples taken by turns."""
    for work in works.values():
        work()
    rounds = [{name: _seconds(work) for name, work in works.items()} for _ in range(repeats)]
    return {name: median(times[name] for times in rounds) for name in works}


def _seconds(work: Work) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(CALLS):
        work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000 / CALLS
