"""Dates are read and written as Java's SimpleDateFormat does it in the United States, in UTC.

What is expected here, Java 17 has answered.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.java_date_patterns import DatePattern

NOW_MS = 1_800_000_000_000  # 15 January 2027
DAY_MS = 86_400_000
MOMENTS = st.integers(-62_135_596_800_000, 253_402_300_799_999)  # the years 1 to 9999


@pytest.mark.parametrize(
    ("pattern", "text", "moment"),
    [
        ("yyyy-MM-dd", "2019-13-45", 1_581_638_400_000),
        ("yyyy-MM-dd", "2019-02-30 and more", 1_551_484_800_000),
        ("yyyy-MM-dd", "-5-1-1", -62_325_158_400_000),
        ("yyyy-MM-dd", "1582-10-10", -12_218_860_800_000),
        ("yyyy-MM-dd", "1582-10-04", -12_219_379_200_000),
        ("yyyy-MM-dd", " 2019- 8-  3", 1_564_790_400_000),
        ("yyyy-MM-dd", "2019 -08-03", None),
        ("yyyyMMdd", "20190823", 1_566_518_400_000),
        ("yyyyMMdd", "2019 823", 1_566_518_400_000),
        ("yyyyMMdd", "2019", None),
        ("yyyyMMddHHmm", "201908231", None),
        ("yyMMdd", "190823", 1_566_518_400_000),
        ("yy-M-d", "19-8-3", 1_564_790_400_000),
        ("yy-M-d", "119-8-3", -58_393_526_400_000),
        ("yy-M-d", "1-8-3", -62_117_280_000_000),
        ("y", "-1", -62_198_928_000_000),
        ("yyyy G", "5 BC", -62_293_622_400_000),
        ("G yyyy", "ad 5", -62_009_539_200_000),
        ("yyyy", "2E3", 946_684_800_000),
        ("yyyy-MM", "19E2-1", -2_208_988_800_000),
        ("HH:mm", "25:61", 93_660_000),
        ("HH:mm", "-1:30", -1_800_000),
        ("kk:mm", "24:00", 0),
        ("hh:mm a", "12:30 am", 1_800_000),
        ("hh:mm a", "12:30 PM", 45_000_000),
        ("hh a HH", "3 PM 5", 18_000_000),
        ("HH hh a", "5 3 PM", 54_000_000),
        ("K a", "0 PM", 43_200_000),
        ("a", "PM", 43_200_000),
        ("hh", "13", 46_800_000),
        ("SSS", "5", 5),
        ("SSSSSS", "123456", 123_456),
        ("s.S", "1.5", 1_005),
        ("d MMM yyyy", "3 aug 2019", 1_564_790_400_000),
        ("d MMM yyyy", "3 AUGUST 2019", 1_564_790_400_000),
        ("d MMM yyyy", "3 Augu 2019", None),
        ("MMMM", "Ma", None),
        ("EEE, d MMM yyyy HH:mm:ss Z", "Sat, 23 Aug 2019 14:34:54 +0130", 1_566_565_494_000),
        ("EEEE yyyy", "Monday 2019", 1_546_819_200_000),
        ("D yyyy", "366 2019", 1_577_836_800_000),
        ("D yyyy", "0 2019", 1_546_214_400_000),
        ("D", "60", 5_097_600_000),
        ("yyyy D MM-dd", "2019 60 8-3", 1_564_790_400_000),
        ("yyyy MM-dd D", "2019 8-3 60", 1_551_398_400_000),
        ("yyyy w", "2019 34", 1_566_086_400_000),
        ("yyyy w E", "2019 34 Fri", 1_566_518_400_000),
        ("E yyyy w", "Fri 2019 34", 1_566_518_400_000),
        ("YYYY-ww-u", "2019-34-5", 1_566_518_400_000),
        ("YYYY ww", "2019 1", 1_546_128_000_000),
        ("YYYY-ww-u", "2019-34-9", 1_566_864_000_000),
        ("YYYY-ww-u", "2019-34-0", 1_565_481_600_000),
        ("YYYY yyyy", "2019 2020", 1_577_836_800_000),
        ("yyyy YYYY", "2020 2019", 1_546_128_000_000),
        ("yyyy-MM W", "2019-08 2", 1_564_876_800_000),
        ("yyyy-MM W E", "2019-08 2 Fri", 1_565_308_800_000),
        ("yyyy-MM F E", "2019-08 3 Fri", 1_565_913_600_000),
        ("yyyy-MM F E", "2019-08 -1 Fri", 1_567_123_200_000),
        ("yyyy-MM E", "2019-08 Fri", 1_564_704_000_000),
        ("yyyy u", "2019 7", 1_546_732_800_000),
        ("F yyyy", "2 2019", 1_547_337_600_000),
        ("W yyyy w", "1 2019 34", 1_566_086_400_000),
        ("w yyyy W", "34 2019 1", 1_546_128_000_000),
        ("HH z", "1 PST", 32_400_000),
        ("HH z", "1 pdtX", 28_800_000),
        ("HH z", "1 GMT+2:30", -5_400_000),
        ("HH z", "1 GMT", 3_600_000),
        ("HH z", "1 GMT+2", None),
        ("HH z", "1 -0800", 32_400_000),
        ("HH z", "1 -08:00", None),
        ("HH z", "1 Nowhere", None),
        ("HH zzzz", "1 Coordinated Universal Time", 3_600_000),
        ("HH Z", "1 EST", 21_600_000),
        ("HH Z", "1 +2400", None),
        ("HHX", "1Z", 3_600_000),
        ("HHX", "1+02", -3_600_000),
        ("HHXX", "1+0230", -5_400_000),
        ("HHXXX", "1-02:30", 12_600_000),
        ("HHXXX", "1-0230", None),
        ("HHX", "1z", None),
        ("yyyy'y'", "2019y", 1_546_300_800_000),
        ("''yyyy''", "'2019'", 1_546_300_800_000),
        ("yyyy 'o''clock'", "2019 o'clock", 1_546_300_800_000),
        ("'x'", "x", 0),
        ("'x'", "y", None),
        ("yyyy-MM-dd", "", None),
        ("LLL yyyy", "Aug 2019", 1_564_617_600_000),
        ("yyyy", "\u0662\u0660\u0661\u0669", 1_546_300_800_000),
    ],
)
def test_a_text_is_read_as_java_reads_it(pattern: str, text: str, moment: int | None) -> None:
    found = DatePattern(pattern, now_ms=NOW_MS)
    if moment is None:
        with pytest.raises(ValueError) as raised:  # noqa: PT011  its message is the text
            found.parse(text)
        assert str(raised.value) == text
    else:
        assert found.parse(text) == moment


@pytest.mark.parametrize(
    ("pattern", "moment", "text"),
    [
        ("G y yy yyy yyyy yyyyy", 1_566_570_894_346, "AD 2019 19 2019 2019 02019"),
        ("G y yy yyy yyyy yyyyy", -62_200_000_000_000, "BC 3 03 003 0003 00003"),
        ("M MM MMM MMMM L LL LLL LLLL", 1_566_570_894_346, "8 08 Aug August 8 08 Aug August"),
        ("d dd D DDD F E EEEE u", 1_566_570_894_346, "23 23 235 235 4 Fri Friday 5"),
        ("w ww W Y YY YYYY", 1_566_570_894_346, "34 34 4 2019 19 2019"),
        ("w W Y", 1_577_750_400_000, "1 5 2020"),
        ("w W Y", -1, "1 5 1970"),
        ("H HH k K h a", 43_200_000, "12 12 12 0 12 PM"),
        ("H k K h a", 0, "0 24 0 12 AM"),
        ("m s S SS SSS SSSSS", 61_007, "1 1 7 07 007 00007"),
        ("z zzzz Z X XX XXX", 0, "UTC Coordinated Universal Time +0000 Z Z Z"),
        ("'a' '' 'b''c' %", 0, "a ' b'c %"),
        ("yyyy-MM-dd", -12_219_292_800_000, "1582-10-15"),
        ("yyyy-MM-dd", -12_219_292_800_001, "1582-10-04"),
        ("D", -1, "365"),
        ("yyyy", 300_000_000_000_000, "11476"),
    ],
)
def test_a_moment_is_written_as_java_writes_it(pattern: str, moment: int, text: str) -> None:
    assert DatePattern(pattern).format(moment) == text


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("nope", "Illegal pattern character 'n'"),
        ("yyyy T", "Illegal pattern character 'T'"),
        ("XXXX", "invalid ISO 8601 format: length=4"),
        ("yyyy 'x", "Unterminated quote"),
        ("b", "Illegal pattern character 'b'"),
        ("yyyy-MM-DDThh", "Illegal pattern character 'T'"),
    ],
)
def test_what_is_no_pattern_is_refused_in_javas_words(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  all of its message is compared
        DatePattern(pattern)
    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("text", "year"),
    [("27-01-15", 2027), ("47-01-14", 2047), ("47-01-16", 1947), ("46-01-01", 2046), ("99-01-01", 1999)],
)
def test_a_year_of_two_digits_is_at_most_80_years_ago(text: str, year: int) -> None:
    found = DatePattern("yy-MM-dd", now_ms=NOW_MS)
    assert DatePattern("yyyy").format(found.parse(text)) == str(year)


@given(
    MOMENTS,
    st.sampled_from(
        [
            "G yyyy-MM-dd HH:mm:ss.SSS",
            "yyyyMMddHHmmssSSS G",
            "EEE, d MMMM yyyy G hh:mm:ss.SSS a z",
            "D yyyy G K:m:s.S a XXX",
            "yyyy-MM-dd'T'HH:mm:ss.SSSX",
            "''yyyy'year' MM'month' dd k:mm:ss:SSS Z",
        ]
    ),
)
def test_what_is_written_is_read_back(moment: int, pattern: str) -> None:
    found = DatePattern(pattern)
    assert found.parse(found.format(moment)) == moment


@given(MOMENTS.map(lambda moment: moment // DAY_MS * DAY_MS))
def test_a_day_is_read_back_by_its_week(moment: int) -> None:
    for pattern in ("YYYY ww u", "yyyy MM W E", "yyyy MM F E"):
        found = DatePattern(pattern)
        if DatePattern("yyyyMMdd").format(moment) > "15821231":  # the weeks of 1582 are their own
            assert found.parse(found.format(moment)) == moment


@given(MOMENTS, st.text("0123456789-:T ZE", max_size=3), st.integers(0, 24))
def test_a_quick_look_finds_what_a_slow_one_finds(moment: int, noise: str, at: int) -> None:
    quick, slow = DatePattern("yyyy-MM-dd'T'HH:mm:ss.SSSX"), DatePattern("yyyy-MM-dd'T'HH:mm:ss.SSSX")
    slow._quick = None
    text = quick.format(moment)
    text = text[:at] + noise + text[at + len(noise) :]

    def read(pattern: DatePattern) -> int | None:
        try:
            return pattern.parse(text)
        except ValueError:
            return None

    assert read(quick) == read(slow)


@given(st.text("yMdHmsSEaGkKhDFwWuzZX'-: ", max_size=12), st.text(max_size=12), st.integers(-(2**63), 2**63 - 1))
def test_any_pattern_reads_and_writes_or_is_refused(pattern: str, text: str, moment: int) -> None:
    try:
        found = DatePattern(pattern)
    except ValueError:
        return
    assert isinstance(found.format(moment), str)
    try:
        assert isinstance(found.parse(text), int)
    except ValueError:
        return
