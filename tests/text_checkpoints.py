"""Tiny public-style text checkpoints with random weights: one folder for each architecture.

Every folder is written by transformers itself (`save_pretrained`), its tokenizer trained on a few
texts, so a fault in our reader cannot hide here. Run as a program to make one for the command line:

    python tests/text_checkpoints.py xlm-roberta exp/tiny-xlmr
    isogloss text encode hf:exp/tiny-xlmr manifest.jsonl --out steps.npz
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Брза смеђа лисица прескаче лењог пса.",
    "Brza smeđa lisica preskače lenjog psa.",
    "敏捷的棕色狐狸跳过懒狗。",
    "すばやい茶色の狐はのろまな犬を飛び越える",
    "สุนัขจิ้งจอก สีน้ำตาล กระโดด ข้าม สุนัข ขี้เกียจ",
    "query: where is the fox? passage: it is here",
)
"""What tokenizers are trained on where no texts are given."""

LAYERS = 3
_MAPPED = {"num_hidden_layers": LAYERS, "hidden_size": 16, "num_attention_heads": 2}
_BERT = {**_MAPPED, "intermediate_size": 24, "max_position_embeddings": 64}
_DECODER = {
    **_MAPPED,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
_BART = {
    "d_model": 16,
    "encoder_layers": LAYERS,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 64,
}
_T5 = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": LAYERS,
    "num_decoder_layers": 1,
    "num_heads": 2,
}
_GEMMA = {**_DECODER, "query_pre_attn_scalar": 8, "sliding_window": 16}


@dataclass(frozen=True)
class _Recipe:
    model: str
    """Class of transformers, its configuration class ends in Config."""
    config: str
    tokenizer: Callable[[Sequence[str], int], Any]
    values: Mapping[str, Any] = field(default_factory=dict)


def make(
    architecture: str,
    folder: Path,
    *,
    texts: Sequence[str] = TEXTS,
    seed: int = 0,
    vocabulary: int = 300,
    head: bool = False,
    **values: Any,
) -> Path:
    """A checkpoint of `architecture` in `folder`: config.json, model.safetensors, tokenizer.

    Args:
        architecture: one of `ARCHITECTURES`.
        folder: made if absent.
        texts: what its tokenizer is trained on.
        seed: of the weights.
        vocabulary: most tokens.
        head: with the language model's head, as those to generate with have it (decoders only).
        values: fields of the configuration that replace those here.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    recipe = ARCHITECTURES[architecture]
    tokenizer = recipe.tokenizer(texts, vocabulary)
    config_class = getattr(transformers, recipe.config)
    ids = {
        name: getattr(tokenizer, name)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id")
        if getattr(tokenizer, name, None) is not None
    }
    if architecture in ("gpt2", "llama", "gpt_neox"):
        ids.pop("pad_token_id", None)
    own = {**ids, **recipe.values, **values}
    if architecture == "canine":
        own |= {"bos_token_id": 0xE000, "eos_token_id": 0xE001, "pad_token_id": 0}
    else:
        languages = getattr(tokenizer, "lang_token_to_id", {}).values()
        largest = max(len(tokenizer) - 1, *tokenizer.all_special_ids, *languages)
        own = {"vocab_size": largest + 1, **own}
    config = config_class(**own)
    name = recipe.model
    if head:
        name = name.removesuffix("TextModel").removesuffix("Model") + "ForCausalLM"
    torch.manual_seed(seed)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Zeros and ones would hide that a bias or a norm is left out.
            parameter.add_(0.05 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _trained(texts: Sequence[str], size: int, kind: str, specials: Sequence[str]) -> dict[str, Any]:
    """The `model` of a tokenizers file, trained on `texts`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=specials[1]))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(specials))
    elif kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=max(size, 300),
            special_tokens=list(specials),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=size, special_tokens=list(specials), unk_token="<unk>", show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
        fallback = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=max(size, 450), special_tokens=[*specials, *fallback], show_progress=False
        )
    trainer.show_progress = False
    tokenizer.train_from_iterator(texts, trainer)
    found: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return found


def _pairs(texts: Sequence[str], size: int, specials: Sequence[str]) -> list[tuple[str, float]]:
    vocab = _trained(texts, size, "unigram", specials)["vocab"]
    return [(piece, score) for piece, score in vocab]


def _bpe(
    name: str,
    kind: str,
    specials: Sequence[str],
    **options: Any,
) -> Callable[[Sequence[str], int], Any]:
    def make_tokenizer(texts: Sequence[str], size: int) -> Any:
        import transformers

        model = _trained(texts, size, kind, specials)
        merges = [tuple(pair) for pair in model["merges"]]
        return getattr(transformers, name)(vocab=model["vocab"], merges=merges, **options)

    return make_tokenizer


def _unigram(name: str, specials: Sequence[str], **options: Any) -> Callable[..., Any]:
    def make_tokenizer(texts: Sequence[str], size: int) -> Any:
        import transformers

        return getattr(transformers, name)(vocab=_pairs(texts, size, specials), **options)

    return make_tokenizer


def _wordpiece(name: str) -> Callable[..., Any]:
    def make_tokenizer(texts: Sequence[str], size: int) -> Any:
        import transformers

        specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
        lower = [text.lower() for text in texts]
        vocab = _trained([*texts, *lower], size, "wordpiece", specials)["vocab"]
        return getattr(transformers, name)(vocab=vocab, do_lower_case=False)

    return make_tokenizer


def _modernbert(texts: Sequence[str], size: int) -> Any:
    """A byte-level BPE in the general class, [CLS] and [SEP] by a template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    model = _trained(texts, size, "bytes", specials)
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **dict(zip(named, specials, strict=True))
    )


