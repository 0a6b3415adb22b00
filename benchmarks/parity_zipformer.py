"""Our Zipformer against the PyPI package `zipformer`: same weights, same outputs, same gradients.

Run it with: python benchmarks/parity_zipformer.py [--sizes tiny,small,medium] [--json]

It makes a virtual environment of its own (kept for the next run), installs zipformer==0.1.3 there
without its dependencies, and lets it use the torch that runs this script. Both models get the same
random weights and a batch of two utterances of equal length, since the package's answer for a
shorter one depends on its padding and ours does not. Outputs are compared in evaluation mode,
gradients in training mode with dropout, masks and skips off; once with the rules that change
gradients (Balancer, Whiten, limits of parameters, score penalty) never acting, once with all of
them acting at every call. The losses of the package's side are its own code (`AsrModel.forward`),
CR-CTC with two given views in place of its random SpecAugment.

Exit code 1 when a bound is broken: 1e-4 on outputs; 1e-3 (relative) on losses, on the gradient as
a whole in float32, and on the gradient of every single tensor in float64. A single tensor in
float32 is shown only: gradients of the few numbers that weigh the steps of a down-sampling are
small differences of large sums, which rounding moves by more.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isogloss.speech import scaling, zipformer_layers
from isogloss.speech.ctc import CtcModel, cr_ctc_loss, ctc_loss
from isogloss.speech.tokens import BLANK, UNKNOWN, Tokenizer, normalise_text
from isogloss.speech.zipformer import ZipformerConfig
from peers import peer_python

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "zipformer==0.1.3"
OUTPUT_BOUND, GRADIENT_BOUND = 1e-4, 1e-3
LOSSES = {
    "ctc": "CTC",
    "cr_ctc": "CR-CTC",
    "ctc_double": "CTC, float64",
    "cr_ctc_double": "CR-CTC, float64",
    "cr_ctc_rules": "CR-CTC, rules on",
}
CR_SCALE = 0.2
VOCABULARY = 100
FRAMES = 163
SEED = 7

_ROOT = Path(__file__).resolve().parents[1]
_DEFAULT_VENV = _ROOT / "exp" / "parity-zipformer"
_GOLDEN = _ROOT / "tests" / "speech" / "zipformer_gradients.json"
# Tensors of which the golden file keeps figures: every so many of the sorted names.
_GOLDEN_EVERY = 19


def ask_peer(python: Path, job: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """What the package answers."""
    script = Path(__file__).with_name("parity_zipformer_peer.py")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment |= {"TORCH_COMPILE_DISABLE": "1", "PYTHONNOUSERSITE": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(job), "utf-8")
        torch.save(data, folder / "weights.pt")
        subprocess.run([python, script, folder], check=True, env=environment, stdout=sys.stderr)
        found: dict[str, Any] = torch.load(folder / "answer.pt", weights_only=True)
        return found


def fill(model: torch.nn.Module, seed: int) -> None:
    """Give `model` weights that any numpy makes the same, large enough that all parts matter."""
    random = np.random.RandomState(seed)  # the generator that never changes
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            values = random.standard_normal(parameter.shape)
            if parameter.dim() > 1:
                values = values / np.sqrt(np.prod(parameter.shape[1:]))
            else:
                values = 0.5 + 0.2 * values
            parameter.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))


def batch(frames: int) -> tuple[torch.Tensor, torch.Tensor, list[list[int]]]:
    """Features (2, T, 80), two masked views of them (4, T, 80), and targets."""
    random = np.random.RandomState(frames)
    values = random.standard_normal((2, frames, 80)).astype(np.float32) * 3 - 5
    features = torch.from_numpy(values)
    views = features.repeat(2, 1, 1)
    for row, view in enumerate(views):
        start = int(random.randint(0, frames - 30))
        low = int(random.randint(0, 60))
        view[start : start + 10 + 5 * row] = -5.0
        view[:, low : low + 12] = -5.0
    # With a repeated unit, which needs a blank between.
    return features, views, [[5, 5, 17, 99, 1, 42], [3, 60, 61, 60]]


def quiet_model(size: str) -> CtcModel:
    """Ours without dropout, masks and skips; the gradient rules are there."""
    config = ZipformerConfig.of_size(size, dropout=0.0, layer_skip=False, feature_mask=False)
    model = CtcModel(config, VOCABULARY, dropout=0.0)
    for part in model.modules():
        if hasattr(part, "position_dropout"):
            setattr(part, "position_dropout", 0.0)  # noqa: B010  # not every module has it
        # As on the package's side: see `silence_chance` there.
        if isinstance(part, scaling.Balancer) and part.now(part.absolute[1]) < part.now(
            part.absolute[0]
        ):
            part.absolute = (part.absolute[0], 10.0)
    fill(model, SEED)
    return model


@contextlib.contextmanager
def rules(acting: bool) -> Iterator[None]:
    """Every gradient rule acts at every call, or none ever does."""
    places = (scaling, zipformer_layers)
    drawn = [place.__dict__["chance"] for place in places]
    for place in places:
        place.__dict__["chance"] = lambda probability: acting and probability > 0.0
    try:
        yield
    finally:
        for place, chance in zip(places, drawn, strict=True):
            place.__dict__["chance"] = chance


def own_answer(model: CtcModel, features: torch.Tensor, views: torch.Tensor, targets: Any) -> Any:
    """Our outputs, losses and gradients, as `parity_zipformer_peer.answer` gives them."""
    lengths = torch.full((len(features),), features.shape[1])
    model.eval()
    with torch.no_grad():
        outputs = [values for values, _, _ in model.forward_layers(features, lengths)]
    model.train()

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    def cr_ctc() -> dict[str, Any]:
        log_probs, steps = model(views, lengths.repeat(2))
        loss = cr_ctc_loss(log_probs, steps, targets, cr_scale=CR_SCALE)
        return {
            "loss": loss.total.item(),
            "consistency": loss.consistency.item(),
            "gradients": gradients(loss.total),
        }

    def ctc() -> dict[str, Any]:
        log_probs, steps = model(features, lengths)
        loss = ctc_loss(log_probs, steps, targets)
        return {"loss": loss.item(), "gradients": gradients(loss)}

    result: dict[str, Any] = {"outputs": outputs}
    with rules(acting=False):
        result |= {"ctc": ctc(), "cr_ctc": cr_ctc()}
    with rules(acting=True):
        result["cr_ctc_rules"] = cr_ctc()
    model.double()
    features, views = features.double(), views.double()
    with rules(acting=False):
        result |= {"ctc_double": ctc(), "cr_ctc_double": cr_ctc()}
    return result


def gradient_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Relative differences of two sets of gradients.

    `worst` is over tensors: the norm of the difference over the norm of the package's gradient;
    tensors whose gradient is below a millionth of the whole hold rounding only and count relative
    to that millionth. `overall` takes all tensors as one.
    """
    names = sorted(set(ours) | set(theirs))
    missing = [name for name in names if name not in ours or name not in theirs]
    if missing:
        raise SystemExit(f"only one side has a gradient for {', '.join(missing[:5])}")
    squares = {name: theirs[name].double().square().sum().item() for name in names}
    apart = {
        name: (ours[name].double() - theirs[name].double()).square().sum().item() for name in names
    }
    whole = sum(squares.values())
    relative = {name: (apart[name] / max(squares[name], 1e-12 * whole)) ** 0.5 for name in names}
    worst = max(names, key=relative.__getitem__)
    return {
        "tensors": len(names),
        "worst": relative[worst],
        "worst_tensor": worst,
        "overall": (sum(apart.values()) / whole) ** 0.5,
    }


