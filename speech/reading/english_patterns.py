"""Patterns that several of the English rules are made of."""

NUM = r"(?:\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
START = r"(?<![\w.,])"
RANGE_SIGN = r"\s?[-–—]\s?"
