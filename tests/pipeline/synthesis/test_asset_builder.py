"""pipeline.synthesis.asset_builder, on folders of few fonts: what is made, what is left out, what is told."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crnn.charset import LATIN94
from pipeline.errors import ConfigError, DataError, StorageError
from pipeline.storage import write_atomic
from pipeline.synthesis import asset_builder
from pipeline.synthesis.asset_builder import EXCLUSIONS, AssetsConfig, build_assets, default_assets
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.draws import WIDTH
from pipeline.synthesis.node_cache import cache_folder
from pipeline.synthesis.presets import scene
from pipeline.synthesis.render import Renderer
from pipeline.synthesis.words import Words, WordsConfig
from tests.fonts import altered

NAMES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif")


@pytest.fixture
def fonts(matplotlib_fonts: Path, tmp_path: Path) -> Path:
    """A folder with three faces of two designs, to which a test may add."""
    folder = tmp_path / "fonts"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(matplotlib_fonts / f"{name}.ttf", folder)
    return folder


def config(fonts: Path, **values: Any) -> AssetsConfig:
    few: dict[str, Any] = {
        "fonts": (str(fonts),),
        "fonts_at_hand": False,
        "packages": "none",
        "textures": 2,
        "language": "ms",
    }
    return AssetsConfig(**(few | values))


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def exclusions(folder: Path) -> list[dict[str, str]]:
    with (folder / EXCLUSIONS).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_same_inputs_give_the_same_bytes(fonts: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    build_assets(str(first), config(fonts))
    for path in fonts.iterdir():
        path.touch()
    build_assets(str(second), config(fonts))
    assert contents(first) == contents(second)


def test_other_inputs_give_another_fingerprint(fonts: Path, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("exit\n")
    prints = [
        build_assets(str(tmp_path / "out"), config(fonts, **values)).fingerprint
        for values in ({}, {"seed": 8}, {"characters": "abcABC0_"}, {"words": str(tmp_path / "own.txt")})
    ]
    assert len(set(prints)) == len(prints)


def test_every_font_is_used_or_told_with_its_reason(
    fonts: Path, tmp_path: Path, matplotlib_fonts: Path
) -> None:
    sans = matplotlib_fonts / "DejaVuSans.ttf"
    shutil.copy(sans, fonts / "copy.ttf")
    shutil.copy(matplotlib_fonts / "STIXSizOneSymReg.ttf", fonts / "symbols.ttf")
    (fonts / "cut.ttf").write_bytes(sans.read_bytes()[:9_000])
    altered(sans, fonts / "blank.ttf", {"k": "space"})
    altered(sans, fonts / "lacking.ttf", {"k": None})
    told: list[tuple[int, int]] = []
    assets = build_assets(str(tmp_path / "out"), config(fonts), lambda *done: told.append(done))
    reasons = {row["name"]: row["reason"] for row in exclusions(tmp_path / "out")}
    assert len(assets.faces) + len(reasons) == len(list(fonts.iterdir())) == 8
    assert reasons.pop("fonts/cut.ttf") in ("broken", "empty")
    assert reasons == {
        "fonts/copy.ttf": "duplicate",
        "fonts/symbols.ttf": "missing characters",
        "fonts/blank.ttf": "blank glyphs",
        "fonts/lacking.ttf": "missing characters",
    }
    assert sum(assets.record["exclusions"].values()) == 5
    assert assets.record["exclusions"]["missing characters"] == 2
    assert told == [(i, 8) for i in range(1, 9)]


def is_rendered(text: str, assets: Assets) -> bool:
    """Some draw of few gives a picture on which the text can be seen."""
    renderer, draws = Renderer(replace(scene(), designs="all"), assets, "train"), np.random.default_rng(5)
    pictures = [renderer.render(text, text, draws.random(WIDTH).tolist()) for _ in range(30)]
    return any(p is not None and p.label == text and p.contrast > 30 for p in pictures)


def test_kerning_and_accents_are_there_when_asked_for(fonts: Path, tmp_path: Path) -> None:
    assets = build_assets(str(tmp_path / "out"), config(fonts, characters="é" + LATIN94.characters + "ÖßЖ"))
    assert assets.characters == LATIN94.characters + "éÖßЖ"  # those that kern come first
    assert assets.index[:, assets.indices("éÖßЖ"), 6].all()
    assert assets.kerning.shape == (3, 94, 94)
    a, v = assets.indices("AV")
    assert (assets.kerning[:, a, v] < 0).all()
    assert all(is_rendered(text, assets) for text in ("éÖß", "Жé"))


def test_a_script_of_its_own_needs_nothing_of_ascii(fonts: Path, tmp_path: Path) -> None:
    assets = build_assets(str(tmp_path / "out"), config(fonts, characters="абвгдежзийкл", language="mk"))
    assert assets.index[:, :, 6].all()
    assert assets.kerning.shape == (3, 0, 0)
    assert assets.words.num_rows


def test_hangul_is_drawn_with_fonts_that_have_it(tmp_path: Path) -> None:
    nanum = [*cache_folder().glob("debian/fonts-nanum_*"), *Path("/usr/share/fonts").glob("**/nanum")]
    if not nanum:
        pytest.skip("needs Hangul fonts: python jobs/assets.py --more-packages fonts-nanum fetches them")
    characters = LATIN94.characters + "가나다라마바사아자차카타파하한글"
    assets = build_assets(str(tmp_path / "out"), config(nanum[0], characters=characters, language="ko"))
    drawn = assets.index[:, assets.indices("한글"), :]
    assert drawn[:, :, 6].all()
    assert (drawn[:, :, 1:3] > 20).all()  # a syllable is about as large as a capital
    texts = Words(assets, WordsConfig(), "train").sample(np.random.default_rng(3), 2_000)
    hangul = [text for text in texts if any(c >= "가" for c in text)]
    assert len(hangul) > 100
    assert is_rendered("한글", assets)


def test_characters_that_no_font_has_are_told_with_the_way_out(fonts: Path, tmp_path: Path) -> None:
    altered(fonts / "DejaVuSans.ttf", fonts / "DejaVuSans.ttf", {"a": None})
    told = (
        r"None of 3 .* all 3 characters .*fonts/DejaVuSans-Bold\.ttf comes nearest and lacks 한글\. .*--fonts"
    )
    with pytest.raises(ConfigError, match=told):
        build_assets(str(tmp_path / "out"), config(fonts, characters="a한글"))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_fonts_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="None of 0 font files"):
        build_assets(str(tmp_path / "out"), config(tmp_path / "empty"))


def test_one_design_alone_is_told(fonts: Path, tmp_path: Path) -> None:
    (fonts / "DejaVuSerif.ttf").unlink()
    with pytest.raises(ConfigError, match="1 usable font designs"):
        build_assets(str(tmp_path / "out"), config(fonts))


def test_an_empty_word_list_is_told_before_anything_is_written(fonts: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n\n")
    with pytest.raises(ConfigError, match=r"words\.txt is empty"):
        build_assets(str(tmp_path / "out"), config(fonts, words=str(tmp_path / "words.txt")))
    assert not (tmp_path / "out").exists()


def test_every_word_read_is_kept_or_counted(fonts: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("exit\t2\ncafé\nexit\n")
    assets = build_assets(str(tmp_path / "out"), config(fonts, words=str(tmp_path / "words.txt")))
    told = assets.record["words"]
    for table in told.values():
        assert table["read"] == table["kept"] + sum(table["rejected"].values())
    assert told["own"]["rejected"] == {"characters": 1, "twice": 1}
    assert sum(table["kept"] for table in told.values()) == assets.words.num_rows


def test_packages_that_can_not_be_had_are_counted_and_nothing_else_stops(
    fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assets = build_assets(str(tmp_path / "out"), config(fonts, more_packages=("fonts-x", "fonts-y")))
    assert assets.record["exclusions"] == {"package not there": 2}
    assert [row["name"] for row in exclusions(tmp_path / "out")] == ["fonts-x", "fonts-y"]


def test_a_packages_fonts_carry_its_version_and_licence(
    fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(fonts, cache_folder() / "debian" / "fonts-adf-accanthis_0.20" / "usr")
    package = replace(config(fonts, more_packages=("fonts-adf-accanthis",)), fonts=())
    assets = build_assets(str(tmp_path / "out"), package)
    assert {(face.package, face.version, face.licence) for face in assets.faces} == {
        ("fonts-adf-accanthis", "0.20", "GPL-2+ with font exception")
    }
    assert assets.record["packages"] == {"fonts-adf-accanthis": "0.20"}


def test_assets_are_not_replaced_by_poorer_ones(
    fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cached = cache_folder() / "debian" / "fonts-adf-accanthis_0.20"
    shutil.copytree(fonts, cached / "usr")
    package = config(fonts, more_packages=("fonts-adf-accanthis",))
    before = build_assets(str(tmp_path / "out"), package)
    shutil.rmtree(cached)
    with pytest.raises(StorageError, match=r"1 packages .*\(fonts-adf-accanthis\).*They stay"):
        build_assets(str(tmp_path / "out"), package)
    assert Assets.open(str(tmp_path / "out")).fingerprint == before.fingerprint
    assert (
        build_assets(str(tmp_path / "out"), config(fonts)).record["packages"] == {}
    )  # where that is asked for


def test_photographs_join_the_surfaces_and_bad_ones_are_counted(fonts: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.arange(700 * 200, dtype=np.uint8).reshape(200, 700)).save(
        tmp_path / "photos" / "a.png"
    )
    (tmp_path / "photos" / "b.png").write_bytes(b"broken")
    assets = build_assets(str(tmp_path / "out"), config(fonts, photographs=str(tmp_path / "photos")))
    assert assets.record["textures"] == {"formulas": 2, "photographs": 4}
    assert len(assets.textures) == 6
    assert assets.record["exclusions"] == {"broken photograph": 1}


def test_a_build_that_is_cut_short_leaves_no_assets_rather_than_mixed_ones(
    fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    build_assets(out, config(fonts))

    def full(uri: str, data: bytes) -> None:
        if uri.endswith("textures.npy"):
            raise StorageError("No space left")
        write_atomic(uri, data)

    with monkeypatch.context() as patch:
        patch.setattr(asset_builder, "write_atomic", full)
        with pytest.raises(StorageError):
            build_assets(out, config(fonts, seed=8))
    with pytest.raises(DataError, match="no finished assets"):
        Assets.open(out)
    assert build_assets(out, config(fonts)).faces


def test_licences_and_checksums_of_all_that_is_used_are_recorded(fonts: Path, tmp_path: Path) -> None:
    build_assets(str(tmp_path / "out"), config(fonts))
    record = json.loads((tmp_path / "out" / "assets.json").read_text())
    for face in record["faces"]:
        assert face["sha256"] == hashlib.sha256((fonts / face["file"]).read_bytes()).hexdigest()
        assert face["licence"] == "Bitstream Vera"
    del (found := contents(tmp_path / "out"))["assets.json"]
    assert found == {name: file["sha256"] for name, file in record["files"].items()}


def test_default_assets_are_made_once_of_what_is_at_hand_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing may be fetched
    caplog.set_level("INFO")
    first = default_assets()
    assert "Making out/assets of this machine's fonts" in caplog.text
    assert first.characters == LATIN94.characters
    assert {"train", "validation"} == {face.split for face in first.faces}
    caplog.clear()
    written = (tmp_path / "out" / "assets" / "assets.json").stat().st_mtime_ns
    assert default_assets().fingerprint == first.fingerprint
    assert (tmp_path / "out" / "assets" / "assets.json").stat().st_mtime_ns == written
    assert not caplog.text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"per_design": 0}, "at least 1"),
        ({"textures": 0}, "at least 1"),
        ({"characters": "aa"}, "more than once"),
        ({"characters": ""}, "at least one character"),
        ({"characters": "!?"}, "letters or digits"),
        ({"characters": "ab "}, "Glyphs are set one after the other"),
        ({"characters": "aب"}, "ب"),
        ({"characters": "aक\u0940"}, "joining or stacking"),
    ],
)
def test_what_can_not_be_drawn_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        AssetsConfig(**values)