def byte_units() -> tuple[list[str], list[list[int]], list[str]]:
    """Symbols with byte fallback as the package's public models have, unit lists, our readings."""
    pieces = ["▁hello", "▁wor", "ld", "你", "们", "▁"]
    symbols = [BLANK, "<sos/eos>", UNKNOWN, *(f"<0x{b:02X}>" for b in range(256)), *pieces]
    number = {symbol: i for i, symbol in enumerate(symbols)}
    random = np.random.default_rng(0)
    texts = ["𠊎毋知", "é", "好", "Hakka 客", "🙂"]
    lists = []
    for _ in range(50):
        units: list[int] = []
        for _ in range(int(random.integers(1, 6))):
            if random.random() < 0.5:
                units.append(number[pieces[int(random.integers(len(pieces)))]])
            else:
                text = texts[int(random.integers(len(texts)))]
                units += [number[f"<0x{b:02X}>"] for b in text.encode()]
        lists.append(units)
    tokenizer = Tokenizer(symbols)
    return symbols, lists, [tokenizer.decode(units) for units in lists]


def compare(size: str, python: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of one size, and the package's answer."""
    model = quiet_model(size)
    features, views, targets = batch(FRAMES)
    symbols, lists, readings = byte_units()
    job = {
        "shape": dataclasses.asdict(model.config),
        "vocab_size": VOCABULARY,
        "targets": targets,
        "cr_scale": CR_SCALE,
        "symbols": symbols,
        "unit_lists": lists,
    }
    data = {"weights": model.state_dict(), "features": features, "views": views}
    theirs = ask_peer(python, job, data)
    ours = own_answer(model, features, views, targets)
    row: dict[str, Any] = {
        "size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "outputs": [
            (a - b).abs().max().item()
            for a, b in zip(ours["outputs"], theirs["outputs"], strict=True)
        ],
        "largest_output": max(b.abs().max().item() for b in theirs["outputs"]),
        "readings_equal": sum(
            a == normalise_text(b) for a, b in zip(readings, theirs["texts"], strict=True)
        ),
        "readings": len(readings),
    }
    for name in LOSSES:
        loss = theirs[name]["loss"]
        row[name] = {
            "loss": loss,
            "loss_difference": abs(ours[name]["loss"] - loss) / abs(loss),
            "gradients": gradient_difference(ours[name]["gradients"], theirs[name]["gradients"]),
        }
    row["within_bounds"] = (
        max(row["outputs"]) <= OUTPUT_BOUND
        and row["readings_equal"] == row["readings"]
        and all(
            row[name]["gradients"]["overall"] <= GRADIENT_BOUND
            and row[name]["loss_difference"] <= GRADIENT_BOUND
            for name in ("ctc", "cr_ctc", "cr_ctc_rules")
        )
        and all(
            row[name]["gradients"]["worst"] <= GRADIENT_BOUND
            for name in ("ctc_double", "cr_ctc_double")
        )
    )
    return row, theirs


