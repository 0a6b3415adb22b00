"""What is wrong with the recording of one item; a recording of any length in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss.corpora.audio import AudioInfo, BrokenAudio, audio_blocks, probe_audio
from isogloss.corpora.check_findings import CheckLimits, Finding, found

if TYPE_CHECKING:
    from isogloss.types import FloatArray, Item

__all__ = ["AudioCheck", "Probe", "SampleStatistics", "check_audio", "sample_statistics"]

Probe = Literal["full", "header"]

# 16-bit full scale is 32767 / 32768; a decoder may round it down once more.
_FULL_SCALE = 0.9999


@dataclass(frozen=True, slots=True)
class AudioCheck:
    """Findings on one recording, and its seconds when they could be told."""

    findings: tuple[Finding, ...]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class SampleStatistics:
    """Frames, largest magnitude, root mean square, share at full scale, NaN or infinite samples."""

    frames: int
    peak: float
    rms: float
    clipped_share: float
    not_finite: int


def sample_statistics(blocks: object) -> SampleStatistics:
    """Statistics over (S, C) blocks, one block in memory at a time; all 0 without samples."""
    frames = clipped = not_finite = samples = 0
    peak, energy = 0.0, 0.0
    block: FloatArray
    for block in blocks:  # type: ignore[attr-defined]
        frames += len(block)
        finite = np.isfinite(block)
        bad = int(block.size - np.count_nonzero(finite))
        if bad:
            not_finite += bad
            block = np.where(finite, block, np.float32(0))
        magnitude = np.abs(block)
        samples += block.size
        peak = max(peak, float(magnitude.max(initial=0.0)))
        clipped += int(np.count_nonzero(magnitude >= _FULL_SCALE))
        energy += float(np.square(block, dtype=np.float64).sum())
    if not samples:
        return SampleStatistics(0, 0.0, 0.0, 0.0, 0)
    return SampleStatistics(frames, peak, (energy / samples) ** 0.5, clipped / samples, not_finite)


def check_audio(
    item: Item, *, probe: Probe = "full", limits: CheckLimits | None = None
) -> AudioCheck:
    """Everything wrong with the recording of `item`; a broken file is a finding, no exception.

    Args:
        item: an item with `audio`; its `start_seconds` and `end_seconds` are respected.
        probe: "full" decodes every sample; "header" reads headers only, and so sees neither
            silence, clipping, NaN nor damage inside.
        limits: where lines are drawn.

    Raises:
        ValueError: the item has no audio.
        MissingExtra: a decoder is not installed.
    """
    if item.audio is None:
        raise ValueError(f"item '{item.id}' has no audio")
    limits = limits or CheckLimits()
    try:
        info = probe_audio(item.audio)
        findings = _of_header(item, info, limits)
        seconds = _span_seconds(item, info)
        if probe == "full" and seconds > 0:
            statistics = sample_statistics(
                audio_blocks(
                    item.audio, start_seconds=item.start_seconds, end_seconds=item.end_seconds
                )
            )
            seconds = statistics.frames / info.sample_rate_hz
            findings += _of_samples(item, statistics, limits)
    except BrokenAudio as error:
        return AudioCheck((found(item.id, error.kind, error.problem),), None)
    except ValueError as error:  # times that do not rise, in an item made in memory
        return AudioCheck((found(item.id, "range", str(error)),), None)
    findings += _of_duration(item, seconds, limits)
    return AudioCheck(tuple(findings), seconds)


def _span_seconds(item: Item, info: AudioInfo) -> float:
    start = item.start_seconds or 0.0
    if start and start >= info.duration_seconds:
        raise BrokenAudio(
            item.audio or "",
            "range",
            f"start_seconds {start} is past its end at {info.duration_seconds:.3f} s",
        )
    end = info.duration_seconds if item.end_seconds is None else item.end_seconds
    if item.end_seconds is not None and end <= start:
        raise ValueError(f"end_seconds {end} is not after start_seconds {start}")
    return min(end, info.duration_seconds) - start


def _of_header(item: Item, info: AudioInfo, limits: CheckLimits) -> list[Finding]:
    findings = []
    if info.sample_rate_hz != limits.sample_rate_hz:
        findings.append(found(item.id, "sample rate", f"{info.sample_rate_hz} Hz"))
    if info.channels > 1:
        findings.append(found(item.id, "stereo", f"{info.channels} channels"))
    return findings


def _of_duration(item: Item, seconds: float, limits: CheckLimits) -> list[Finding]:
    if seconds <= 0:
        return [found(item.id, "zero duration", "0 s")]
    if seconds > limits.absurd_seconds:
        return [found(item.id, "absurd duration", f"{seconds:.1f} s")]
    if seconds > limits.long_seconds:
        return [found(item.id, "long", f"{seconds:.1f} s")]
    return []


def _of_samples(item: Item, statistics: SampleStatistics, limits: CheckLimits) -> list[Finding]:
    if statistics.not_finite:
        return [found(item.id, "nan", f"{statistics.not_finite} NaN or infinite samples")]
    findings = []
    if statistics.frames and statistics.peak < limits.silence_peak:
        findings.append(found(item.id, "silence", f"peak {statistics.peak:.2g} of full scale"))
    if statistics.clipped_share > limits.clipped_share:
        share = 100 * statistics.clipped_share
        findings.append(found(item.id, "clipping", f"{share:.2f} % of samples at full scale"))
    return findings
