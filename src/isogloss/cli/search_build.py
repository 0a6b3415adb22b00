"""`isogloss search build`: recordings or texts, or steps that are there, into an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.search_options import (
    add_encoder_options,
    add_index_verb,
    add_json_option,
    index_place,
    talk_of_skipped,
)
from isogloss.cli.tables import print_json, print_table
from isogloss.cli.text_options import items_for
from isogloss.cli.verbs import WrongUsageError, at_least

if TYPE_CHECKING:
    import argparse

    from isogloss.search.from_recordings import Indexed
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.vector_settings import VectorSettings

__all__ = ["add_build", "print_indexed"]

_EXAMPLE = """\
  isogloss search build manifest.jsonl --encoder own:runs/a --out index
  isogloss search build manifest.jsonl --encoder own:runs/a --out small --residuals none
  isogloss search build manifest.jsonl --encoder mel: --out means --pooled
  isogloss search build sentences.jsonl --encoder hf:xlm-roberta-base --layer 8 --out index
  isogloss search build steps --manifest manifest.jsonl --out index    (of speech encode)
  isogloss search build manifest.jsonl --encoder own:runs/a --out postgresql://host/base#tales

Repeat the command after an interruption: what was encoded is kept in INDEX.building, and INDEX
itself appears when it is whole.

exit code: 1 when items were left out"""


def add_build(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `search build`."""
    parser = add_index_verb(
        verbs,
        "build",
        _build,
        "make an index of recordings or texts, or of their steps",
        _EXAMPLE,
        index=False,
    )
    parser.add_argument(
        "source",
        type=Path,
        help="manifest.jsonl or its folder, or a folder that `isogloss speech encode` wrote",
    )
    parser.add_argument(
        "--out",
        type=index_place,
        required=True,
        help="folder of the new index, or postgresql://... for one on a server (extra engine)",
    )
    parser.add_argument(
        "--engine",
        action="store_true",
        help="keep the index in a PostgreSQL of its own in the folder --out (extra engine)",
    )
    add_encoder_options(parser)
    parser.add_argument("--split", help="of the manifest; default all")
    parser.add_argument(
        "--manifest", type=Path, help="the items of an encoded folder, which holds ids alone"
    )
    parser.add_argument(
        "--pooled", action="store_true", help="one mean vector an item: small, and finds less"
    )
    parser.add_argument(
        "--units", type=at_least(1), help="256 to 16384; default by the number of steps"
    )
    parser.add_argument(
        "--residuals",
        choices=("int8", "float16", "none"),
        help="what is kept of a step beside its unit; default int8",
    )
    parser.add_argument(
        "--config", type=Path, metavar="TOML", help="any field of the settings of the index"
    )
    parser.add_argument("--cache", type=Path, help="folder in which every recording is kept")
    parser.add_argument(
        "--ray-workers",
        type=at_least(0),
        default=0,
        help="encode and index with that many Ray workers (extra ray)",
    )
    parser.add_argument("--ray-address", help="of a running cluster, such as auto; default none")
    add_json_option(parser)


def _build(args: argparse.Namespace) -> int:
    settings = _settings(args)
    if args.ray_address and not args.ray_workers:
        raise WrongUsageError("--ray-address needs --ray-workers")
    if args.pooled and _in_engine(args):
        raise WrongUsageError("an engine index holds steps and their means; leave --pooled out")
    if not args.source.exists():
        raise FileNotFoundError(
            f"{args.source}: no such file or folder; give a manifest, its folder, or a folder of "
            "isogloss speech encode"
        )
    if (args.source / "sequences.json").is_file():
        done = _of_steps(args, settings)
    else:
        done = _of_recordings(args, settings)
    print_indexed(done, as_json=args.json)
    return 1 if done.skipped else 0


def _in_engine(args: argparse.Namespace) -> bool:
    from isogloss.search.engine_place import is_engine_place

    return bool(args.engine) or is_engine_place(args.out)


