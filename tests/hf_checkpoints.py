"""Tiny public-style checkpoints with random weights: one folder for each architecture.

Every folder is written by transformers itself (`save_pretrained`), so a fault in our reader cannot
hide here. Run as a program to make one for the command line:

    python tests/hf_checkpoints.py whisper exp/tiny-whisper
    isogloss bench run demo --encoder hf:exp/tiny-whisper
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

_WAV2VEC2 = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (12,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 9,
}
_LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_SEAMLESS = {
    "hidden_size": 16,
    "speech_encoder_layers": 2,
    "speech_encoder_attention_heads": 2,
    "speech_encoder_intermediate_size": 24,
    "encoder_layers": 1,
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_layers": 1,
    "decoder_ffn_dim": 16,
    "decoder_attention_heads": 2,
    "vocab_size": 20,
    "t2u_vocab_size": 20,
    "char_vocab_size": 20,
    "t2u_encoder_layers": 1,
    "t2u_encoder_ffn_dim": 16,
    "t2u_encoder_attention_heads": 2,
    "t2u_decoder_layers": 1,
    "t2u_decoder_ffn_dim": 16,
    "t2u_decoder_attention_heads": 2,
    "t2u_variance_predictor_embed_dim": 16,
    "t2u_variance_predictor_hidden_dim": 16,
    "upsample_initial_channel": 32,
    "unit_hifi_gan_vocab_size": 20,
    "unit_embed_dim": 16,
    "lang_embed_dim": 8,
    "spkr_embed_dim": 8,
}
_QWEN_AUDIO = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 128,
}
_LANGUAGE_MODEL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 30,
}
_PARAKEET = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "subsampling_conv_channels": 8,
}
_WHISPER = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 24,
    "vocab_size": 30,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}

# name: (config class, its arguments, model class, front end, its arguments, step, final step)
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str, str, dict[str, Any], float, float]] = {
    "whisper": (
        "WhisperConfig",
        _WHISPER,
        "WhisperForConditionalGeneration",
        "WhisperFeatureExtractor",
        {},
        0.02,
        0.02,
    ),
    "whisper-large-v3": (
        "WhisperConfig",
        {**_WHISPER, "num_mel_bins": 128},
        "WhisperModel",
        "WhisperFeatureExtractor",
        {"feature_size": 128},
        0.02,
        0.02,
    ),
    "wav2vec2": (
        "Wav2Vec2Config",
        _WAV2VEC2,
        "Wav2Vec2ForCTC",
        "Wav2Vec2FeatureExtractor",
        {"return_attention_mask": False},
        0.02,
        0.02,
    ),
    "xls-r": (
        "Wav2Vec2Config",
        {**_WAV2VEC2, **_LAYER_NORM},
        "Wav2Vec2ForPreTraining",
        "Wav2Vec2FeatureExtractor",
        {"return_attention_mask": True},
        0.02,
        0.02,
    ),
    "mms": (
        "Wav2Vec2Config",
        {**_WAV2VEC2, **_LAYER_NORM, "adapter_attn_dim": 4},
        "Wav2Vec2ForCTC",
        "Wav2Vec2FeatureExtractor",
        {"return_attention_mask": True},
        0.02,
        0.02,
    ),
    "wav2vec2-with-adapter": (
        "Wav2Vec2Config",
        {**_WAV2VEC2, **_LAYER_NORM, "add_adapter": True, "num_adapter_layers": 2},
        "Wav2Vec2Model",
        "Wav2Vec2FeatureExtractor",
        {},
        0.02,
        0.08,
    ),
    "hubert": (
        "HubertConfig",
        _WAV2VEC2,
        "HubertModel",
        "Wav2Vec2FeatureExtractor",
        {},
        0.02,
        0.02,
    ),
    "wavlm": (
        "WavLMConfig",
        {**_WAV2VEC2, **_LAYER_NORM},
        "WavLMModel",
        "Wav2Vec2FeatureExtractor",
        {},
        0.02,
        0.02,
    ),
    "data2vec": (
        "Data2VecAudioConfig",
        {
            **{k: v for k, v in _WAV2VEC2.items() if k != "num_conv_pos_embeddings"},
            "num_conv_pos_embeddings": 2,
            "conv_pos_kernel_size": 5,
        },
        "Data2VecAudioForCTC",
        "Wav2Vec2FeatureExtractor",
        {},
        0.02,
        0.02,
    ),
    "w2v-bert": (
        "Wav2Vec2BertConfig",
        {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "vocab_size": 9,
        },
        "Wav2Vec2BertModel",
        "SeamlessM4TFeatureExtractor",
        {},
        0.02,
        0.02,
    ),
    "seamless-m4t-v2": (
        "SeamlessM4Tv2Config",
        _SEAMLESS,
        "SeamlessM4Tv2Model",
        "SeamlessM4TFeatureExtractor",
        {},
        0.02,
        0.16,
    ),
    "qwen2-audio": (
        "Qwen2AudioConfig",
        {
            "audio_config": {**_QWEN_AUDIO, "model_type": "qwen2_audio_encoder"},
            "text_config": {**_LANGUAGE_MODEL, "model_type": "qwen2"},
        },
        "Qwen2AudioForConditionalGeneration",
        "WhisperFeatureExtractor",
        {"feature_size": 128},
        0.02,
        0.04,
    ),
    "qwen3-asr": (
        "Qwen3ASRConfig",
        {
            "audio_config": {
                **_QWEN_AUDIO,
                "model_type": "qwen3_asr_encoder",
                "downsample_hidden_size": 8,
                "output_dim": 16,
            },
            "text_config": {**_LANGUAGE_MODEL, "model_type": "qwen3"},
        },
        "Qwen3ASRForConditionalGeneration",
        "Qwen3ASRFeatureExtractor",
        {},
        1 / 13,
        1 / 13,
    ),
    "parakeet": (
        "ParakeetCTCConfig",
        {"encoder_config": _PARAKEET, "vocab_size": 9, "pad_token_id": 8},
        "ParakeetForCTC",
        "ParakeetFeatureExtractor",
        {},
        0.08,
        0.08,
    ),
    "moonshine": (
        "MoonshineConfig",
        {
            "hidden_size": 16,
            "intermediate_size": 24,
            "encoder_num_hidden_layers": 2,
            "decoder_num_hidden_layers": 1,
            "encoder_num_attention_heads": 2,
            "decoder_num_attention_heads": 2,
            "vocab_size": 30,
        },
        "MoonshineForConditionalGeneration",
        "Wav2Vec2FeatureExtractor",
        {"do_normalize": False},
        0.024,
        0.024,
    ),
    "voxtral": (
        "VoxtralConfig",
        {
            "audio_config": {
                "model_type": "voxtral_encoder",
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_mel_bins": 128,
            },
            "text_config": {**_LANGUAGE_MODEL, "model_type": "llama"},
        },
        "VoxtralForConditionalGeneration",
        "WhisperFeatureExtractor",
        {"feature_size": 128},
        0.02,
        0.02,
    ),
}
"""Every architecture that the documentation lists, as its public checkpoints have it."""


def make_checkpoint(architecture: str, folder: Path, *, seed: int = 0) -> Path:
    """A folder as `save_pretrained` writes it: configuration, weights, front end."""
    config_name, arguments, model_name, front_end, options, *_ = ARCHITECTURES[architecture]
    transformers = import_module("transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, model_name)(getattr(transformers, config_name)(**arguments))
        # Freshly made norms and biases are ones and zeros: values that would hide a mix-up.
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    getattr(transformers, front_end)(**options).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ARCHITECTURES:
        sys.exit(f"usage: hf_checkpoints.py {{{','.join(ARCHITECTURES)}}} FOLDER")
    make_checkpoint(sys.argv[1], Path(sys.argv[2]))
