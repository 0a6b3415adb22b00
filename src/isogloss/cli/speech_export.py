"""`isogloss speech export`: a trained model as files that run without Isogloss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.speech_options import folder_of
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb

if TYPE_CHECKING:
    import argparse

__all__ = ["add_export"]


def add_export(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `speech export`."""
    parser = add_verb(
        verbs,
        "export",
        _export,
        "a trained model as ONNX for sherpa-onnx and onnxruntime, or as TorchScript",
        "  isogloss speech export runs/a --out exported\n"
        "  isogloss speech export runs/a --what ctc --quantize none --out exported\n"
        "  isogloss speech export runs/a --format torchscript --out exported\n\n"
        "every file is run and compared with the model before it is kept; exit code: 1 when an\n"
        "fp32 value lies further than 0.001 from the model's, and then nothing is written",
    )
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="write there")
    parser.add_argument(
        "--format",
        choices=("onnx", "torchscript"),
        default="onnx",
        help="default onnx",
    )
    parser.add_argument(
        "--quantize",
        choices=("int8", "none"),
        help="int8 writes a smaller file beside each; default int8 for onnx, none for torchscript",
    )
    parser.add_argument(
        "--what",
        choices=("ctc", "encoder", "both"),
        default="both",
        help="log-probabilities of units, steps below the output, or a file of each; default both",
    )
    parser.add_argument(
        "--head",
        choices=("standard", "dialect"),
        default="standard",
        help="output of a model trained with --transcripts both; default standard",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _export(args: argparse.Namespace) -> int:
    if args.format == "torchscript" and args.quantize == "int8":
        raise WrongUsageError("--quantize int8 is made for --format onnx only")
    from isogloss.speech.checkpoint import load_model
    from isogloss.speech.export import export_model

    made = export_model(
        load_model(Path(folder_of(args.model))),
        args.out,
        format=args.format,
        parts=("ctc", "encoder") if args.what == "both" else (args.what,),
        int8=args.format == "onnx" and args.quantize != "none",
        head=args.head,
    )
    if args.json:
        print_json(
            [
                {
                    "file": str(one.path),
                    "what": one.part,
                    "precision": one.precision,
                    "megabytes": round(one.megabytes, 3),
                    "largest_difference": one.difference,
                }
                for one in made
            ]
        )
        return 0
    print_table(
        ["file", "what", "precision", "MB", "largest difference"],
        [
            [
                str(one.path),
                one.part,
                one.precision,
                f"{one.megabytes:.1f}",
                f"{one.difference:.1e}",
            ]
            for one in made
        ],
    )
    talk(f"{args.out / 'tokens.txt'} goes with them; export.json says what each file is")
    return 0
