"""What a file's first bytes promise: kind of content, and whether all promised bytes are there.

libsndfile clamps a WAV whose header promises more than the file holds and says nothing, so the
promise is read here, from the chunk headers alone: no sample is loaded.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from isogloss.errors import AudioError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "BrokenAudio",
    "Problem",
    "check_promise",
    "looks_like_text",
    "untrusted_format",
    "wants_av",
]

Problem = str
"""One of "missing", "empty", "unreadable", "truncated", "nan", "range"."""

# Writers that cannot seek back (pipes) leave the largest size they can express; everything this
# close to 2**31 or 2**32 is such a mark and no promise.
_STREAMED_SIZES = (range(0x7FFF_0000, 0x8000_0000), range(0xFFFF_0000, 0x1_0000_0000))
# First bytes of what is read from strangers, and FFmpeg's name for it.
_ANNOUNCED = {
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"ID3": "mp3",
    b".snd": "au",
    b"\x1a\x45\xdf\xa3": "matroska",
}
# Recordings have a handful; a file of nothing but empty ones would take seconds to walk through.
_MOST_CHUNKS = 10_000
_OGG_TAIL_BYTES = 1 << 17  # a page is at most 65,307 bytes, so its start is in the last two


class BrokenAudio(AudioError):
    """An audio file that cannot be used; `kind` tells a program why, the message tells a person.

    Kinds: "missing", "empty", "unreadable", "truncated", "nan" (NaN or infinite samples) and
    "range" (the piece asked for lies outside the recording).
    """

    def __init__(self, path: str | Path, kind: Problem, problem: str) -> None:
        super().__init__(path, problem)
        self.kind = kind


def looks_like_text(head: bytes) -> bool:
    """True when the first bytes of a file are printable UTF-8 without zero bytes."""
    if not head or b"\0" in head:
        return False
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may have been cut by the read; anything earlier is binary.
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(c.isprintable() or c in "\r\n\t\ufeff" for c in text)


def wants_av(head: bytes) -> bool:
    """True for containers that only PyAV reads: MP4 / M4A / MOV and Matroska / WebM."""
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free") or head[:4] == (
        b"\x1a\x45\xdf\xa3"
    )


def untrusted_format(path: Path, head: bytes) -> str:
    """FFmpeg's name of the format that the first bytes of a stranger's file announce.

    WAV, FLAC, Ogg, MP3, MP4 / M4A, Matroska / WebM, AIFF, AU and ADTS; none of them leads to
    another file.

    Raises:
        BrokenAudio: "unreadable", the bytes announce none of these.
    """
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    for start, name in _ANNOUNCED.items():
        if head.startswith(start):
            return name
    if head[4:8] == b"ftyp":
        return "mov"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # Eleven bits of one, then version and layer; layer 0 is ADTS.
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    raise BrokenAudio(
        path, "unreadable", "not one of WAV, FLAC, Ogg, Opus, MP3, MP4, M4A, WebM, AIFF, AU, AAC"
    )


def check_promise(path: Path, handle: BinaryIO, head: bytes, size_bytes: int) -> None:
    """Nothing, when `path` holds what its header promises, as far as headers alone can tell.

    WAV (RIFF, RF64, BW64): the size of the data chunk. Ogg: the last page is complete. MP4: every
    box is, and the index (moov) is among them.

    Raises:
        BrokenAudio: "truncated", with the bytes promised and found.
    """
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        _check_wav(path, handle, size_bytes)
    elif head[:4] == b"OggS":
        _check_ogg(path, handle, size_bytes)
    elif head[4:8] == b"ftyp":
        _check_mp4(path, handle, size_bytes)


def _check_wav(path: Path, handle: BinaryIO, size_bytes: int) -> None:
    long_data_bytes: int | None = None
    position = 12
    for _ in range(_MOST_CHUNKS):
        if position + 8 > size_bytes:
            break
        handle.seek(position)
        name, length = struct.unpack("<4sI", handle.read(8))
        if name == b"ds64":
            long_data_bytes = struct.unpack("<QQ", handle.read(16))[1]
        if name == b"data":
            if length == 0xFFFF_FFFF and long_data_bytes is not None:
                length = long_data_bytes
            elif any(length in sizes for sizes in _STREAMED_SIZES):
                return
            found = size_bytes - position - 8
            if found < length:
                raise BrokenAudio(
                    path,
                    "truncated",
                    f"truncated: the header promises {length} bytes of samples, {found} are there",
                )
            return
        position += 8 + length + (length & 1)
    if position + 8 <= size_bytes:
        raise BrokenAudio(path, "unreadable", f"more than {_MOST_CHUNKS} chunks before the samples")
    raise BrokenAudio(path, "truncated", "truncated: a WAV header without a data chunk")


def _check_ogg(path: Path, handle: BinaryIO, size_bytes: int) -> None:
    start = max(0, size_bytes - _OGG_TAIL_BYTES)
    handle.seek(start)
    tail = handle.read()
    # "OggS" may also occur by chance inside a page, so walk from each candidate to the end.
    at = tail.find(b"OggS")
    while at >= 0:
        end = _page_end(tail, at)
        # Bytes after the page that ends the stream (flag 4) are tags or padding.
        if end is not None and (end == len(tail) or tail[at + 5] & 4):
            return
        if end is not None and tail[end : end + 4] == b"OggS":
            at = end
            continue
        at = tail.find(b"OggS", at + 1)
    raise BrokenAudio(path, "truncated", "truncated: the last Ogg page is incomplete")


def _page_end(tail: bytes, at: int) -> int | None:
    if at + 27 > len(tail):
        return None
    segments = tail[at + 26]
    body = at + 27 + segments
    if body > len(tail):
        return None
    end = body + sum(tail[at + 27 : body])
    return end if end <= len(tail) else None


def _check_mp4(path: Path, handle: BinaryIO, size_bytes: int) -> None:
    position, boxes, has_index = 0, 0, False
    while position + 8 <= size_bytes:
        boxes += 1
        if boxes > _MOST_CHUNKS:
            raise BrokenAudio(path, "unreadable", f"more than {_MOST_CHUNKS} boxes")
        handle.seek(position)
        length, name = struct.unpack(">I4s", handle.read(8))
        if length == 1:  # the size did not fit: it follows in 64 bits
            long_length = handle.read(8)
            length = struct.unpack(">Q", long_length)[0] if len(long_length) == 8 else 0
        elif length == 0:  # up to the end of the file
            length = size_bytes - position
        has_index = has_index or name in (b"moov", b"moof")
        if length < 8 or position + length > size_bytes:
            raise BrokenAudio(
                path,
                "truncated",
                f"truncated: a box of {length} bytes begins at {position} of {size_bytes}",
            )
        position += length
    if not has_index:
        raise BrokenAudio(path, "truncated", "truncated: an MP4 without its index (moov)")
