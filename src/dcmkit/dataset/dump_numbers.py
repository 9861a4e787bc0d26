"""Floating point numbers as text with the digits dcmdump prints.

DCMTK makes digits by multiplying the fraction by ten in double precision, so that 0.1 comes out as `0.1` with 17 digits
and 1/3 with a last digit that C's printf would not give. The same arithmetic here gives the same digits.
"""

from __future__ import annotations

import math


def float_text(number: float, precision: int) -> str:
    """`number` in the style of `%g` with that many digits."""
    if not math.isfinite(number):
        return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    sign = "-" if number < 0 else ""
    fraction, whole = math.modf(abs(number))
    digits = _whole_digits(whole)
    if len(digits) > precision or (not digits and fraction and fraction < 0.0001):
        return sign + _exponential(digits, fraction, precision - 1)
    return sign + _plain(digits, fraction, precision)


def _whole_digits(whole: float) -> list[int]:
    digits: list[int] = []
    while whole:
        rest, whole = math.modf(whole / 10)
        digits.append(int((rest + 0.01) * 10))
    return digits[::-1]


def _plain(digits: list[int], fraction: float, precision: int) -> str:
    before = digits or [0]
    after: list[int] = []
    left = precision - len(digits)
    if fraction and left:
        digit = 0
        while not digit and fraction:  # zeros right behind the point do not count
            fraction, tens = math.modf(fraction * 10)
            digit = int(tens)
            after.append(digit)
        left -= 1
        while left > 0 and fraction:
            fraction, tens = math.modf(fraction * 10)
            after.append(int(tens))
            left -= 1
    if fraction and math.modf(fraction * 10)[1] > 4:
        both = before + after
        if _round_up(both):
            both.insert(0, 1)
        before, after = both[: len(both) - len(after)], both[len(both) - len(after) :]
    text = "".join(map(str, before))
    tail = "".join(map(str, after)).rstrip("0")
    return f"{text}.{tail}" if tail else text


def _exponential(digits: list[int], fraction: float, precision: int) -> str:
    exponent, round_digit = 0, 0
    if digits:
        shown = digits[: precision + 1]
        exponent = len(digits) - 1
        left = precision + 1 - len(shown)
        if len(digits) > len(shown):
            round_digit, fraction = digits[len(shown)], 0.0
    else:
        digit = 0
        while not digit:
            exponent -= 1
            fraction, tens = math.modf(fraction * 10)
            digit = int(tens)
        shown, left = [digit], precision
    while left > 0 and fraction:
        fraction, tens = math.modf(fraction * 10)
        shown.append(int(tens))
        left -= 1
    if fraction:
        round_digit = int(math.modf(fraction * 10)[1])
    if round_digit > 4 and _round_up(shown):
        shown.insert(0, 1)
        exponent += 1
    tail = "".join(map(str, shown[1:])).rstrip("0")
    mantissa = f"{shown[0]}.{tail}" if tail else str(shown[0])
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _round_up(digits: list[int]) -> bool:
    """Add one to the last digit; whether a digit is to be put before the first one."""
    for at in range(len(digits) - 1, -1, -1):
        digits[at] += 1
        if digits[at] < 10:
            return False
        digits[at] = 0
    return True
