"""Writes nemo_english.txt: cases of NVIDIA's NeMo-text-processing (Apache-2.0) for english_cleaners_extended.

    python tests/golden/make_nemo.py CLONE_OF_NEMO_TEXT_PROCESSING

A case is "written~spoken". All cases of the classes in CLASSES are taken, in NeMo's order, but for those in
LEFT_OUT, where this project reads a notation otherwise on purpose, or not at all.
"""

from __future__ import annotations

import sys
from pathlib import Path

CLASSES = "cardinal ordinal decimal fraction math range measure money time date telephone".split()
FOLDER = Path("tests/nemo_text_processing/en/data_text_normalization")
OUTPUT = Path(__file__).with_name("nemo_english.txt")
LEFT_OUT = {
    # The decisions of this project: hours of 24 without "o'clock", "one pound twenty", ranges, round numbers by name.
    "23:00", "£1.20", "from 2-10", "2-5", "2x8", "13000", "123000", "US$76.3 trillion", "$.506", "01.10.2010",
    "1980-1970 kg", "1234-123kg", "11/17/05", "987.987.0.40", "3 cc/s", "2+3 m2", "170 - 45190",
    # Not notations of English, or misprints.
    *"1th 2th 3th 4rd 11st 12nd 13rd 21th 111st".split(),
    "1/2007", "12639/12640", "2 142/1", "1795 / 1805",
    # Not read.
    "1:59 p.m.est", "1:59 p.m. e.s.t", "10:00:00 p.m. e.s.t", "12/kg", "45º&C", "1980 s", "17 may 2010", "Jan-15-2020",
    "Jan-15", "15-01-2020", "15.01.2020", "340 A.D", "1998/2/30", "We have seen YoY growth in 2Q22",
}  # fmt: skip


def main(clone: Path) -> None:
    lines = []
    for name in CLASSES:
        for line in (clone / FOLDER / f"test_cases_{name}.txt").read_text(encoding="utf-8").splitlines():
            if "~" in line and line.partition("~")[0] not in LEFT_OUT:
                lines.append(line)
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
