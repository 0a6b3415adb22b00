"""Every label that the evaluation sets use for a language or dialect leads to a variety."""

from __future__ import annotations

import csv
import gzip
import os
import re
from pathlib import Path

import pytest

from isogloss.varieties import builtin_table

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ISOGLOSS_DATA", ROOT / "../shared/data"))

# Labels that the corpora write, from their papers and file layouts; no copy of them is at hand.
ELSEWHERE = {
    "kespeech": "Mandarin Beijing Southwestern Zhongyuan Northeastern Lan-Yin Jiang-Huai Ji-Lu"
    " Jiao-Liao",
    "wenetspeech-wu": "Shanghai Suzhou Shaoxing Ningbo Hangzhou Jiaxing Taizhou Wenzhou",
    "wenetspeech-chuan": "Sichuanese",
    "wenetspeech-yue": "Cantonese yue",
    "common_voice": "zh-CN zh-TW zh-HK yue nan-tw",
    "fleurs": "cmn_hans_cn yue_hant_hk",
    "lsdc": "BRA DNS DWF MVP NNS NPR NWF OFL",
    "yubao": "zh_standard zh_dialect min wuu hak yue hsn gan",
}


def text_of(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode("utf-8-sig")


def names_in(folder: str, pattern: str) -> set[str]:
    matches = (re.fullmatch(pattern, path.name) for path in (DATA / folder).iterdir())
    return {part for match in matches if match for part in match.groups()}


def column(path: Path, name: str) -> set[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row[name] for row in csv.DictReader(file)}


def labels_of(corpus: str) -> set[str]:
    if corpus == "ewave":
        languages = DATA / "ewave/languages.csv"
        matrix = (DATA / "ewave/multivalue_attestation_vectors.csv").read_text(encoding="utf-8")
        attested = set(next(csv.reader(matrix.splitlines()))) - {"feature_id"}
        return column(languages, "Name") | column(languages, "abbr") | attested
    if corpus in ("beidasinitic", "beidazihui"):
        languages = DATA / corpus / "languages.csv"
        return column(languages, "ID") | column(languages, "Name")
    if corpus == "storybooks":
        lines = text_of(DATA / "storybooks-parallel/pages.tsv.gz").splitlines()[1:]
        return {line.split("\t")[0] for line in lines}
    if corpus == "nusax":
        return set(text_of(DATA / "nusax/mt_valid.csv.gz").splitlines()[0].split(",")) - {""}
    if corpus == "moedict":
        header = text_of(DATA / "moedict-twblg-sentences/詞彙方言差.csv.gz").splitlines()[0]
        return set(header.split(",")[3:])
    if corpus == "wikihan":
        header = text_of(next((DATA / "wikihan").glob("*.gz"))).splitlines()[0]
        return {re.sub(r" \(.*\)", "", cell) for cell in header.split("\t")[1:]}
    if corpus == "lsdc":
        text = text_of(DATA / "ud-lowsaxon-lsdc/nds_lsdc-ud-train.conllu.gz")
        return set(re.findall(r"# sent_id = LSDC_\d+_([A-Z]+)_", text))
    if corpus == "maibaam":
        text = text_of(DATA / "ud-bavarian-maibaam/bar_maibaam-ud-test.conllu.gz")
        return set(re.findall(r"# dialect_group = (\w+)\n", text))
    folder, pattern = {
        "sib200": ("sib200", r"(\w{3}_\w{4})"),
        "tatoeba": ("tatoeba-v1", r"tatoeba\.(\w+)-(\w+)\.\w+"),
        "xsid": ("xsid-0.7", r"(.+)\.test\.conll\.gz"),
        "americasnli": ("americasnli-dev", r"(\w+)\.tsv\.gz"),
        "dialup": ("dialup-lexicons", r"(\w+)-(\w+)_content\.json\.gz"),
        "xl-wa": ("align-xlwa", r"(\w\w)"),
        "masakhapos": ("masakhapos", r"(\w\w\w)"),
        "masakhaner": ("masakhaner2", r"(\w\w\w)"),
    }[corpus]
    return names_in(folder, pattern)


COUNTS = {
    "ewave": 150,
    "beidasinitic": 18,
    "beidazihui": 19,
    "storybooks": 26,
    "nusax": 12,
    "moedict": 10,
    "wikihan": 9,
    "lsdc": 7,
    "maibaam": 6,
    "sib200": 31,
    "tatoeba": 20,
    "xsid": 10,
    "americasnli": 10,
    "dialup": 12,
    "xl-wa": 5,
    "masakhapos": 4,
    "masakhaner": 4,
}


@pytest.mark.parametrize("corpus", COUNTS)
def test_labels_of_the_evaluation_sets(corpus: str) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent; set ISOGLOSS_DATA to the folder of evaluation data")
    labels = labels_of(corpus)
    assert len(labels) >= COUNTS[corpus]
    for label in labels:
        builtin_table().resolve(label, corpus=corpus)


@pytest.mark.parametrize("corpus", ELSEWHERE)
def test_labels_of_speech_corpora(corpus: str) -> None:
    found = {
        builtin_table().resolve(label, corpus=corpus).code for label in ELSEWHERE[corpus].split()
    }
    synonyms = {"wenetspeech-yue"}
    assert len(found) == (1 if corpus in synonyms else len(ELSEWHERE[corpus].split()))
