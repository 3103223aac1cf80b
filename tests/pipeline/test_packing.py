"""Windows to packs: a permutation of the usable rows, the same every time, one width a pack."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from crnn.charset import ALNUM36, LATIN94
from crnn.networks import SMALL
from crnn.preprocess import PreprocessConfig, decode_image, line_image
from pipeline.errors import DataError
from pipeline.labels import LabelRules
from pipeline.order import Part, Position, Window
from pipeline.packing import Pack, Packer, Source
from pipeline.synthesis.stream import Stream
from tests.datasets import word_rows, write_data_set

RULES = LabelRules(charset=ALNUM36, preprocess=PreprocessConfig(), network=SMALL)
WORDS = [f"{'word' * (i % 3)}{i}" for i in range(90)]
WINDOW = Window.whole(index=4, epoch=1, shards=(2, 0))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """90 words, one of them without a label, one no image, one of another size than its row says."""
    rows: list[dict[str, Any]] = word_rows(WORDS)
    rows[3]["text"] = ""
    rows[5]["image"] = b"not an image"
    rows[7]["width"], rows[7]["height"] = 320, 32
    return rows


@pytest.fixture(scope="module")
def packer(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Packer:
    folder = str(tmp_path_factory.mktemp("data"))
    manifest = write_data_set(folder, rows, shard_rows=30)
    return packer_of(Source(uri=folder, content=manifest))


def packer_of(*sources: Source) -> Packer:
    return Packer(sources=sources, rules=RULES, pack_columns=512, seed=3)


def unpacked(tables: Iterator[pa.Table]) -> list[Pack]:
    return [Pack.from_table(table, 32, torch.device("cpu")) for table in tables]


def test_the_packs_of_a_window_hold_each_usable_row_of_its_shards_once(packer: Packer) -> None:
    packs = unpacked(packer.packs(WINDOW))
    kept = [id_ for pack in packs for id_ in pack.ids]
    rejected = {r["id"]: r["reason"] for pack in packs for r in pack.rejects}
    expected = {f"word-{i:05d}" for i in [*range(30), *range(60, 90)]} - {"word-00003"}
    assert rejected == {"word-00005": "not_an_image", "word-00007": "wrong_size"}
    assert len(kept) == len(set(kept))
    assert set(kept) | set(rejected) == expected
    assert [pack.pack for pack in packs] == list(range(len(packs)))
    assert {pack.packs_in_window for pack in packs} == {len(packs)}


def test_a_pack_holds_its_images_as_the_recogniser_would_prepare_them(
    packer: Packer, rows: list[dict[str, Any]]
) -> None:
    by_id = {row["id"]: row for row in rows}
    for pack in unpacked(packer.packs(WINDOW)):
        ends = np.cumsum([0, *pack.batch.target_lengths.tolist()])
        assert pack.batch.count == len(pack.ids)
        for i, id_ in enumerate(pack.ids):
            expected = line_image(decode_image(by_id[id_]["image"]), RULES.preprocess)
            assert np.array_equal(pack.batch.images_NCHW[i, 0].numpy(), expected)
            target = pack.batch.targets[ends[i] : ends[i + 1]].tolist()
            assert target == ALNUM36.encode(by_id[id_]["text"])
            assert pack.texts[i] == by_id[id_]["text"]


def test_packs_keep_to_their_budget_of_columns(packer: Packer) -> None:
    for pack in unpacked(packer.packs(WINDOW)):
        assert pack.batch.count == 1 or pack.batch.count * pack.batch.images_NCHW.shape[3] <= 512


def test_the_same_window_gives_the_same_packs_and_another_epoch_another_order(packer: Packer) -> None:
    def order(window: Window) -> list[list[str]]:
        return [pack.ids for pack in unpacked(packer.packs(window))]

    assert order(WINDOW) == order(WINDOW)
    later = Window.whole(index=9, epoch=2, shards=(2, 0))
    assert order(later) != order(WINDOW)
    assert {i for ids in order(later) for i in ids} == {i for ids in order(WINDOW) for i in ids}


def test_consumed_packs_are_left_out_and_the_others_stay_as_they_are(packer: Packer) -> None:
    whole = {pack.pack: pack.ids for pack in unpacked(packer.packs(WINDOW))}
    position = Position()
    for pack in (0, 2):
        position.consume(WINDOW.index, pack, len(whole))
    left = {
        pack.pack: pack.ids
        for pack in unpacked(packer.packs(WINDOW, skip=partial(position.is_consumed, WINDOW.index)))
    }
    assert left == {pack: ids for pack, ids in whole.items() if pack not in (0, 2)}


def test_a_pack_of_undecodable_images_keeps_its_place(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = word_rows(["ab"] * 4)
    for row in rows:
        row["image"] = row["image"][:40]
    manifest = write_data_set(str(tmp_path), rows, shard_rows=4)
    packer = packer_of(Source(uri=str(tmp_path), content=manifest))
    (pack,) = unpacked(packer.packs(Window.whole(index=0, epoch=0, shards=(0,))))
    assert pack.batch.images_NCHW.shape[0] == 0
    assert len(pack.rejects) == 4


def test_a_window_of_several_sets_holds_their_parts_and_ids_tell_the_set(tmp_path: Path) -> None:
    sources = []
    for name, count in (("a", 8), ("b", 3)):
        rows: list[dict[str, Any]] = word_rows([f"{name}{i}" for i in range(count)])
        rows[1]["text"] = "é"
        manifest = write_data_set(str(tmp_path / name), rows, shard_rows=8)
        sources.append(Source(uri=str(tmp_path / name), content=manifest, prefix=f"{name}/"))
    halves = [
        Window(index=index, parts=(Part(shard=0, epoch=0, start=start, stop=stop), *again))
        for index, (start, stop, again) in enumerate(
            (
                (0, 3, [Part(source=1, shard=0, epoch=epoch, start=0, stop=2) for epoch in range(2)]),
                (3, 7, []),
            )
        )
    ]
    packer = packer_of(*sources)
    ids, texts = [], {}
    for window in halves:
        packs = unpacked(packer.packs(window))
        ids.append([i for pack in packs for i in pack.ids])
        texts |= {i: t for pack in packs for i, t in zip(pack.ids, pack.texts, strict=True)}
    wanted = [f"a/word-{i:05d}" for i in range(8) if i != 1]
    assert sorted(i for i in ids[0] + ids[1] if i.startswith("a/")) == wanted
    assert sorted(i for i in ids[0] if i.startswith("b/")) == 2 * ["b/word-00000"] + 2 * ["b/word-00002"]
    assert len(ids[1]) == 4
    assert all(text == f"{i[0]}{int(i[-5:])}" for i, text in texts.items())


def test_a_window_of_a_stream_is_made_of_the_first_usable_rows_and_names_the_others_once(
    tiny_assets: str,
) -> None:
    # A stream for one charset and rules of a smaller one, so that something is rejected.
    stream = Stream.open(f"synth://scene?assets={tiny_assets}", LATIN94)
    packer = packer_of(Source(uri=stream.uri, content=stream, prefix="made/"))
    window = Window(index=2, parts=(Part(shard=6, epoch=0, stop=60),))
    packs = unpacked(packer.packs(window))
    wanted: list[str] = []
    unusable: list[str] = []
    for row in stream.shard(6):
        if len(wanted) == 60:
            break
        (unusable if ALNUM36.unsupported(row["text"]) else wanted).append(f"made/{row['id']}")
    assert unusable
    ids = [id_ for pack in packs for id_ in pack.ids]
    assert sorted(ids) == wanted
    assert ids != wanted
    assert [r["id"] for r in packs[0].rejects] == unusable
    assert {r["reason"] for r in packs[0].rejects} == {"outside_charset"}
    assert not any(pack.rejects for pack in packs[1:])
    rest = unpacked(packer.packs(window, skip=lambda pack: pack == 0))
    assert [pack.ids for pack in rest] == [pack.ids for pack in packs[1:]]
    assert not any(pack.rejects for pack in rest)


def test_a_stream_of_which_hardly_a_word_can_be_learnt_is_an_error(tiny_assets: str) -> None:
    stream = Stream.open(f"synth://easy?assets={tiny_assets}", LATIN94)
    narrow = LabelRules(charset=ALNUM36, preprocess=PreprocessConfig(min_width=8, max_width=8), network=SMALL)
    packer = Packer(sources=(Source(uri=stream.uri, content=stream),), rules=narrow, pack_columns=512, seed=3)
    with pytest.raises(DataError, match=r"synth://easy.* 0 words can be learnt of 1,001; .*px wide"):
        next(packer.packs(Window(index=0, parts=(Part(shard=0, epoch=0, stop=60),))))
