"""What `laser:` and `pixel:` refuse, on models that were never trained."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("PIL")

from isogloss.encoders import check_encoder, load_encoder  # noqa: E402
from isogloss.encoders.bilstm_network import BilstmShape  # noqa: E402
from isogloss.encoders.own_text_files import write_own_text  # noqa: E402
from isogloss.encoders.pixel_fonts import FoundFont, open_fonts, system_fonts  # noqa: E402
from isogloss.encoders.pixel_network import PixelShape, PixelTransformer  # noqa: E402
from isogloss.errors import IsoglossError, UnknownName  # noqa: E402
from isogloss.training.laser_training import (  # noqa: E402
    LaserLearner,
    LaserTraining,
    train_tokenizer,
)
from isogloss.training.pixel_training import PixelLearner, PixelTraining  # noqa: E402
from isogloss.training.text_batch import TextRows  # noqa: E402
from parallel_text_makers import items_of  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

LASER = LaserTraining(vocabulary=60, embedding=8, hidden=6, layers=2, decoder=8, variety=2)
PIXEL = PixelTraining(dimension=8, layers=2, heads=2, window=8)
TEXTS = [str(item.text) for item in items_of(10)]


@pytest.fixture
def laser(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer(TEXTS, LASER.vocabulary)
    learner = LaserLearner(LASER, tokenizer, varieties=["deu", "srp"], max_tokens=5, seed=0)
    learner.save(tmp_path)
    assert learner.count_cut(["a", "hund " * 20]) == 1
    return tmp_path


@pytest.fixture
def pixel(tmp_path: Path) -> Path:
    PixelLearner(PIXEL, open_fonts(system_fonts()[:1], 16), seed=0).save(tmp_path)
    return tmp_path


def test_laser_has_a_layer_for_the_embedding_and_each_lstm(laser: Path) -> None:
    encoder = load_encoder(f"laser:{laser}")
    assert encoder.layers == (0, 1, 2)
    assert encoder.encode(items_of(1)).values.shape == (2, 12)
    assert load_encoder(f"laser:{laser}", layer=0).encode(items_of(1)).values.shape == (2, 8)
    check_encoder(load_encoder(f"laser:{laser}?token=piece"), items_of(3))
    with pytest.raises(ValueError, match="layers 0 to 2, got 3"):
        load_encoder(f"laser:{laser}", layer=3)


def test_laser_refuses_what_does_not_belong_together(laser: Path) -> None:
    with pytest.raises(ValueError, match="'laser:' needs a folder"):
        load_encoder("laser:")
    with pytest.raises(UnknownName, match="token"):
        load_encoder(f"laser:{laser}?token=words")
    config = json.loads((laser / "config.json").read_text(encoding="utf-8"))
    small = {**config["shape"], "vocabulary": 10}
    shape = asdict(BilstmShape(**small))
    (laser / "config.json").write_text(json.dumps({**config, "shape": shape}), encoding="utf-8")
    with pytest.raises(IsoglossError, match="no model of a BiLSTM"):
        load_encoder(f"laser:{laser}")
    write_own_text(laser, "laser", config["shape"], {}, files={"tokenizer.json": "{}"})
    with pytest.raises(IsoglossError, match=r"tokenizer\.json: no tokenizer"):
        load_encoder(f"laser:{laser}")


def test_characters_that_training_never_had_have_a_token(laser: Path) -> None:
    steps = load_encoder(f"laser:{laser}?token=piece").encode([type(items_of(1)[0])(
        "x", "cmn", text="狐 \u200b"
    )])  # fmt: skip
    assert steps.lengths[0] >= 1


def test_layers_of_pixels_are_the_outputs_of_the_blocks(pixel: Path) -> None:
    encoder = load_encoder(f"pixel:{pixel}")
    assert encoder.layers == (0, 1, 2, 3)
    check_encoder(encoder, items_of(2))  # 3 words each: one window
    with pytest.raises(ValueError, match="layers 0 to 3, got 4"):
        load_encoder(f"pixel:{pixel}", layer=4)


def test_other_fonts_are_drawn_with_when_asked_for(pixel: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    other = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSerif.ttf"
    plain, serif = load_encoder(f"pixel:{pixel}"), load_encoder(f"pixel:{pixel}?font={other}")
    items = items_of(1)[:1]
    assert plain.made_by != serif.made_by
    one, two = plain.encode(items).values, serif.encode(items).values
    assert one.shape != two.shape or not np.allclose(one, two)


def test_pixel_refuses_fonts_that_are_not_here(pixel: Path) -> None:
    config = json.loads((pixel / "config.json").read_text(encoding="utf-8"))
    config["training"]["fonts"] = [["None.ttf", "0"]]
    (pixel / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(IsoglossError, match=re.escape("drawn with None.ttf, and it is not here")):
        load_encoder(f"pixel:{pixel}")
    with pytest.raises(IsoglossError, match="no such font"):
        load_encoder(f"pixel:{pixel}?font=/nowhere.ttf")
    config["training"] = {}
    (pixel / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(IsoglossError, match="no model of patches"):
        load_encoder(f"pixel:{pixel}")


def test_another_way_to_shape_letters_is_told(pixel: Path) -> None:
    config = json.loads((pixel / "config.json").read_text(encoding="utf-8"))
    config["training"]["shaping"] = "other"
    (pixel / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.warns(UserWarning, match="trained with letters drawn by 'other'"):
        load_encoder(f"pixel:{pixel}")


def test_shapes_that_cannot_be_are_refused() -> None:
    for make, message in (
        (lambda: BilstmShape(0), "vocabulary must be at least 1, got 0"),
        (lambda: PixelShape(height=4), "height must be at least 8 pixels, got 4"),
        (lambda: PixelShape(window=0), "window must be at least 1, got 0"),
        (lambda: train_tokenizer(TEXTS, 4), "vocabulary must be above 4, got 4"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def rows(texts: tuple[tuple[str, ...], ...], varieties: tuple[str, ...]) -> TextRows:
    count = len(texts[0])
    return TextRows(
        tuple(map(str, range(count))),
        texts,
        tuple(map(str, range(count))),
        tuple((variety,) * count for variety in varieties),
    )


def test_the_decoder_is_told_which_variety_to_write() -> None:
    tokenizer = train_tokenizer(TEXTS, LASER.vocabulary)
    learner = LaserLearner(LASER, tokenizer, varieties=["deu", "srp"], max_tokens=9, seed=0)
    learner.module.eval()
    texts = (("hund baum",), ("пес дрво",))
    draw = torch.Generator()
    one, two = (
        float(learner.loss(rows(texts, ("deu", other)), draw=draw, step=0, steps=1).total.detach())
        for other in ("srp", "deu")
    )
    assert one != two
    # A decoder that knows nothing needs about ln(pieces) nats a piece.
    assert one == pytest.approx(np.log(tokenizer.get_vocab_size()), abs=0.3)
    with pytest.raises(IsoglossError, match="variety 'fra' was not in the corpus"):
        learner.loss(rows(texts, ("deu", "fra")), draw=draw, step=0, steps=1)


def test_an_empty_drawing_costs_1() -> None:
    learner = PixelLearner(
        PixelTraining(dimension=8, layers=1, heads=2, window=8, masked=0.5, dropout=0.0),
        open_fonts([FoundFont(system_fonts()[0].path)], 16),
        seed=0,
    )
    with torch.no_grad():
        learner.drawing.pixels.weight.zero_()
        learner.drawing.pixels.bias.zero_()
    batch = rows((("hund baum haus",), ("дрво",)), ("deu", "srp"))
    draw = torch.Generator()
    draw.manual_seed(0)
    first = learner.loss(batch, draw=draw, step=4, steps=10)
    assert float(first.total.detach()) == pytest.approx(1.0, abs=1e-5)
    assert list(first.parts) == ["masked"]
    later = learner.loss(batch, draw=draw, step=5, steps=10)
    assert list(later.parts) == ["infonce"]


def test_pixel_network_sees_neither_padding_nor_hidden_patches() -> None:
    torch.manual_seed(0)
    network = PixelTransformer(PixelShape(dimension=8, layers=1, heads=2, window=4)).eval()
    patches, real = torch.rand(1, 4, 256), torch.ones(1, 4, dtype=torch.bool)
    hidden = torch.tensor([[False, True, False, False]])
    changed = patches.clone()
    changed[0, 1] = 0
    with torch.no_grad():
        one = network(patches, real, instead=(hidden, torch.zeros(8)))[-1]
        two = network(changed, real, instead=(hidden, torch.zeros(8)))[-1]
    assert torch.equal(one, two)