def _m2m(texts: Sequence[str], size: int) -> Any:
    """SentencePiece and a list of pieces: a tokenizer in Python, without spans of its own."""
    import sentencepiece
    from transformers import M2M100Tokenizer

    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "spm"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*texts] * 4),
            model_prefix=str(prefix),
            vocab_size=size,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        processor = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
        pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
        known = ["<s>", "<pad>", "</s>", "<unk>"]
        vocab = {
            piece: i for i, piece in enumerate([*known, *[p for p in pieces if p not in known]])
        }
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps(vocab), encoding="utf-8")
        return M2M100Tokenizer(str(path), f"{prefix}.model", src_lang="en", tgt_lang="de")


def _canine(texts: Sequence[str], size: int) -> Any:
    from transformers import CanineTokenizer

    del texts, size
    return CanineTokenizer()


def _bytes(texts: Sequence[str], size: int) -> Any:
    from transformers import ByT5Tokenizer

    del texts, size
    return ByT5Tokenizer()


_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_SENTENCEPIECE = ("<pad>", "</s>", "<unk>")
_ENTITIES = {"[MASK]": 0, "[PAD]": 1, "[UNK]": 2, "[MASK2]": 3}
_GPT = ("<|endoftext|>",)

ARCHITECTURES: dict[str, _Recipe] = {
    "bert": _Recipe("BertModel", "BertConfig", _wordpiece("BertTokenizer"), _BERT),
    "distilbert": _Recipe(
        "DistilBertModel",
        "DistilBertConfig",
        _wordpiece("DistilBertTokenizer"),
        {
            "dim": 16,
            "n_layers": LAYERS,
            "n_heads": 2,
            "hidden_dim": 24,
            "max_position_embeddings": 64,
        },
    ),
    "electra": _Recipe(
        "ElectraModel",
        "ElectraConfig",
        _wordpiece("BertTokenizer"),
        {**_BERT, "embedding_size": 12},
    ),
    "albert": _Recipe(
        "AlbertModel", "AlbertConfig", _wordpiece("BertTokenizer"), {**_BERT, "embedding_size": 12}
    ),
    "xlm-roberta": _Recipe(
        "XLMRobertaModel",
        "XLMRobertaConfig",
        _unigram("XLMRobertaTokenizer", _ROBERTA),
        {**_BERT, "max_position_embeddings": 66},
    ),
    "deberta-v2": _Recipe(
        "DebertaV2Model",
        "DebertaV2Config",
        _wordpiece("BertTokenizer"),
        {**_BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "modernbert": _Recipe(
        "ModernBertModel",
        "ModernBertConfig",
        _modernbert,
        {
            **_BERT,
            "global_attn_every_n_layers": 2,
            "local_attention": 8,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "cls_token_id": 2,
            "sep_token_id": 3,
        },
    ),
    "canine": _Recipe(
        "CanineModel",
        "CanineConfig",
        _canine,
        {**_BERT, "num_hash_buckets": 64, "num_hash_functions": 2},
    ),
    "luke": _Recipe(
        "LukeModel",
        "LukeConfig",
        _bpe("LukeTokenizer", "bytes", _ROBERTA, entity_vocab=_ENTITIES),
        {**_BERT, "entity_vocab_size": 8, "entity_emb_size": 8, "max_position_embeddings": 66},
    ),
    "mluke": _Recipe(
        "LukeModel",
        "LukeConfig",
        _unigram(
            "MLukeTokenizer",
            _ROBERTA,
            entity_vocab=_ENTITIES,
        ),
        {**_BERT, "entity_vocab_size": 8, "entity_emb_size": 8, "max_position_embeddings": 66},
    ),
    "gpt2": _Recipe(
        "GPT2Model",
        "GPT2Config",
        _bpe("GPT2Tokenizer", "bytes", _GPT),
        {"n_embd": 16, "n_layer": LAYERS, "n_head": 2, "n_positions": 64, "n_inner": 24},
    ),
    "gpt_neox": _Recipe(
        "GPTNeoXModel",
        "GPTNeoXConfig",
        _bpe("GPTNeoXTokenizer", "bytes", ("<|endoftext|>", "<|padding|>")),
        _BERT,
    ),
    "llama": _Recipe(
        "LlamaModel",
        "LlamaConfig",
        _bpe("LlamaTokenizer", "fallback", ("<unk>", "<s>", "</s>"), add_bos_token=True),
        _DECODER,
    ),
    "mistral": _Recipe(
        "MistralModel",
        "MistralConfig",
        _bpe("LlamaTokenizer", "fallback", ("<unk>", "<s>", "</s>"), add_bos_token=True),
        {**_DECODER, "sliding_window": 16},
    ),
    "qwen2": _Recipe("Qwen2Model", "Qwen2Config", _bpe("Qwen2Tokenizer", "bytes", _GPT), _DECODER),
    "qwen3": _Recipe("Qwen3Model", "Qwen3Config", _bpe("Qwen2Tokenizer", "bytes", _GPT), _DECODER),
    "gemma": _Recipe(
        "GemmaModel",
        "GemmaConfig",
        _bpe("GemmaTokenizer", "fallback", ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")),
        _DECODER,
    ),
    "gemma2": _Recipe(
        "Gemma2Model",
        "Gemma2Config",
        _bpe("GemmaTokenizer", "fallback", ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")),
        _GEMMA,
    ),
    "gemma3_text": _Recipe(
        "Gemma3TextModel",
        "Gemma3TextConfig",
        _bpe("GemmaTokenizer", "fallback", ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")),
        _GEMMA,
    ),
    "bloom": _Recipe(
        "BloomModel",
        "BloomConfig",
        _modernbert,
        {"hidden_size": 16, "n_layer": LAYERS, "n_head": 2},
    ),
    "opt": _Recipe(
        "OPTModel",
        "OPTConfig",
        _bpe("GPT2Tokenizer", "bytes", ("<pad>", "</s>", "<|endoftext|>")),
        {
            "hidden_size": 16,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "ffn_dim": 24,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 16,
        },
    ),
    "t5": _Recipe("T5Model", "T5Config", _unigram("T5Tokenizer", _SENTENCEPIECE, extra_ids=4), _T5),
    "umt5": _Recipe(
        "UMT5Model", "UMT5Config", _unigram("T5Tokenizer", _SENTENCEPIECE, extra_ids=4), _T5
    ),
    "byt5": _Recipe("T5Model", "T5Config", _bytes, {**_T5, "feed_forward_proj": "gated-gelu"}),
    "m2m100": _Recipe("M2M100Model", "M2M100Config", _m2m, _BART),
    "mbart": _Recipe(
        "MBartModel",
        "MBartConfig",
        _unigram("MBartTokenizer", _ROBERTA, src_lang="en_XX", tgt_lang="de_DE"),
        _BART,
    ),
    "nllb": _Recipe(
        "M2M100Model",
        "M2M100Config",
        _bpe("NllbTokenizer", "fallback", ("<s>", "<pad>", "</s>", "<unk>"), src_lang="eng_Latn"),
        _BART,
    ),
}
"""Name to how it is made."""


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