def print_indexed(done: Indexed, *, as_json: bool) -> None:
    """Print what was put into an index, and name what was left out."""
    summary: dict[str, object] = {
        "index": str(done.folder),
        "items": done.items,
        "steps": done.steps,
        "made_by": done.made_by,
    }
    if as_json:
        print_json({**summary, "skipped": dict(done.skipped)})
    else:
        print_table(["figure", "value"], [*map(list, summary.items())])
    talk_of_skipped(done.skipped)


def _of_recordings(
    args: argparse.Namespace, settings: IndexSettings | VectorSettings | None
) -> Indexed:
    from isogloss.search.from_recordings import index_recordings

    if args.encoder is None:
        raise WrongUsageError(
            f"{args.source} holds items: name what hears or reads them, --encoder"
        )
    if args.manifest is not None:
        raise WrongUsageError("--manifest is for a folder of steps; these are recordings")
    if _in_engine(args):
        from isogloss.search.engine_recordings import engine_from_recordings

        return engine_from_recordings(
            args.out,
            items_for(args.encoder, args.source, args.split),
            args.encoder,
            layer=args.layer,
            device=args.device,
            cache_dir=args.cache,
            ray_workers=args.ray_workers,
            ray_address=args.ray_address,
            settings=_of_steps_settings(settings),
        )
    return index_recordings(
        args.out,
        items_for(args.encoder, args.source, args.split),
        args.encoder,
        layer=args.layer,
        device=args.device,
        cache_dir=args.cache,
        ray_workers=args.ray_workers,
        ray_address=args.ray_address,
        settings=settings,
        pooled=args.pooled,
    )


def _of_steps(args: argparse.Namespace, settings: IndexSettings | VectorSettings | None) -> Indexed:
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.encoders.shards import read_folder
    from isogloss.search.from_recordings import index_steps

    if args.manifest is None:
        raise WrongUsageError(
            f"{args.source} holds steps and ids; name the manifest that they were encoded from: "
            "--manifest"
        )
    for option in ("split", "cache", "ray_workers"):
        if getattr(args, option):
            raise WrongUsageError(
                f"--{option.replace('_', '-')} is for recordings; {args.source} holds steps"
            )
    if _in_engine(args):
        from isogloss.search.engine_recordings import engine_from_steps

        return engine_from_steps(
            args.out,
            read_folder(args.source),
            read_corpus(args.manifest).items,
            encoder=args.encoder,
            layer=args.layer,
            settings=_of_steps_settings(settings),
        )
    return index_steps(
        args.out,
        read_folder(args.source),
        read_corpus(args.manifest).items,
        encoder=args.encoder,
        layer=args.layer,
        settings=settings,
        pooled=args.pooled,
    )


def _of_steps_settings(settings: IndexSettings | VectorSettings | None) -> IndexSettings | None:
    from isogloss.search.index_settings import IndexSettings

    return settings if isinstance(settings, IndexSettings) else None


def _settings(args: argparse.Namespace) -> IndexSettings | VectorSettings | None:
    """Settings of the file, with the options put over them; None when nothing was said.

    Raises:
        WrongUsageError: they make no sense.
    """
    import tomllib

    from isogloss._config import config_from_mapping
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.vector_settings import VectorSettings

    values: dict[str, Any] = {}
    if args.config is not None:
        try:
            values |= tomllib.loads(args.config.read_text("utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise WrongUsageError(f"{args.config}: not TOML: {error}") from error
        except OSError as error:
            raise WrongUsageError(f"--config {args.config}: {error.strerror}") from error
    for name in ("units", "residuals"):
        if getattr(args, name) is not None:
            if args.pooled:
                raise WrongUsageError(f"--{name} is for steps; --pooled keeps none")
            values[name] = getattr(args, name)
    wanted: type[IndexSettings | VectorSettings] = VectorSettings if args.pooled else IndexSettings
    try:
        return config_from_mapping(wanted, values) if values else None
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
