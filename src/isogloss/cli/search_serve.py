"""`isogloss search serve`: an index behind HTTP, with a web page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.search_options import add_encoder_options, add_index_verb
from isogloss.cli.tables import print_json, talk
from isogloss.cli.verbs import WrongUsageError, at_least

if TYPE_CHECKING:
    from isogloss.search.server.settings import ServeSettings

__all__ = ["add_serve"]

_MIB = 1024 * 1024
_TOKEN = "ISOGLOSS_TOKEN"


def add_serve(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `search serve`."""
    parser = add_index_verb(
        verbs,
        "serve",
        _serve,
        "serve an index over HTTP, with a web page",
        "  isogloss search serve index --encoder own:runs/a\n"
        "  isogloss search serve index --open\n"
        "  isogloss search serve index --host 0.0.0.0 --token-file token --audio-root corpus\n"
        "  curl -F file=@question.wav -F k=5 http://127.0.0.1:8000/v1/search\n\n"
        "SIGTERM and Ctrl-C finish running requests; SIGHUP opens a new commit of the index at\n"
        "once (it is looked for every --reload seconds besides).",
    )
    add_encoder_options(parser)
    parser.add_argument(
        "--threads", type=at_least(1), help="of the encoder; default half the cores"
    )
    place = parser.add_argument_group("where")
    place.add_argument(
        "--host", default="127.0.0.1", help="default 127.0.0.1, reached from this machine alone"
    )
    place.add_argument("--port", type=_port, default=8000, help="default 8000; 0 takes a free one")
    place.add_argument("--open", action="store_true", help="open the page in a browser")
    place.add_argument("--json", action="store_true", help="print the address as JSON when ready")
    who = parser.add_argument_group("who may ask what")
    who.add_argument(
        "--token-file", type=Path, help=f"file with the bearer token; ${_TOKEN} does it as well"
    )
    who.add_argument(
        "--audio-root",
        type=Path,
        action="append",
        default=[],
        help="serve items' recordings from this folder alone; can be given several times",
    )
    who.add_argument("--no-audio", action="store_true", help="serve no recordings of items")
    who.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="web origin whose pages may call (CORS), such as https://example.org; default none",
    )
    limits = parser.add_argument_group("limits")
    for option, kind, default, meaning in (
        ("--max-upload-mb", _positive, 25, "largest recording"),
        ("--max-seconds", _positive, 60, "longest recording to search with"),
        ("--max-transcription-seconds", _positive, 600, "longest recording to transcribe"),
        ("--max-concurrent", at_least(1), 32, "requests at work at a time"),
        ("--queue", at_least(0), 2000, "requests that may wait; more are refused with 503"),
        ("--timeout", _positive, 60, "seconds from the end of a request's body to its answer"),
        ("--body-timeout", _positive, 60, "seconds that a body may take to arrive"),
        ("--batch", at_least(1), 32, "requests encoded in one call"),
        ("--reload", _seconds, 2, "seconds between looks for a new commit; 0 never"),
        ("--drain", _seconds, 1, "seconds after SIGTERM in which connections are still taken"),
        ("--stop", _positive, 30, "seconds that running requests then have"),
    ):
        limits.add_argument(
            option, type=kind, default=default, metavar="N", help=f"{meaning}; default {default}"
        )


def _serve(args: argparse.Namespace) -> int:
    from isogloss.search.server.run import serve

    settings = _settings(args)
    if settings.token is None and args.host not in ("127.0.0.1", "::1", "localhost"):
        talk(f"listening at {args.host} without a token: whoever reaches it may ask")

    def listening(address: str) -> None:
        talk(f"{address}  (Ctrl-C stops)")
        if args.json:
            import sys

            print_json({"url": address})
            sys.stdout.flush()
        if args.open:
            import webbrowser

            webbrowser.open(address)

    serve(
        args.index,
        args.encoder,
        layer=args.layer,
        device=args.device,
        settings=settings,
        host=args.host,
        port=args.port,
        threads=args.threads,
        listening=listening,
    )
    return 0


def _settings(args: argparse.Namespace) -> ServeSettings:
    from isogloss.search.server.settings import ServeSettings

    if args.no_audio and args.audio_root:
        raise WrongUsageError("--no-audio and --audio-root contradict each other")
    missing = [root for root in args.audio_root if not root.is_dir()]
    if missing:
        raise WrongUsageError(f"--audio-root {missing[0]} is no folder")
    return ServeSettings(
        token=_token(args.token_file),
        max_upload_bytes=int(args.max_upload_mb * _MIB),
        max_seconds=args.max_seconds,
        max_transcription_seconds=args.max_transcription_seconds,
        max_concurrent=args.max_concurrent,
        queue=args.queue,
        timeout_seconds=args.timeout,
        body_seconds=args.body_timeout,
        batch_size=args.batch,
        audio_roots=tuple(args.audio_root),
        serve_audio=not args.no_audio,
        reload_seconds=args.reload,
        drain_seconds=args.drain,
        stop_seconds=args.stop,
        origins=tuple(args.allow_origin),
    )


def _token(file: Path | None) -> str | None:
    """The token of the file, else of the environment; never an argument, which others can see."""
    import os

    text = os.environ.get(_TOKEN) if file is None else file.read_text(encoding="utf-8")
    token = None if text is None else text.strip()
    if token == "":
        raise WrongUsageError(
            f"{file or '$' + _TOKEN} holds no token; make one: openssl rand -hex 32 > token"
        )
    return token


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"{value} is no port; 0 to 65535")
    return value


for _kind, _name in ((_positive, "number"), (_seconds, "number"), (_port, "port")):
    _kind.__name__ = _name  # argparse says "invalid number value"
