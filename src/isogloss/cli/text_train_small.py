"""`isogloss text train --kind hash|laser|pixel`: arguments to the options of a small encoder."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import varieties_table
from isogloss.cli.speech_options import settings_of
from isogloss.cli.verbs import WrongUsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_result import TextTrainResult

__all__ = ["SMALL", "train_small_kind"]

SMALL = ("hash", "laser", "pixel")
"""Kinds of encoder that are trained without transformers."""

# Arguments that are options of some of these kinds, and the options' names.
_OWN = {"layers": "layers", "width": "dimension", "heads": "heads", "vocabulary": "vocabulary"}
_LENGTHS = {"steps": "max_steps", "epochs": "epochs", "minutes": "minutes"}


def train_small_kind(
    args: argparse.Namespace,
    config_of: Callable[[argparse.Namespace], TextTrainConfig],
    views_of: Callable[[argparse.Namespace], Any],
) -> TextTrainResult:
    """Train the small encoder that `args` ask for.

    `--set` takes fields of the kind's own options beside those of `TextTrainConfig`.

    Raises:
        WrongUsageError: an option does not belong to the kind, or a value is wrong.
    """
    import dataclasses

    from isogloss.training.text_small import SMALL_KINDS, small_options, train_small

    kind = SMALL_KINDS[args.kind]
    known = {field.name for field in dataclasses.fields(kind.options)}
    ours = [text for text in args.set if text.partition("=")[0].strip() in known]
    values = settings_of(ours)
    for argument, option in _OWN.items():
        found = getattr(args, argument)
        if found is None:
            continue
        if option not in known:
            raise WrongUsageError(
                f"--{argument} has no effect on kind '{args.kind}', which takes --set with "
                + ", ".join(sorted(known))
            )
        values[option] = found
    others = argparse.Namespace(**vars(args))
    others.set = [text for text in args.set if text not in ours]
    named = {text.partition("=")[0].strip() for text in others.set}
    others.kind = others.layers = others.width = others.heads = others.vocabulary = None
    lengths_given = named & {*_LENGTHS.values()} or any(
        getattr(args, name) is not None for name in _LENGTHS
    )
    for key, value in kind.settings.items():
        if key == "max_steps":
            others.steps = args.steps if lengths_given else value
        elif key == "base_lr" and key not in named:
            others.lr = value if args.lr is None else args.lr
        elif key == "batch" and key not in named:
            others.batch = value if args.batch is None else args.batch
        elif key not in named and key not in ("base_lr", "batch"):
            others.set.append(f"{key}={value}")
    try:
        options = small_options(args.kind, values)
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    config = config_of(others)
    return train_small(
        args.kind,
        options,
        config,
        corpus=args.corpus,
        folder=args.out,
        views=views_of(args),
        table=varieties_table(args),
    )
