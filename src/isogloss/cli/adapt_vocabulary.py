"""`isogloss adapt vocabulary`: rebuild a model for another tokenizer, and see what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from isogloss.tasks.vocabulary_rebuild import VocabularyComparison

__all__ = ["add_vocabulary"]

# Training asks of each text which variety it is of; lines of a file do not say.
_ANY = "eng"
_INITS = ("random", "copy", "fvt", "clp", "clp-softmax", "sava", "sava-orthogonal", "unibridge")


def add_vocabulary(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `adapt vocabulary`."""
    parser = add_verb(
        verbs,
        "vocabulary",
        _vocabulary,
        "rebuild a model for another tokenizer, and compare ways to guess its embeddings",
        "  isogloss adapt vocabulary models/lm --tokenizer models/new --init fvt --out rebuilt\n"
        "  isogloss adapt vocabulary models/lm --train-tokenizer 4000 --texts train.txt \\\n"
        "      --judge test.txt --init all --steps 100\n"
        "  isogloss adapt vocabulary models/lm --train-tokenizer auto --texts train.txt\n"
        "  isogloss adapt vocabulary models/lm --extend words.txt --texts train.txt --out larger\n"
        "\n"
        "--init NAME,NAME compares; with one and --out the rebuilt model is written, which\n"
        "hf:FOLDER loads. --judge and --steps need a causal language model. Text files: a text a\n"
        "line, UTF-8; or a manifest.jsonl.",
    )
    parser.add_argument("model", help="folder or name of a model of transformers")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tokenizer", help="the new one: a folder, a name or tokenizer.json")
    source.add_argument(
        "--train-tokenizer",
        metavar="SIZE|auto",
        help="train one on --texts; auto grows it until ALP changes little, and prints the curve",
    )
    source.add_argument(
        "--extend", type=Path, metavar="FILE", help="add the tokens of FILE, one a line, instead"
    )
    parser.add_argument(
        "--init", default="fvt", metavar="NAME,NAME", help=f"all, or of {', '.join(_INITS)}"
    )
    parser.add_argument("--helper", help="a model trained with the new tokenizer: clp, sava")
    parser.add_argument("--texts", type=Path, help="to train on and learn from")
    parser.add_argument("--judge", type=Path, help="held-out texts: bits per character on them")
    parser.add_argument("--variety", help="of the items of a manifest; default all")
    _add_size_options(parser)
    parser.add_argument(
        "--steps", type=at_least(1), help="train every rebuilt model so many steps on --texts"
    )
    parser.add_argument("--batch", type=at_least(1), default=24, help="of --steps; default 24")
    parser.add_argument(
        "--threads", type=at_least(1), help="CPU threads of --steps; default one a core"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn; default 0")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the rebuilt model")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_size_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind", choices=("bpe", "unigram"), default="bpe", help="of --train-tokenizer"
    )
    parser.add_argument(
        "--grow", type=at_least(1), default=1000, help="of auto: size of a step; default 1000"
    )
    parser.add_argument(
        "--most", type=at_least(300), default=100_000, help="of auto: largest; default 100000"
    )
    parser.add_argument(
        "--stop",
        default="1%",
        metavar="NATS|SHARE%%",
        help="of auto: stop when a step changes ALP by less: 5 nats a line, or 1%% of it; "
        "default 1%%",
    )


