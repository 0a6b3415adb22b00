"""`isogloss adapt steer`: lead a language model's output to another variety, and judge it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.adapt_options import comma_numbers
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse

    from isogloss.tasks.steering import Prompt, SteeringResult, SteeringRow
    from isogloss.types import Corpus

__all__ = ["add_steer"]

_METHODS = ("mean-shift", "lda", "shifcon", "experts")


def add_steer(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `adapt steer`."""
    parser = add_verb(
        verbs,
        "steer",
        _steer,
        "lead a language model's output to another variety by interventions, and judge it",
        "  isogloss adapt steer models/lm --corpus manifest.jsonl --from eng --to deu \\\n"
        "      --layer 1 --strength 0.5 --out steered\n"
        "  isogloss adapt steer models/lm --corpus manifest.jsonl --from eng --to deu \\\n"
        "      --method all --layer 1,2,3 --strength 0.25,0.5,1 --out steered\n"
        "  isogloss adapt steer models/lm --corpus manifest.jsonl --from eng --to deu \\\n"
        "      --prompts prompts.txt\n\n"
        "Fitted on split train, prompts from split test, the classifier of varieties judged on\n"
        "split dev. Mean shift, the baseline, is always shown. --out gets results.json,\n"
        "outputs.tsv and steering.png. prompts.txt: a prompt a line, and behind a tab, where\n"
        "there is one, what the output should mean in the target variety.",
    )
    parser.add_argument("model", help="folder or name of a causal language model")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="manifest.jsonl of texts of the varieties"
    )
    parser.add_argument("--from", dest="source", required=True, metavar="CODE", help="of prompts")
    parser.add_argument("--to", dest="target", required=True, metavar="CODE", help="of outputs")
    parser.add_argument(
        "--method",
        default="mean-shift",
        metavar="NAME,NAME",
        help=f"all, or of {', '.join(_METHODS)}; default mean-shift",
    )
    parser.add_argument(
        "--layer",
        type=comma_numbers,
        default=(1,),
        metavar="N,N",
        help="0 the embedding, i block i; several are swept; default 1",
    )
    parser.add_argument(
        "--strength",
        type=_numbers,
        default=(0.25, 0.5, 1.0),
        metavar="S,S",
        help="several are swept; default 0.25,0.5,1",
    )
    parser.add_argument(
        "--units",
        choices=("states", "shift"),
        default="states",
        help="a strength of 1 is as long as the state it is added to, or as the fitted shift; "
        "default states. Experts are moved by the share --strength to their value in both",
    )
    parser.add_argument(
        "--phase",
        choices=("prompt", "generated", "both"),
        default="both",
        help="which tokens are changed; default both",
    )
    _add_method_options(parser)
    _add_text_options(parser)
    parser.add_argument("--out", type=Path, help="folder for results, outputs and picture")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_method_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pivot", metavar="CODE", help="of shifcon; default that of --from")
    parser.add_argument(
        "--back-layer",
        type=at_least(1),
        help="of shifcon: where states go on to --to; default the last block",
    )
    parser.add_argument(
        "--experts", type=at_least(1), default=100, help="how many units are set; default 100"
    )
    parser.add_argument(
        "--expert-value",
        choices=("median", "p90"),
        default="median",
        help="of their responses to --to, what they are set to; default median",
    )


