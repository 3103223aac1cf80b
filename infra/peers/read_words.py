"""Reads a folder of word images with somebody else's recogniser: a JSON object of the texts and the seconds.

Run by its own Python: out/peers/readers/bin/python infra/peers/read_words.py READER FOLDER. Files in the
order of their names; an image that the reader fails on gives an empty text.
"""

import io
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

TESSDATA = Path(__file__).resolve().parents[2] / "out/peers/tessdata"
Read = Callable[[Image.Image], str]


def tesseract() -> Read:
    """Tesseract's English LSTM, told that the picture is one word."""
    import tesserocr

    engine = tesserocr.PyTessBaseAPI(path=str(TESSDATA), lang="eng", psm=tesserocr.PSM.SINGLE_WORD)

    def read(image: Image.Image) -> str:
        engine.SetImage(image)
        return str(engine.GetUTF8Text()).strip()

    return read


def pp_ocrv4() -> Read:
    """PP-OCRv4's recogniser as RapidOCR carries it."""
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)

    def read(image: Image.Image) -> str:
        found, _ = engine(_bgr(image), use_det=False, use_cls=False, use_rec=True)
        return str(found[0][0]) if found else ""

    return read


def pp_ocrv6_small() -> Read:
    """PP-OCRv6 small's recogniser as RapidOCR carries it."""
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    engine = RapidOCR(params={**threads, "Global.log_level": "critical"})

    def read(image: Image.Image) -> str:
        found = engine(_bgr(image), use_det=False, use_cls=False, use_rec=True)
        return str(found.txts[0]) if found.txts else ""

    return read


READERS = {"tesseract": tesseract, "pp-ocrv4": pp_ocrv4, "pp-ocrv6-small": pp_ocrv6_small}


def _bgr(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def main(reader: str, folder: str) -> None:
    """Prints the texts; decoding counts as reading."""
    logging.disable(logging.CRITICAL)
    files = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    read, texts = READERS[reader](), []
    read(Image.new("RGB", (100, 32), "white"))
    began = time.perf_counter()
    for data in files:
        try:
            texts.append(read(Image.open(io.BytesIO(data)).convert("RGB")))
        except Exception:  # whatever it is that theirs can't read
            texts.append("")
    sys.stdout.write(json.dumps({"texts": texts, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
