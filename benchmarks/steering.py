"""Steering of a small language model that is trained here, on a CPU in some ten minutes.

Run it with: python benchmarks/steering.py CORPUS --out steering

CORPUS is a manifest with texts of --source and --target that share meanings (`isogloss demo --text`
and the gettext reader write one). A Llama-style model of about a million weights learns lines
"TEXT => TEXT'": in most of them TEXT' is TEXT again, in --cross of them its translation, and no
mark says which. So it repeats, and could translate. Steered to the target it should translate: then
an output's variety and its meaning can both be judged, which a model that babbles does not allow.
The model is kept in OUT/lm; the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from dataclasses import replace
from pathlib import Path

from isogloss.cli import main as isogloss
from isogloss.corpora.jsonl import read_corpus, write_corpus
from isogloss.training.text_config import Shape, TextTrainConfig
from isogloss.training.text_loop import train_text
from isogloss.types import Corpus, Item

TEMPLATE = "{} =>"


def echoes(corpus: Corpus, varieties: tuple[str, str], *, cross: float, longest: int) -> Corpus:
    """Lines to learn from: each text of split train twice, the second time maybe translated."""
    texts: dict[str, dict[str, str]] = {}
    for item in corpus.items:
        if item.split in (None, "train") and item.meaning and item.variety in varieties:
            if len(item.text or "") <= longest:
                texts.setdefault(item.meaning, {}).setdefault(item.variety, str(item.text))
    items = []
    for meaning, by_variety in texts.items():
        if len(by_variety) < 2:
            continue
        for variety, other in (varieties, varieties[::-1]):
            # A draw of each line by itself: the order of the corpus changes nothing.
            draw = zlib.crc32(f"{meaning} {variety}".encode()) / 2**32
            second = by_variety[other if draw < cross else variety]
            line = f"{TEMPLATE.format(by_variety[variety])} {second}"
            items.append(Item(f"{meaning}-{variety}", variety, text=line))
    return Corpus(f"{corpus.name} echoed", tuple(items))


def main() -> int:
    """Train, then steer by every method over strengths and layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--source", default="eng")
    parser.add_argument("--target", default="deu")
    parser.add_argument("--cross", type=float, default=0.15)
    parser.add_argument("--longest", type=int, default=50)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    corpus = read_corpus(args.corpus)
    pair = (args.source, args.target)
    kept = tuple(i for i in corpus.items if i.variety in pair and len(i.text or "") <= args.longest)
    args.out.mkdir(parents=True, exist_ok=True)
    write_corpus(replace(corpus, items=kept), args.out / "manifest.jsonl")
    lines = echoes(corpus, pair, cross=args.cross, longest=args.longest)
    config = TextTrainConfig(
        shape=Shape(kind="decoder", vocabulary=3000),
        max_steps=args.steps,
        base_lr=0.003,
        batch=32,
        seed=args.seed,
        control=False,
        threads=1,
    )
    train_text(config, corpus=lines, folder=args.out / "lm")
    given = ["--template", TEMPLATE, "--prompt-words", "0", "--least-tokens", "0"]
    swept = ["--method", "all", "--layer", "1,2,3", "--strength", "0.25,0.5,0.75,1"]
    for phase in ("both", "generated"):
        code = isogloss(
            [
                *("adapt", "steer", str(args.out / "lm")),
                *("--corpus", str(args.out / "manifest.jsonl")),
                *("--from", args.source, "--to", args.target),
                *("--phase", phase, "--seed", str(args.seed)),
                *("--out", str(args.out / phase)),
                *given,
                *swept,
            ]
        )
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
