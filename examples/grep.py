"""The lines that match a regular expression, as text files, one for each part of the input that has any.

shoal run examples/grep.py --input LINK_OR_PATH --arg pattern='err(or)?' --out matches
"""

import re

from p2p.jobs import Inputs


def job(inputs: Inputs, pattern: str, ignore_case: bool = False) -> None:
    wanted = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    inputs.lines().filter(wanted.search).save("text")
