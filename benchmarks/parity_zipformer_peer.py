"""The public package's side of `parity_zipformer.py`; runs in the environment that has it.

Called as: python parity_zipformer_peer.py JOB_FOLDER. Reads `job.json` and `weights.pt` there and
writes `answer.pt`. The package is imported with stand-ins for what only its training and its
command line need; everything compared is its own code.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import types
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class Views:
    """Stands where the package calls SpecAugment: gives the two views that the job holds."""

    time_warp_factor = 0

    def __init__(self, views: torch.Tensor) -> None:
        self.views = views

    def __call__(self, doubled: torch.Tensor) -> torch.Tensor:
        """(2N, T, 80), whatever comes in."""
        if doubled.shape != self.views.shape:
            raise ValueError(f"expected {tuple(self.views.shape)}, got {tuple(doubled.shape)}")
        return self.views


def stand_in(name: str, **content: Any) -> None:
    """Put a module of this name where `import` finds it."""
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(content)
    sys.modules[name] = module


def import_package() -> None:
    """Make `zipformer.modules` importable without the package's `__init__` and dependencies."""
    found = PathFinder.find_spec("zipformer")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the package zipformer is not installed in this environment")
    stand_in("zipformer", __path__=list(found.submodule_search_locations))
    stand_in("torch.utils.tensorboard", SummaryWriter=object)
    stand_in(
        "atdataset",
        SpecAugment=Views,
        time_warp=lambda x, **_: x,
        fix_random_seed=random.seed,
    )
    # Needed at import by code that only counts errors of transcripts, or parses version numbers.
    stand_in("kaldialign")
    if PathFinder.find_spec("packaging") is None:
        version = types.SimpleNamespace(parse=lambda text: tuple(map(int, text.split(".")[:2])))
        stand_in("packaging", version=version)


def build(shape: dict[str, Any], vocab_size: int) -> Any:
    """The package's model of this shape, with its CTC output."""
    from zipformer.modules.model import AsrModel

    def listed(name: str) -> str:
        return ",".join(map(str, shape[name]))

    return AsrModel(
        feature_dim=shape["bins"],
        downsampling_factor=listed("downsampling"),
        encoder_dim=listed("dims"),
        num_encoder_layers=listed("layers"),
        encoder_unmasked_dim=listed("unmasked_dims"),
        query_head_dim=str(shape["query_head_dim"]),
        pos_head_dim=str(shape["position_head_dim"]),
        value_head_dim=str(shape["value_head_dim"]),
        num_heads=listed("heads"),
        feedforward_dim=listed("feedforward_dims"),
        cnn_module_kernel=listed("kernels"),
        pos_dim=shape["position_dim"],
        chunk_size="-1",
        left_context_frames="-1",
        use_ctc=True,
        use_transducer=False,
        vocab_size=vocab_size,
    )


def outputs(model: Any, features: torch.Tensor) -> list[torch.Tensor]:
    """Embedding, every stack and the final output, (N, T, D) each."""
    found = []
    hooks = [
        stack.register_forward_hook(lambda _module, _in, out: found.append(out.transpose(0, 1)))
        for stack in model.encoder.encoders
    ]
    lengths = torch.full((len(features),), features.shape[1])
    with torch.no_grad():
        embedding, lengths = model.encoder_embed(features, lengths)
        last, _ = model.encoder(embedding.transpose(0, 1), lengths)
    for hook in hooks:
        hook.remove()
    return [embedding, *found, last.transpose(0, 1)]


def silence_chance(model: Any) -> None:
    """Turn off dropout and the hiding of channels; skips are off while no batch count is set."""
    for part in model.modules():
        # Schedules have their default, 0, while no batch count is set.
        if hasattr(part, "p") and isinstance(part.p, float):
            part.p = 0.0
        # One balancer's default is an upper limit below its lower one; late in training it is 10.
        if type(part).__name__ == "Balancer" and float(part.max_abs) < float(part.min_abs):
            part.max_abs.default = 10.0
    model.encoder.get_feature_masks = lambda _x: [1.0] * len(model.encoder.encoders)


@contextlib.contextmanager
def drawing(value: float) -> Iterator[None]:
    """Every `random.random()` gives `value`: 0 lets each gradient rule act, almost 1 none."""
    drawn, random.random = random.random, lambda: value
    try:
        yield
    finally:
        random.random = drawn


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradient of every parameter that the loss reaches."""
    model.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def answer(job: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Everything asked for: outputs, losses and gradients."""
    model = build(job["shape"], job["vocab_size"])
    model.load_state_dict(data["weights"], strict=True)
    model.eval()
    features, views, targets = data["features"], data["views"], job["targets"]
    lengths = torch.full((len(features),), features.shape[1])
    result: dict[str, Any] = {"outputs": outputs(model, features)}
    model.train()
    silence_chance(model)

    def copied() -> list[list[int]]:
        # The package's CR-CTC appends to the list it is given.
        return [list(row) for row in targets]

    def cr_ctc() -> dict[str, Any]:
        _, _, ctc, _, cr = model(
            features,
            lengths,
            copied(),
            use_cr_ctc=True,
            use_spec_aug=True,
            spec_augment=Views(views),
            supervision_segments=torch.empty(0),
        )
        total = ctc + job["cr_scale"] * cr
        return {
            "loss": total.item(),
            "consistency": cr.item(),
            "gradients": gradients(model, total),
        }

    def ctc() -> dict[str, Any]:
        _, _, loss, _, _ = model(features, lengths, copied())
        return {"loss": loss.item(), "gradients": gradients(model, loss)}

    with drawing(0.9999):
        result |= {"ctc": ctc(), "cr_ctc": cr_ctc()}
    with drawing(0.0):
        result["cr_ctc_rules"] = cr_ctc()
    model.double()
    features, views = features.double(), views.double()
    with drawing(0.9999):
        result |= {"ctc_double": ctc(), "cr_ctc_double": cr_ctc()}
    return result


def read_units(job: dict[str, Any]) -> list[str]:
    """What the package reads for each list of unit numbers of its own byte-fallback tables."""
    from zipformer.utils import SymbolTable, token_ids_to_text

    rows = "\n".join(f"{symbol} {i}" for i, symbol in enumerate(job["symbols"]))
    table = SymbolTable.from_str(rows)
    return [token_ids_to_text(ids, table) for ids in job["unit_lists"]]


def main() -> None:
    """Do the job in the folder named on the command line."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text("utf-8"))
    torch.set_num_threads(1)
    import_package()
    # Its modules print and log while they are imported; stdout stays free.
    with contextlib.redirect_stdout(sys.stderr):
        data = torch.load(folder / "weights.pt", weights_only=True)
        found = answer(job, data)
        found["texts"] = read_units(job)
    torch.save(found, folder / "answer.pt")


if __name__ == "__main__":
    main()