def _vocabulary(args: argparse.Namespace) -> int:
    inits = _INITS if args.init == "all" else tuple(args.init.split(","))
    _refuse_idle_options(args, inits)
    from isogloss.llm.hf_files import load_model, load_tokenizer

    texts = None if args.texts is None else _texts(args.texts, args.variety)
    if args.extend is not None:
        return _extend(args, texts or [])
    tokenizer, curve = _tokenizer(args, texts)
    told: dict[str, Any] = {}
    if curve:
        told["curve"] = curve
        talk_curve = [[row["size"], row["alp"], row["change"], row["fertility"]] for row in curve]
        if not args.json:
            print_table(["tokens", "ALP", "change", "tokens/word"], talk_curve, title="ALP curve")
        if args.judge is None and args.out is None:
            if args.json:
                print_json(told)
            return 0
    helper = None if args.helper is None else load_model(args.helper, device=args.device)
    if args.judge is None:
        from isogloss.adapt.vocabulary import rebuild
        from isogloss.llm.hf_files import save_model

        made = rebuild(
            load_model(args.model, device=args.device),
            load_tokenizer(args.model),
            tokenizer,
            init=inits[0],
            helper=helper,
            texts=texts,
            seed=args.seed,
        )
        save_model(made.model, made.tokenizer, args.out)
        told |= {
            "out": str(args.out),
            "init": made.init,
            "tokens": len(made.tokenizer),
            "shared": made.shared,
            **made.counts,
        }
        if args.json:
            print_json(told)
        else:
            rows = [[name, str(value)] for name, value in told.items() if name != "curve"]
            print_table(["figure", "value"], rows)
        return 0
    return _compare(args, inits, tokenizer, texts, helper, told)


def _compare(
    args: argparse.Namespace,
    inits: tuple[str, ...],
    tokenizer: Any,
    texts: list[str] | None,
    helper: Any,
    told: dict[str, Any],
) -> int:
    from isogloss.llm.hf_causal import load_causal
    from isogloss.llm.hf_files import save_model
    from isogloss.tasks.vocabulary_rebuild import compare_inits

    result = compare_inits(
        load_causal(args.model, device=args.device),
        tokenizer,
        inits,
        _texts(args.judge, args.variety),
        texts=texts,
        helper=helper,
        train=None if args.steps is None else _training(args),
        keep=None
        if args.out is None
        else lambda made: save_model(made.model, made.tokenizer, args.out),
        seed=args.seed,
        progress=True,
    )
    for init, why in result.left_out.items():
        talk(f"left out: {init} {why}")
    if args.json:
        import dataclasses

        print_json({**told, **dataclasses.asdict(result)})
    else:
        _print(result)
    return 1 if result.left_out else 0


def _extend(args: argparse.Namespace, texts: list[str]) -> int:
    from isogloss.adapt.vocabulary import extend
    from isogloss.llm.hf_files import load_model, load_tokenizer, save_model

    tokens = [line for line in _texts(args.extend, None) if line]
    made = extend(
        load_model(args.model, device=args.device), load_tokenizer(args.model), tokens, texts
    )
    save_model(made.model, made.tokenizer, args.out)
    told = {"out": str(args.out), "added": len(tokens), "tokens": len(made.tokenizer)}
    if args.json:
        print_json(told)
    else:
        print_table(["figure", "value"], [[name, str(value)] for name, value in told.items()])
    return 0


def _refuse_idle_options(args: argparse.Namespace, inits: tuple[str, ...]) -> None:
    for init in inits:
        if init not in _INITS:
            raise WrongUsageError(f"--init {init}: known are all, {', '.join(_INITS)}")
    auto = args.train_tokenizer == "auto"
    if not auto and (args.grow, args.most, args.stop) != (1000, 100_000, "1%"):
        raise WrongUsageError("--grow, --most and --stop belong to --train-tokenizer auto")
    if args.train_tokenizer is None and args.kind != "bpe":
        raise WrongUsageError("--kind belongs to --train-tokenizer")
    if (args.train_tokenizer or args.extend or args.steps) and args.texts is None:
        raise WrongUsageError("--train-tokenizer, --extend and --steps need --texts")
    if args.steps is None and (args.threads or args.batch != 24):
        raise WrongUsageError("--threads and --batch belong to --steps")
    if args.steps and args.judge is None:
        raise WrongUsageError("--steps is judged by --judge; name held-out texts")
    if args.out is None and args.judge is None and not auto:
        raise WrongUsageError("name --out for the rebuilt model, or --judge to compare")
    if args.out is not None and len(inits) > 1:
        raise WrongUsageError("--out takes one model; name one --init")
    if args.extend and (args.init != "fvt" or args.helper or args.judge or args.out is None):
        raise WrongUsageError("--extend takes --texts and --out; new tokens are means of pieces")


