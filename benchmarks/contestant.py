"""One contestant of `throughput.py` or `gpu.py`, in a process of its own; prints one line of JSON.

It is started by those scripts with its settings as JSON in the first argument. A step is what
training does: forward, CTC loss, backward, optimiser. Every contestant gets the same batches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import random
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("isogloss", "zipformer", "conformer")
UNITS = 500
Made = tuple[nn.Module, torch.optim.Optimizer]
# Seconds of the utterances in the batches: real corpora mix short and long.
SPANS = ((2.0, 3.0), (4.0, 6.0), (9.0, 12.0))
_UNITS_PER_SECOND = 3.5
# Width, layers and heads of a Conformer with about as many parameters.
_CONFORMERS = {"micro": (112, 7, 4), "tiny": (128, 7, 4), "small": (256, 14, 4)}
_CONFORMERS |= {"medium": (384, 18, 6), "large": (512, 24, 8), "xlarge": (768, 21, 12)}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process is to measure."""

    name: str
    size: str
    batch_seconds: float
    threads: int = 1
    device: str = "cpu"
    precision: str = "fp32"
    seconds: float = 20.0
    batch_count: float = 10000.0
    spans: tuple[tuple[float, float], ...] = SPANS
    # Passes over the batches in which tensors are counted.
    count_tensors: int = 3

    def as_json(self) -> str:
        """For the first argument of a process."""
        return json.dumps(dataclasses.asdict(self))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Random features (N, T, 80) with lengths, and units to spell."""

    features: Tensor
    lengths: Tensor
    targets: list[list[int]]
    seconds: float


def make_batches(settings: Settings) -> list[Batch]:
    """One batch per span of durations, about `batch_seconds` long with padding; always the same."""
    draws = random.Random(1)
    generator = torch.Generator().manual_seed(1)
    batches = []
    for low, high in settings.spans:
        count = max(1, int(settings.batch_seconds / high))
        frames = [int(100 * draws.uniform(low, high)) for _ in range(count)]
        features = torch.randn(count, max(frames), 80, generator=generator)
        targets = [
            [draws.randrange(1, UNITS) for _ in range(int(_UNITS_PER_SECOND * length / 100))]
            for length in frames
        ]
        device = torch.device(settings.device)
        lengths = torch.tensor(frames, device=device)
        batches.append(Batch(features.to(device), lengths, targets, sum(frames) / 100))
    return batches


def ctc(log_probs: Tensor, lengths: Tensor, targets: list[list[int]]) -> Tensor:
    """CTC loss of log-probabilities (N, T, V), summed over the batch."""
    flat = torch.tensor([u for target in targets for u in target], device=log_probs.device)
    counts = torch.tensor([len(target) for target in targets])
    lengths = lengths.cpu()
    return F.ctc_loss(log_probs.float().transpose(0, 1), flat, lengths, counts, reduction="sum")


def isogloss(settings: Settings) -> Callable[[], Made]:
    """Ours, as `isogloss speech train` sets it up."""
    from isogloss.speech.ctc import CtcModel
    from isogloss.speech.scaling import set_batch_count
    from isogloss.speech.zipformer import ZipformerConfig
    from isogloss.training.optim import ScaledAdam

    def make() -> Made:
        model = CtcModel(ZipformerConfig.of_size(settings.size), UNITS).to(settings.device)
        set_batch_count(model, settings.batch_count)
        return model, ScaledAdam(model.parameters(), 0.01)

    return make


def zipformer(settings: Settings) -> Callable[[], Made]:
    """The package `zipformer`, as its `AsrModel.forward_encoder` and `forward_ctc` put it."""
    from peers import load_zipformer

    package = load_zipformer()
    shape = _shape_of(settings.size)

    def make() -> Made:
        model = PublicZipformer(package, shape).to(settings.device)
        for part in model.modules():
            if hasattr(part, "batch_count"):
                vars(part)["batch_count"] = settings.batch_count
        groups = [{"named_params": list(model.named_parameters())}]
        return model, package.optim.ScaledAdam(groups, lr=0.01, clipping_scale=2.0)

    return make


def conformer(settings: Settings) -> Callable[[], Made]:
    """The Conformer of `torchaudio` over frames stacked by four, 25 Hz as the others' output."""
    from peers import load_conformer

    package = load_conformer()

    def make() -> Made:
        model = StackedConformer(package, *_CONFORMERS[settings.size]).to(settings.device)
        return model, torch.optim.AdamW(model.parameters(), 1e-3)

    return make