def _add_text_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="instead of split test")
    parser.add_argument(
        "--count", type=at_least(1), default=100, help="prompts from the corpus; default 100"
    )
    parser.add_argument(
        "--prompt-words",
        type=at_least(0),
        default=5,
        help="first words of a text that make a prompt; 0 is the whole text; default 5",
    )
    parser.add_argument(
        "--longest", type=at_least(1), help="only texts of at most so many characters"
    )
    parser.add_argument(
        "--template", default="{}", help="how a prompt is written, such as '{} =>'; default {}"
    )
    parser.add_argument(
        "--fit-texts", type=at_least(2), default=300, help="of each variety; default 300"
    )
    parser.add_argument(
        "--new-tokens", type=at_least(1), default=24, help="most of an output; default 24"
    )
    parser.add_argument(
        "--least-tokens", type=at_least(0), default=4, help="fewest of an output; default 4"
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="default 0, greedy")
    parser.add_argument("--top-p", type=float, default=1.0, help="with a temperature; default 1")
    parser.add_argument(
        "--judge", metavar="ENCODER", help="an encoder that judges meaning too, such as hash:FOLDER"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice; default 0")
    parser.add_argument(
        "--examples", type=at_least(0), default=3, help="outputs to show a setting; default 3"
    )


def _numbers(text: str) -> tuple[float, ...]:
    """A type of argument: numbers with commas between them."""
    return tuple(float(piece) for piece in text.split(","))


def _steer(args: argparse.Namespace) -> int:
    methods = _METHODS if args.method == "all" else tuple(args.method.split(","))
    _refuse_idle_options(args, methods)
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.llm.hf_causal import load_causal
    from isogloss.tasks.steering import SteeringTask

    task = SteeringTask(
        source=args.source,
        target=args.target,
        methods=methods,
        layers=args.layer,
        strengths=args.strength,
        relative=args.units == "states",
        phase=args.phase,
        pivot=args.pivot,
        back_layer=args.back_layer,
        units=args.experts,
        value=args.expert_value,
        prompts=args.count,
        prompt_words=args.prompt_words,
        template=args.template,
        fit_texts=args.fit_texts,
        new_tokens=args.new_tokens,
        least_tokens=args.least_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        seed=args.seed,
        progress=True,
    )
    corpus = _of_length(read_corpus(args.corpus), args.longest)
    judge = None
    if args.judge is not None:
        from isogloss.encoders.registry import load_encoder

        judge = load_encoder(args.judge, device=args.device)
    result = task.run(
        corpus,
        load_causal(args.model, device=args.device),
        prompts=None
        if args.prompts is None
        else _prompts(args.prompts, args.template, corpus, args),
        encoder=judge,
    )
    if args.out is not None:
        _write(result, args.out)
    if args.json:
        print_json(_plain(result))
    else:
        _print(result, args)
    return 0


def _refuse_idle_options(args: argparse.Namespace, methods: tuple[str, ...]) -> None:
    if "shifcon" not in methods and (args.pivot or args.back_layer):
        raise WrongUsageError("--pivot and --back-layer belong to --method shifcon")
    if args.top_p < 1 and not args.temperature:
        raise WrongUsageError("--top-p needs a --temperature above 0")
    if args.prompts is not None and (args.count != 100 or args.prompt_words != 5):
        raise WrongUsageError("--count and --prompt-words make prompts; --prompts names them")
    for name in methods:
        if name not in _METHODS:
            raise WrongUsageError(f"--method {name}: known are all, {', '.join(_METHODS)}")


def _of_length(corpus: Corpus, longest: int | None) -> Corpus:
    if longest is None:
        return corpus
    items = tuple(item for item in corpus.items if len(item.text or "") <= longest)
    return dataclasses.replace(corpus, items=items)


def _prompts(
    path: Path, template: str, corpus: Corpus, args: argparse.Namespace
) -> tuple[Prompt, ...]:
    """A prompt a line, with its translation behind a tab or from the corpus."""
    from isogloss.tasks.steering import Prompt

    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error
    meanings = {i.text: i.meaning for i in corpus.items if i.variety == args.source and i.meaning}
    translated = {i.meaning: i.text for i in corpus.items if i.variety == args.target}
    found, empty = [], 0
    for line in lines[:-1] if not lines[-1] else lines:
        text, _, target = line.partition("\t")
        if not text.strip():
            empty += 1
            continue
        wanted = target.strip() or translated.get(meanings.get(text, ""))
        source = text if wanted else None
        found.append(Prompt(template.format(text), source, wanted or None))
    if empty:
        talk(f"{path}: {empty} empty lines were left out")
    if not found:
        raise ValueError(f"{path} holds no prompt")
    return tuple(found)


def _print(result: SteeringResult, args: argparse.Namespace) -> None:
    names = list(result.without.retrieval)
    print_table(
        ["method", "layer", "strength", f"in {args.target} %", "95 %", "bits/char", *names],
        [
            [
                row.method,
                row.layer,
                row.strength,
                100 * row.share,
                "-"
                if row.low is None or row.high is None
                else f"{100 * row.low:.0f} to {100 * row.high:.0f}",
                row.bits,
                *(row.retrieval[name] for name in names),
            ]
            for row in result.rows
        ],
        title=f"{len(result.prompts)} prompts in {args.source}",
    )
    talk(
        f"classifier of varieties: {100 * result.accuracy:.1f} % of {result.held_out} held-out "
        "texts named right"
    )
    if result.chance is not None:
        talk(
            f"R@1 of the output among {result.judged} texts: to target, their translations; to "
            f"source, themselves; chance {result.chance:.3f}"
        )
    for row in _shown(result):
        talk(
            f"\n{row.method}"
            + ("" if row.layer is None else f", layer {row.layer}")
            + ("" if row.method == "none" else f", strength {row.strength:g}")
        )
        for prompt, output in list(zip(result.prompts, row.outputs, strict=True))[: args.examples]:
            talk(f"  {prompt.text!r} -> {output!r}")


def _shown(result: SteeringResult) -> list[SteeringRow]:
    """The row without intervention, and of each method the one that keeps meaning best."""
    methods = dict.fromkeys(row.method for row in result.rows)
    return [row for row in map(result.best, methods) if row is not None]


def _plain(result: SteeringResult) -> dict[str, Any]:
    return {
        "rows": [
            {
                **{f.name: getattr(row, f.name) for f in dataclasses.fields(row)},
                "shares": {name or "no letters": v for name, v in row.shares.items()},
                "retrieval": dict(row.retrieval),
                "outputs": list(row.outputs),
            }
            for row in result.rows
        ],
        "prompts": [dataclasses.asdict(prompt) for prompt in result.prompts],
        "classifier": {"accuracy": result.accuracy, "held_out": result.held_out},
        "judged": result.judged,
        "chance": result.chance,
        "signature": dict(result.signature),
    }


def _write(result: SteeringResult, folder: Path) -> None:
    from isogloss._files import write_json, write_text
    from isogloss.bench.steering_picture import write_steering_png

    write_json(folder / "results.json", _plain(result))
    lines = ["method\tlayer\tstrength\tprompt\toutput\ttranslation"]
    for row in result.rows:
        for prompt, output in zip(result.prompts, row.outputs, strict=True):
            cells = (row.method, row.layer, row.strength, prompt.text, output, prompt.target)
            lines.append("\t".join("" if c is None else " ".join(str(c).split()) for c in cells))
    write_text(folder / "outputs.tsv", "\n".join(lines) + "\n")
    write_steering_png(result, folder / "steering.png")
