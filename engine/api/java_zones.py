"""Abbreviations of time zones, as Java's SimpleDateFormat reads them in the United States' English.

    "PST"  ──►  480 minutes behind UTC

The common ones; where several zones share one, it is the zone that Java takes. An abbreviation for summer means summer
time, whatever the date.

Used by: engine.api.java_date_patterns.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["zone_minutes"]

#: Minutes ahead of UTC, and the abbreviations for them.
_BY_MINUTES: Mapping[int, str] = {
    -660: "SST NUT",
    -600: "HST HAST",
    -540: "AKST HADT",
    -480: "PST AKDT",
    -420: "MST PDT",
    -360: "CST MDT GALT",
    -300: "EST CDT COT ECT PET ACT",
    -240: "AST EDT BOT CLT GYT VET PYT",
    -210: "NST",
    -180: "ADT ART BRT CLST GFT SRT UYT PMST",
    -150: "NDT",
    -120: "FNT PMDT",
    -60: "CVT AZOT",
    0: "UTC GMT WET AZOST",
    60: "CET MET WAT WEST BST",
    120: "EET CEST MEST CAT SAST IST",
    180: "MSK EAT EEST IDT TRT",
    210: "IRST",
    240: "GST AMT AZT GET MUT RET SAMT SCT",
    270: "AFT",
    300: "PKT MVT TJT TMT UZT YEKT",
    345: "NPT",
    360: "BDT BTT ALMT KGT OMST",
    390: "MMT",
    420: "ICT WIB KRAT NOVT CXT",
    480: "HKT SGT MYT AWST BNT IRKT ULAT",
    540: "JST KST WIT TLT YAKT",
    570: "ACST ACDT",
    600: "AEST CHST PGT VLAT",
    630: "LHST",
    660: "AEDT LHDT MAGT NCT SBT VUT",
    720: "NZST ANAT FJT TVT",
    765: "CHAST",
    780: "NZDT PHOT TKT TOT",
    825: "CHADT",
    840: "LINT",
}
_LONG_NAMES = {"coordinated universal time": 0, "greenwich mean time": 0}
_MINUTES = {
    **{name.lower(): minutes for minutes, names in _BY_MINUTES.items() for name in names.split()},
    **_LONG_NAMES,
}
_LENGTHS = sorted({*map(len, _MINUTES)}, reverse=True)


def zone_minutes(text: str, at: int) -> tuple[int, int] | None:
    """The minutes ahead of UTC of the zone that stands there, in either case, and where its name ends."""
    for length in _LENGTHS:
        minutes = _MINUTES.get(text[at : at + length].lower())
        if minutes is not None:
            return minutes, at + length
    return None