def golden(theirs: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
    """A few hundred numbers of the package's answer for the tests."""

    def figures(values: torch.Tensor) -> dict[str, Any]:
        flat = values.flatten()
        picked = flat[:: max(1, len(flat) // 4)][:4]
        return {
            "norm": float(f"{values.double().norm().item():.6g}"),
            "picked": [float(f"{v:.6g}") for v in picked.tolist()],
        }

    result: dict[str, Any] = {
        "made_by": f"benchmarks/parity_zipformer.py --write-golden: PyPI {PACKAGE}, torch "
        f"{machine['torch']}, numpy {machine['numpy']} (CPU, float32), no dropout",
        "size": "tiny",
        "seed": SEED,
        "frames": FRAMES,
        "vocab_size": VOCABULARY,
        "cr_scale": CR_SCALE,
        "outputs": [figures(values) for values in theirs["outputs"]],
    }
    for name in ("ctc", "cr_ctc"):
        found = theirs[name]["gradients"]
        result[name] = {"loss": theirs[name]["loss"]}
        if "consistency" in theirs[name]:
            result[name]["consistency"] = theirs[name]["consistency"]
        result[name]["tensors"] = len(found)
        result[name]["gradients"] = {n: figures(found[n]) for n in sorted(found)[::_GOLDEN_EVERY]}
    return result


def show(rows: list[dict[str, Any]], machine: dict[str, Any]) -> None:
    """The table."""
    print(
        f"{PACKAGE} beside isogloss, torch {machine['torch']}, one thread; losses by the package's "
        "own code"
    )
    labels = ["embedding", *(f"stack {i}" for i in range(1, 7)), "final output"]
    print(f"{'largest difference of outputs':<44}" + "".join(f"{r['size']:>12}" for r in rows))
    for index, label in enumerate(labels):
        print(f"  {label:<42}" + "".join(f"{r['outputs'][index]:>12.1e}" for r in rows))
    print(f"  {'(largest value)':<42}" + "".join(f"{r['largest_output']:>12.1f}" for r in rows))
    print("relative difference")
    for name, label in LOSSES.items():
        lines = {
            "loss": [r[name]["loss_difference"] for r in rows],
            "gradients, all": [r[name]["gradients"]["overall"] for r in rows],
            "gradients, worst tensor": [r[name]["gradients"]["worst"] for r in rows],
        }
        for text, values in lines.items():
            print(f"  {label + ': ' + text:<42}" + "".join(f"{value:>12.1e}" for value in values))
    equal = [f"{r['readings_equal']} of {r['readings']}" for r in rows]
    print(f"{'byte-fallback units read equally':<44}" + "".join(f"{text:>12}" for text in equal))
    verdict = ["yes" if r["within_bounds"] else "NO" for r in rows]
    print(f"{'within bounds':<44}" + "".join(f"{text:>12}" for text in verdict))


def main() -> int:
    """Print the table, or JSON; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="tiny,small,medium", help="with commas")
    parser.add_argument(
        "--venv", type=Path, default=_DEFAULT_VENV, help="folder of the package's environment"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--write-golden",
        type=Path,
        nargs="?",
        const=_GOLDEN,
        help="write figures of tiny for the tests (default: where the tests look)",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    machine = {
        "package": PACKAGE,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": platform.processor() or platform.machine(),
        "losses": "the package's own AsrModel.forward",
    }
    python = peer_python(arguments.venv, (PACKAGE,))
    rows = []
    for size in arguments.sizes.split(","):
        row, theirs = compare(size, python)
        rows.append(row)
        if size == "tiny" and arguments.write_golden is not None:
            text = json.dumps(golden(theirs, machine), indent=1) + "\n"
            arguments.write_golden.write_text(text, "utf-8")
    if arguments.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=2))
    else:
        show(rows, machine)
    return 0 if all(row["within_bounds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