class PublicZipformer(nn.Module):
    """Front end, stacks and CTC head of the package `zipformer`."""

    def __init__(self, package: Any, shape: dict[str, Any]) -> None:
        super().__init__()
        dims = shape["encoder_dim"]
        front = shape.pop("front_channels")
        self.encoder_embed = package.subsampling.Conv2dSubsampling(
            in_channels=80,
            out_channels=dims[0],
            layer1_channels=front[0],
            layer2_channels=front[1],
            layer3_channels=front[2],
            dropout=package.zipformer.ScheduledFloat((0.0, 0.3), (20000.0, 0.1)),
        )
        self.encoder = package.zipformer.Zipformer(**shape)
        self.ctc_output = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(max(dims), UNITS), nn.LogSoftmax(dim=-1)
        )

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (N, T, V) and lengths (N,)."""
        x, lengths = self.encoder_embed(features, lengths)
        padded = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
        x, lengths = self.encoder(x.permute(1, 0, 2), lengths, padded)
        return self.ctc_output(x.permute(1, 0, 2)), lengths


class StackedConformer(nn.Module):
    """torchaudio's `Conformer` behind its `_TimeReduction` of four frames and a linear layer."""

    def __init__(self, module: Any, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.input = nn.Linear(4 * 80, width)
        self.encoder = module.Conformer(width, heads, 4 * width, layers, 31, dropout=0.1)
        self.ctc_output = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(width, UNITS), nn.LogSoftmax(dim=-1)
        )

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (N, T // 4, V) and lengths (N,)."""
        steps = features.shape[1] // 4
        stacked = features[:, : 4 * steps].reshape(len(features), steps, 320)
        x, lengths = self.encoder(self.input(stacked), lengths // 4)
        return self.ctc_output(x), lengths


def _shape_of(size: str) -> dict[str, Any]:
    """Arguments of the package's Zipformer for one of our sizes."""
    from isogloss.speech.zipformer import ZipformerConfig

    config = ZipformerConfig.of_size(size)
    return {
        "output_downsampling_factor": 2,
        "downsampling_factor": config.downsampling,
        "encoder_dim": config.dims,
        "num_encoder_layers": config.layers,
        "encoder_unmasked_dim": config.unmasked_dims,
        "query_head_dim": (config.query_head_dim,) * len(config.dims),
        "pos_head_dim": (config.position_head_dim,) * len(config.dims),
        "value_head_dim": (config.value_head_dim,) * len(config.dims),
        "num_heads": config.heads,
        "feedforward_dim": config.feedforward_dims,
        "cnn_module_kernel": config.kernels,
        "pos_dim": config.position_dim,
        "front_channels": config.front_channels,
    }


def resident_bytes() -> tuple[int, int]:
    """Memory of this process that is in RAM: now, and the most since `forget_peak`."""
    found = {"VmRSS": 0, "VmHWM": 0}
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        key, _, rest = line.partition(":")
        if key in found:
            found[key] = 1024 * int(rest.split()[0])
    return found["VmRSS"], found["VmHWM"]


def forget_peak() -> None:
    """Start the count of the most memory anew (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def tensor_peak(step: Callable[[], object], kept: int) -> int:
    """Most bytes of tensors alive during `step`, `kept` of which were there before.

    Exact, as the allocator reports every block to the profiler; memory that oneDNN and MKL take for
    themselves is not in it.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    results: Any = profiler.profiler
    alive = most = 0
    events = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: int(e.start_ns())):
        alive += event.nbytes()
        most = max(most, alive)
    return kept + most


def kept_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of parameters, buffers and optimiser state."""
    tensors = [*model.parameters(), *model.buffers()]
    for state in optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors)


def _load_libraries(device: str) -> None:
    """A step of a tiny network, so that what torch loads at first use is loaded."""
    layer = nn.Conv1d(4, 4, 3).to(device)
    optimizer = torch.optim.AdamW(layer.parameters())
    log_probs = layer(torch.ones(1, 4, 8, device=device)).transpose(1, 2).log_softmax(dim=-1)
    torch.autograd.backward(ctc(log_probs, torch.tensor([6]), [[1, 2]]))
    optimizer.step()


def measure(settings: Settings) -> dict[str, Any]:
    """Throughput and memory of one contestant."""
    torch.set_num_threads(settings.threads)
    # As our training does; the others gain by it too.
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    random.seed(1)
    batches = make_batches(settings)
    cuda = settings.device.startswith("cuda")
    # Libraries load and the thread of backward starts before the baseline is read.
    make = {"isogloss": isogloss, "zipformer": zipformer, "conformer": conformer}[settings.name](
        settings
    )
    _load_libraries(settings.device)
    gc.collect()
    baseline = resident_bytes()[0]
    forget_peak()
    model, optimizer = make()
    model.train()
    half = settings.precision == "bf16"
    losses = []

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(settings.device.split(":")[0], torch.bfloat16, enabled=half):
            log_probs, lengths = model(batch.features, batch.lengths)
        loss = ctc(log_probs, lengths, batch.targets)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.detach())

    for batch in batches:
        step(batch)
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    rates: list[float] = []
    audio = wall = cpu = 0.0
    while wall < settings.seconds or not rates:
        began, began_cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            step(batch)
        if cuda:
            torch.cuda.synchronize()
        taken = time.perf_counter() - began
        seconds = sum(batch.seconds for batch in batches)
        rates.append(seconds / taken)
        audio, wall = audio + seconds, wall + taken
        cpu += time.process_time() - began_cpu
    row = {
        "name": settings.name,
        "size": settings.size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "passes": len(rates),
        "audio_per_second": statistics.median(rates),
        "audio_per_cpu_second": audio / cpu,
        "finite": bool(torch.stack(losses).isfinite().all()),
        "torch": torch.__version__,
    }
    if cuda:
        row["device_bytes"] = torch.cuda.max_memory_allocated()
        row["device"] = torch.cuda.get_device_name()
        return row
    row["process_bytes"] = resident_bytes()[1] - baseline
    if settings.count_tensors:
        optimizer.zero_grad(set_to_none=True)
        kept = kept_bytes(model, optimizer)
        peaks = []
        # Which rules act, and keep something, is drawn anew in every step.
        for _ in range(settings.count_tensors):
            of_batches = []
            for batch in batches:
                optimizer.zero_grad(set_to_none=True)
                losses.clear()
                of_batches.append(tensor_peak(lambda batch=batch: step(batch), kept))  # type: ignore[misc]
            peaks.append(max(of_batches))
        row["tensor_bytes"] = statistics.median(peaks)
    return row


def main() -> None:
    """Measure what the first argument says."""
    sys.path.insert(0, str(Path(__file__).parent))
    settings = Settings(**json.loads(sys.argv[1]))
    print(json.dumps(dataclasses.asdict(settings) | measure(settings)))


if __name__ == "__main__":
    main()
