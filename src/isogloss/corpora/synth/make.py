"""A corpus of synthetic speech on disk: sentences spoken by espeak-ng voices, with a manifest.

Training sentences of different varieties share no meaning, as in ASR-only data; dev and test
sentences are spoken in every variety. One utterance depends on the seed and its own id alone, so
the corpus is the same whatever the number of processes, and an interrupted run goes on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss._files import write_json
from isogloss.corpora.audio import write_wav
from isogloss.corpora.jsonl import read_corpus, write_corpus
from isogloss.corpora.script import normalise_script
from isogloss.corpora.synth.espeak import ESPEAK_VOICES, synthesise
from isogloss.corpora.synth.grammar import Sentence, generate
from isogloss.corpora.synth.room import add_noise, add_room
from isogloss.corpora.synth.sentences import survey_sentences
from isogloss.corpora.synth.voices import Speaker, prosody_of, rng_of, speakers
from isogloss.corpora.synth.word_lists import word_lists
from isogloss.errors import IsoglossError, MissingExtra, UnknownName
from isogloss.types import Corpus, FloatArray, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["SynthConfig", "make_corpus"]

SAMPLE_RATE_HZ = 16_000
_SOURCE = "espeak-ng voices reading sentences of isogloss.corpora.synth"
# Speech recognisers are trained at about this level; a random shift keeps loudness uninformative.
_LEVEL_DB, _LEVEL_SPREAD_DB = -26.0, 3.0
_CHUNK = 64


@dataclasses.dataclass(frozen=True, slots=True)
class SynthConfig:
    """What to synthesise.

    `train_sentences` is the number for each variety; `dev_sentences` and `test_sentences` are
    spoken in every variety. The test list starts with the 50 survey sentences. `transcripts` says
    which of the two transcripts the manifest keeps: the standard wording (`Item.translation`), the
    variety's own characters (`Item.transcript`), or both. `augment` is the share of training
    utterances put in a room and in noise; `word_lists` the share of them that are lists of
    unrelated words, the rest being sentences.
    """

    varieties: tuple[str, ...] = ("cmn", "yue", "hak")
    train_sentences: int = 2000
    dev_sentences: int = 30
    test_sentences: int = 100
    transcripts: Literal["standard", "dialect", "both"] = "both"
    augment: float = 0.0
    word_lists: float = 0.3
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.varieties:
            raise ValueError("varieties is empty; name at least one of cmn, yue, hak, nan")
        for code in self.varieties:
            if code not in ESPEAK_VOICES:
                raise UnknownName("synthetic variety", code, ESPEAK_VOICES)
        if len(set(self.varieties)) < len(self.varieties):
            raise ValueError(f"varieties repeat: {', '.join(self.varieties)}")
        for name in ("train_sentences", "dev_sentences", "test_sentences"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("augment", "word_lists"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name)}")
        if self.transcripts not in ("standard", "dialect", "both"):
            raise ValueError(f"transcripts '{self.transcripts}' is not standard, dialect or both")


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    """One utterance to be made: everything its samples depend on."""

    id: str
    romanisation: str
    variety: str
    speaker: Speaker
    path: str
    augment: float
    seed: int


def make_corpus(
    config: SynthConfig, folder: str | Path, *, jobs: int = 1, progress: bool = True
) -> Corpus:
    """Speak the sentences of `config` into `folder` and return the corpus of its manifest.

    Writes `manifest.jsonl`, `synth.json` (the configuration) and `audio/<split>/<variety>/*.wav`
    (16 kHz, 16 bit). An interrupted run is continued: recordings that exist are kept.

    Args:
        config: what to synthesise.
        folder: created when absent.
        jobs: processes; the result does not depend on it.
        progress: show a bar on stderr.

    Raises:
        IsoglossError: `folder` holds a corpus made with another configuration.
        ValueError: the grammar has fewer distinct sentences than asked for.
        MissingExtra: a library of the extra `speech` is not installed.
    """
    folder = Path(folder).resolve()
    planned = list(_planned(config, folder))
    _claim(folder, config, planned)
    complete = _complete(folder)
    if complete is not None:
        return complete
    phones = _speak([job for _, job in planned], jobs=jobs, progress=progress)
    items = [dataclasses.replace(item, phones=" ".join(phones[job.id])) for item, job in planned]
    corpus = Corpus("synth", tuple(items), "CC0-1.0", _SOURCE, None, str(folder))
    return write_corpus(corpus, folder / "manifest.jsonl")


def _claim(folder: Path, config: SynthConfig, planned: Sequence[tuple[Item, _Job]]) -> None:
    stamp = folder / "synth.json"
    wanted = json.loads(json.dumps(dataclasses.asdict(config)))
    # Recordings are kept by name, so a changed lexicon must not find those of the old one.
    said = "\n".join(f"{job.id} {job.romanisation} {job.speaker}" for _, job in planned)
    wanted["sentences"] = hashlib.sha256(said.encode()).hexdigest()
    if stamp.exists():
        found = json.loads(stamp.read_text(encoding="utf-8"))
        different = [key for key in wanted if found.get(key) != wanted[key]]
        if different:
            raise IsoglossError(
                f"{folder} holds a corpus made with another {', '.join(different)}; "
                "choose another folder or remove this one"
            )
    write_json(stamp, wanted)


def _complete(folder: Path) -> Corpus | None:
    """The corpus that is there, whole: the manifest is written last."""
    manifest = folder / "manifest.jsonl"
    if not manifest.exists():
        return None
    corpus = read_corpus(manifest)
    return corpus if all(Path(item.audio or "").exists() for item in corpus.items) else None


def _planned(config: SynthConfig, folder: Path) -> Iterator[tuple[Item, _Job]]:
    for split, sentences in _sentences(config).items():
        voices = speakers(split)
        for number, (sentence, varieties) in enumerate(sentences):
            for variety in varieties:
                # Two varieties of one sentence never share a voice: a match cannot ride on it.
                shift = config.varieties.index(variety) * max(1, len(voices) // 4)
                draw = rng_of(config.seed, f"speaker {number}").integers(len(voices))
                speaker = voices[(int(draw) + shift) % len(voices)]
                yield _utterance(config, folder, split, number, sentence, variety, speaker)


def _sentences(config: SynthConfig) -> dict[str, list[tuple[Sentence, tuple[str, ...]]]]:
    survey = survey_sentences()[: config.test_sentences]
    used = {sentence.meaning for sentence in survey_sentences()}
    total = config.train_sentences * len(config.varieties)
    lists = round(config.word_lists * total)
    wanted = config.test_sentences - len(survey) + config.dev_sentences + total - lists
    made = generate(wanted, seed=config.seed, varieties=config.varieties, exclude=used)
    rest = iter(made)
    test = [*survey, *(next(rest) for _ in range(config.test_sentences - len(survey)))]
    dev = [next(rest) for _ in range(config.dev_sentences)]
    spoken = [*rest, *word_lists(lists, seed=config.seed, varieties=config.varieties)]
    train: list[tuple[Sentence, tuple[str, ...]]] = [
        (sentence, (config.varieties[number % len(config.varieties)],))
        for number, sentence in enumerate(spoken)
    ]
    return {
        "train": train,
        "dev": [(sentence, config.varieties) for sentence in dev],
        "test": [(sentence, config.varieties) for sentence in test],
    }


def _utterance(
    config: SynthConfig,
    folder: Path,
    split: str,
    number: int,
    sentence: Sentence,
    variety: str,
    speaker: Speaker,
) -> tuple[Item, _Job]:
    name = f"{split}-{number:05d}-{variety}"
    path = folder / "audio" / split / variety / f"{name}.wav"
    extra = {
        "template": sentence.template,
        "romanisation": sentence.romanisation(variety),
        "cognate_share": f"{sentence.cognate_share(variety):.3f}",
    }
    if variety == "nan":
        extra["voice"] = "approximate: Hokkien read by the Hakka voice"
    keep = config.transcripts
    own = normalise_script(sentence.characters(variety), "Hans")
    item = Item(
        id=name,
        variety=variety,
        meaning=sentence.meaning,
        audio=str(path),
        transcript=own if keep != "standard" else None,
        translation=normalise_script(sentence.standard, "Hans") if keep != "dialect" else None,
        speaker=speaker.name,
        split=split,
        words=tuple(normalise_script(w.characters, "Hans") for w in sentence.forms[variety]),
        extra=extra,
    )
    augment = config.augment if split == "train" else 0.0
    romanisation = sentence.romanisation(variety)
    return item, _Job(name, romanisation, variety, speaker, str(path), augment, config.seed)


def _speak(jobs_to_do: Sequence[_Job], *, jobs: int, progress: bool) -> dict[str, tuple[str, ...]]:
    chunks = [jobs_to_do[at : at + _CHUNK] for at in range(0, len(jobs_to_do), _CHUNK)]
    phones: dict[str, tuple[str, ...]] = {}
    if jobs <= 1:
        results: Iterable[dict[str, tuple[str, ...]]] = map(_speak_chunk, chunks)
        for result in _with_bar(results, len(chunks), progress):
            phones.update(result)
        return phones
    # spawn, not fork: the caller may hold threads (torch) that a forked child would deadlock on.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for result in _with_bar(pool.map(_speak_chunk, chunks), len(chunks), progress):
            phones.update(result)
    return phones


def _with_bar(
    results: Iterable[dict[str, tuple[str, ...]]], total: int, progress: bool
) -> Iterator[dict[str, tuple[str, ...]]]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(
        results, "Synthesising speech", total=total, console=console, disable=not progress
    )


def _speak_chunk(chunk: Sequence[_Job]) -> dict[str, tuple[str, ...]]:
    return {job.id: _speak_one(job) for job in chunk}


def _speak_one(job: _Job) -> tuple[str, ...]:
    rng = rng_of(job.seed, job.id)
    prosody = prosody_of(job.speaker, rng)
    speech = synthesise(
        job.romanisation,
        job.variety,
        variant=job.speaker.variant,
        words_per_minute=prosody.words_per_minute,
        pitch=prosody.pitch,
        pitch_range=prosody.pitch_range,
        seed=int(rng.integers(1 << 30)),
    )
    path = Path(job.path)
    if not path.exists():
        samples = _resampled(speech.samples, speech.sample_rate_hz)
        write_wav(path, _finished(samples, job.augment, rng), SAMPLE_RATE_HZ)
    return speech.phones


def _resampled(samples: FloatArray, from_hz: int) -> FloatArray:
    try:
        import soxr
    except ImportError as error:
        raise MissingExtra("speech", "soxr") from error
    return np.asarray(soxr.resample(samples, from_hz, SAMPLE_RATE_HZ), dtype=np.float32)


def _finished(samples: FloatArray, augment: float, rng: np.random.Generator) -> FloatArray:
    """`samples` perhaps in a room and in noise, at a drawn level, never clipped."""
    if rng.uniform() < augment:
        samples = add_room(
            samples, SAMPLE_RATE_HZ, rt60_seconds=float(rng.uniform(0.1, 0.6)), rng=rng
        )
        samples = add_noise(samples, snr_db=float(rng.uniform(5.0, 25.0)), rng=rng)
    rms = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    level = _LEVEL_DB + float(rng.uniform(-_LEVEL_SPREAD_DB, _LEVEL_SPREAD_DB))
    gain = 10 ** (level / 20) / rms if rms > 0 else 1.0
    peak = float(np.abs(samples).max(initial=0.0)) * gain
    return (samples * (gain * min(1.0, 0.95 / peak) if peak > 0 else gain)).astype(np.float32)