def _tokenizer(
    args: argparse.Namespace, texts: list[str] | None
) -> tuple[Any, list[dict[str, Any]]]:
    """The new tokenizer, and the curve that led to its size."""
    import dataclasses
    import functools

    from isogloss.adapt.fertility import choose_size
    from isogloss.llm.hf_files import load_tokenizer
    from isogloss.llm.new_tokenizer import train_tokenizer

    if args.tokenizer is not None:
        return load_tokenizer(args.tokenizer), []
    train = functools.partial(train_tokenizer, kind=args.kind)
    known = texts or []
    if args.train_tokenizer != "auto":
        if not args.train_tokenizer.isdecimal():
            raise WrongUsageError(f"--train-tokenizer {args.train_tokenizer}: a size, or auto")
        return train(known, int(args.train_tokenizer)), []
    relative = args.stop.endswith("%")
    try:
        stop = float(args.stop.removesuffix("%")) / (100 if relative else 1)
    except ValueError as error:
        raise WrongUsageError(
            f"--stop {args.stop}: nats such as 5, or a share such as 1%"
        ) from error
    size, curve = choose_size(
        known,
        train,
        start=args.grow,
        step=args.grow,
        most=args.most,
        stop=stop,
        relative=relative,
    )
    return train(known, size), [dataclasses.asdict(step) for step in curve]


def _texts(path: Path, variety: str | None) -> list[str]:
    """The lines of a text file, empty ones left out with a word, or the texts of a manifest."""
    if path.suffix == ".jsonl" or path.is_dir():
        from isogloss.corpora.jsonl import read_corpus

        items = read_corpus(path).items
        texts = [i.text or "" for i in items if variety in (None, i.variety)]
    else:
        if variety is not None:
            raise WrongUsageError(f"--variety chooses items of a manifest; {path} has lines")
        try:
            # Some texts hold characters that Python takes for ends of lines.
            texts = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8: {error}") from error
    kept = [text for text in texts if text.strip()]
    if len(kept) < len(texts):
        talk(f"{path}: {len(texts) - len(kept)} empty texts were left out")
    if not kept:
        raise ValueError(f"{path} holds no text" + (f" of '{variety}'" if variety else ""))
    return kept


def _training(args: argparse.Namespace) -> Callable[[Path, Path], Path]:
    """(folder of a model, folder to work in) to the folder of the model trained on --texts."""
    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_loop import train_text
    from isogloss.types import Corpus, Item

    texts = _texts(args.texts, args.variety)
    items = tuple(Item(f"{i:07d}", args.variety or _ANY, text=text) for i, text in enumerate(texts))

    def train(start: Path, folder: Path) -> Path:
        config = TextTrainConfig(
            start=str(start),
            objectives=("lm",),
            max_steps=args.steps,
            batch=args.batch,
            seed=args.seed,
            threads=args.threads,
            control=False,
            device="cuda" if args.device.startswith("cuda") else "cpu",
        )
        return Path(
            train_text(config, corpus=Corpus("texts", items), folder=folder, quiet=True).folder
        )

    return train


def _print(result: VocabularyComparison) -> None:
    rows: list[list[object]] = [
        ["(old vocabulary)", _three(result.before), _three(result.trained_before), "", None]
    ]
    for row in result.rows:
        ways = ", ".join(f"{count} {way}" for way, count in row.counts.items())
        rows.append([row.init, _three(row.bits), _three(row.trained_bits), ways, row.seconds])
    print_table(
        ["init", "bits/char", "after training", "tokens by", "seconds"],
        rows,
        title=f"{result.texts} texts",
    )
    old, new = result.fertility_before, result.fertility_after
    print_table(
        ["tokenizer", "tokens", "tokens/word", "whole words %", "unknown %"],
        [
            [name, size, f.tokens_per_word, 100 * f.whole_words, 100 * f.unknown]
            for name, size, f in zip(("old", "new"), result.sizes, (old, new), strict=True)
        ],
        title=f"{result.shared} tokens are in both",
    )


def _three(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
