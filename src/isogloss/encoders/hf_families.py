"""Every kind of public speech encoder that `hf:` knows: what goes in, and how much comes out.

One row a `model_type`, used by `hf_checkpoint` (what to build) and `hf` (how to run it). A new
encoder of transformers is a row of `FAMILIES` and, when its front end is new, one function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from isogloss.types import FloatArray

__all__ = ["FAMILIES", "Family", "Plan"]

# transformers' Kaldi-like filterbank: windows of 25 ms every 10 ms, none reaching over the edge.
_FBANK_SAMPLES = 400
_FBANK_HOP = 160
# Strides and kernels of Moonshine's three convolutions are written into its code, not its config.
_MOONSHINE = ((127, 64), (7, 3), (3, 2))


@dataclass(frozen=True)
class Plan:
    """How one checkpoint turns samples into steps; what the front end of a family comes to.

    Attributes:
        inputs: (S,) samples of one window to the encoder's arguments, each with a first axis of 1.
        step_seconds: time between two steps of the embedding and of the blocks.
        final_step_seconds: the same for what the encoder returns, which may be pooled.
        steps: steps of a block that hold audio of S samples; None when all do.
        final_steps: the same for what the encoder returns.
        least_samples: fewer give no step at all.
        window_samples: longest piece the encoder takes; longer recordings are cut.
        window_unit: pieces are cut at multiples of this, so that steps keep their rate.
    """

    inputs: Callable[[FloatArray], Mapping[str, Tensor]]
    step_seconds: float
    final_step_seconds: float
    steps: Callable[[int], int] | None = None
    final_steps: Callable[[int], int] | None = None
    least_samples: int = 1
    window_samples: int | None = None
    window_unit: int = 1

    def windows(self, samples: FloatArray) -> list[FloatArray]:
        """`samples` in pieces of like length, none longer than a window.

        Equal pieces, rather than full windows and a rest, leave no piece without context.
        """
        if self.window_samples is None or len(samples) <= self.window_samples:
            return [samples]
        count = math.ceil(len(samples) / self.window_samples)
        units = math.ceil(len(samples) / (count * self.window_unit))
        size = min(units, self.window_samples // self.window_unit) * self.window_unit
        return [samples[first : first + size] for first in range(0, len(samples), size)]


@dataclass(frozen=True, slots=True)
class Family:
    """What to take out of a checkpoint of one `model_type`.

    Attributes:
        encoder: 'module:class' below `transformers.models`.
        extractor: the same for what makes features.
        plan: (config of the encoder, feature extractor) to a `Plan`; ValueError when they do not
            fit each other.
        part: field of config.json that holds the encoder's own configuration; None is the whole.
        blocks: where in the encoder its blocks are.
    """

    encoder: str
    extractor: str
    plan: Callable[[Any, Any], Plan]
    part: str | None = None
    blocks: str = "layers"


def _needs_equal(extractor: Any, name: str, config: Any, field: str, wanted: int) -> None:
    found = getattr(extractor, name)
    if found != wanted:
        raise ValueError(
            f"{name} of the feature extractor is {found}, but {field} of the model is "
            f"{getattr(config, field)}, which needs {wanted}"
        )


def _log_mel_windows(config: Any, extractor: Any, *, pooled: int = 1) -> Plan:
    """Whisper and its kin: windows of 30 s, padded as in training, two frames a step."""
    _needs_equal(extractor, "feature_size", config, "num_mel_bins", config.num_mel_bins)
    positions = config.max_source_positions
    _needs_equal(extractor, "nb_max_frames", config, "max_source_positions", 2 * positions)
    rate, samples_a_step = extractor.sampling_rate, 2 * extractor.hop_length

    def inputs(samples: FloatArray) -> Mapping[str, Tensor]:
        found = extractor(samples, sampling_rate=rate, padding="max_length", return_tensors="pt")
        return {"input_features": found["input_features"]}

    return Plan(
        inputs,
        samples_a_step / rate,
        pooled * samples_a_step / rate,
        lambda samples: math.ceil(samples / samples_a_step),
        lambda samples: math.ceil(samples / (pooled * samples_a_step)),
        window_samples=positions * samples_a_step,
        window_unit=pooled * samples_a_step,
    )


def _pooled_log_mel_windows(config: Any, extractor: Any) -> Plan:
    """Qwen2-Audio: as Whisper, then the mean of every two steps before the last norm."""
    return _log_mel_windows(config, extractor, pooled=2)


def _waveform(config: Any, extractor: Any) -> Plan:
    """wav2vec 2.0 and its kin: convolutions over samples, no padding, so all steps hold audio."""
    convolutions = tuple(zip(config.conv_kernel, config.conv_stride, strict=True))
    step_seconds = math.prod(config.conv_stride) / extractor.sampling_rate
    return _samples_plan(extractor, convolutions, step_seconds, _adapter_stride(config))


def _moonshine(config: Any, extractor: Any) -> Plan:
    """Moonshine: three convolutions over samples; its group norm hears the whole recording."""
    del config
    samples_a_step = math.prod(stride for _, stride in _MOONSHINE)
    return _samples_plan(extractor, _MOONSHINE, samples_a_step / extractor.sampling_rate, 1)


def _samples_plan(
    extractor: Any, convolutions: tuple[tuple[int, int], ...], step_seconds: float, pooled: int
) -> Plan:
    least = 1
    for kernel, stride in reversed(convolutions):
        least = (least - 1) * stride + kernel

    def inputs(samples: FloatArray) -> Mapping[str, Tensor]:
        found = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        return {"input_values": found["input_values"]}

    return Plan(inputs, step_seconds, pooled * step_seconds, least_samples=least)


def _stacked_fbank(config: Any, extractor: Any) -> Plan:
    """w2v-BERT 2.0 and Seamless: Kaldi-like energies, every two frames joined.

    The frame that makes their number even is padding, so the step that holds it is cut off before
    the encoder sees it: what the model would mask is not there.
    """
    width = config.feature_projection_input_dim
    if width != extractor.num_mel_bins * extractor.stride:
        raise ValueError(
            f"num_mel_bins x stride of the feature extractor is {extractor.num_mel_bins} x "
            f"{extractor.stride}, but feature_projection_input_dim of the model is {width}"
        )

    step_seconds = extractor.stride * _FBANK_HOP / extractor.sampling_rate
    return Plan(
        _real_frames(extractor),
        step_seconds,
        _adapter_stride(config) * step_seconds,
        least_samples=_FBANK_SAMPLES + (extractor.stride - 1) * _FBANK_HOP,
    )


def _real_frames(extractor: Any) -> Callable[[FloatArray], Mapping[str, Tensor]]:
    """Features without the frames that the extractor marks as padding."""

    def inputs(samples: FloatArray) -> Mapping[str, Tensor]:
        found = extractor(
            samples,
            sampling_rate=extractor.sampling_rate,
            return_attention_mask=True,
            return_tensors="pt",
        )
        real = int(found["attention_mask"].sum())
        return {"input_features": found["input_features"][:, :real]}

    return inputs


def _adapter_stride(config: Any) -> int:
    """How many steps the adapter behind the blocks joins; 1 without one."""
    if not getattr(config, "add_adapter", False):
        return 1
    # Seamless spells it differently.
    stride = getattr(config, "adapter_stride", None) or config.adaptor_stride
    return int(stride**config.num_adapter_layers)


def _parakeet(config: Any, extractor: Any) -> Plan:
    """Parakeet: log-mel frames normalised over the recording, joined by eight.

    The extractor marks its last frame as padding, and the model would mask it; it is cut off here.
    """
    _needs_equal(extractor, "feature_size", config, "num_mel_bins", config.num_mel_bins)

    step_seconds = config.subsampling_factor * extractor.hop_length / extractor.sampling_rate
    # Frames are divided by their standard deviation, which one frame has not.
    return Plan(
        _real_frames(extractor),
        step_seconds,
        step_seconds,
        least_samples=2 * extractor.hop_length,
    )


def _chunked_log_mel(config: Any, extractor: Any) -> Plan:
    """Qwen3-ASR: chunks of one second, each 13 steps; the encoder attends within 8 s by itself."""
    _needs_equal(extractor, "feature_size", config, "num_mel_bins", config.num_mel_bins)
    _needs_equal(extractor, "n_window", config, "n_window", config.n_window)
    rate = extractor.sampling_rate
    hop, chunk = int(extractor.hop_length), 2 * int(config.n_window)

    def halved_thrice(frames: int) -> int:
        for _ in range(3):
            frames = (frames + 1) // 2
        return frames

    def steps(samples: int) -> int:
        # The extractor pads what is shorter than half a second without marking it; what is kept
        # comes from the recording's own length.
        chunks, rest = divmod(samples // hop, chunk)
        return chunks * halved_thrice(chunk) + halved_thrice(rest)

    def inputs(samples: FloatArray) -> Mapping[str, Tensor]:
        found = extractor(
            samples,
            sampling_rate=rate,
            padding="longest",
            return_attention_mask=True,
            return_tensors="pt",
        )
        return {
            "input_features": found["input_features"],
            "input_features_mask": found["attention_mask"],
        }

    step_seconds = chunk * hop / rate / halved_thrice(chunk)
    return Plan(inputs, step_seconds, step_seconds, steps, steps, least_samples=hop)


_LOG_MEL = "whisper.feature_extraction_whisper:WhisperFeatureExtractor"
_SAMPLES = "wav2vec2.feature_extraction_wav2vec2:Wav2Vec2FeatureExtractor"
_FBANK = "seamless_m4t.feature_extraction_seamless_m4t:SeamlessM4TFeatureExtractor"
_PARAKEET = "parakeet.feature_extraction_parakeet:ParakeetFeatureExtractor"
_QWEN3 = "qwen3_asr.feature_extraction_qwen3_asr:Qwen3ASRFeatureExtractor"


def _wav2vec2_like(encoder: str) -> Family:
    return Family(encoder, _SAMPLES, _waveform, blocks="encoder.layers")


_WHISPER = Family("whisper.modeling_whisper:WhisperEncoder", _LOG_MEL, _log_mel_windows)


def _with_part(part: str, family: Family) -> Family:
    return Family(family.encoder, family.extractor, family.plan, part, family.blocks)


_QWEN2_AUDIO = Family(
    "qwen2_audio.modeling_qwen2_audio:Qwen2AudioEncoder", _LOG_MEL, _pooled_log_mel_windows
)
_QWEN3_ASR = Family("qwen3_asr.modeling_qwen3_asr:Qwen3ASREncoder", _QWEN3, _chunked_log_mel)
_PARAKEET_ENCODER = Family("parakeet.modeling_parakeet:ParakeetEncoder", _PARAKEET, _parakeet)
_VOXTRAL = Family("voxtral.modeling_voxtral:VoxtralEncoder", _LOG_MEL, _log_mel_windows)

FAMILIES: Mapping[str, Family] = {
    "whisper": _WHISPER,
    # XLS-R and MMS are wav2vec 2.0 in all but their training.
    "wav2vec2": _wav2vec2_like("wav2vec2.modeling_wav2vec2:Wav2Vec2Model"),
    "wav2vec2-conformer": _wav2vec2_like(
        "wav2vec2_conformer.modeling_wav2vec2_conformer:Wav2Vec2ConformerModel"
    ),
    "hubert": _wav2vec2_like("hubert.modeling_hubert:HubertModel"),
    "wavlm": _wav2vec2_like("wavlm.modeling_wavlm:WavLMModel"),
    "data2vec-audio": _wav2vec2_like("data2vec.modeling_data2vec_audio:Data2VecAudioModel"),
    "unispeech": _wav2vec2_like("unispeech.modeling_unispeech:UniSpeechModel"),
    "unispeech-sat": _wav2vec2_like("unispeech_sat.modeling_unispeech_sat:UniSpeechSatModel"),
    "wav2vec2-bert": Family(
        "wav2vec2_bert.modeling_wav2vec2_bert:Wav2Vec2BertModel",
        _FBANK,
        _stacked_fbank,
        blocks="encoder.layers",
    ),
    "seamless_m4t_v2": Family(
        "seamless_m4t_v2.modeling_seamless_m4t_v2:SeamlessM4Tv2SpeechEncoder",
        _FBANK,
        _stacked_fbank,
        blocks="encoder.layers",
    ),
    "qwen2_audio": _with_part("audio_config", _QWEN2_AUDIO),
    "qwen2_audio_encoder": _QWEN2_AUDIO,
    "qwen3_asr": _with_part("audio_config", _QWEN3_ASR),
    "qwen3_asr_encoder": _QWEN3_ASR,
    "parakeet_ctc": _with_part("encoder_config", _PARAKEET_ENCODER),
    "parakeet_rnnt": _with_part("encoder_config", _PARAKEET_ENCODER),
    "parakeet_tdt": _with_part("encoder_config", _PARAKEET_ENCODER),
    "parakeet_encoder": _PARAKEET_ENCODER,
    "moonshine": Family("moonshine.modeling_moonshine:MoonshineEncoder", _SAMPLES, _moonshine),
    "voxtral": _with_part("audio_config", _VOXTRAL),
    "voxtral_encoder": _VOXTRAL,
}
"""`model_type` of config.json to what it needs."""
