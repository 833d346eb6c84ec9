"""The most frequent words of texts.

shoal run examples/wordcount.py --input LINK_OR_PATH
shoal run examples/wordcount.py --input LINK_OR_PATH --arg top=50
"""

from p2p.jobs import Inputs


def job(inputs: Inputs, top: int = 20) -> list[tuple[str, int]]:
    return (
        inputs.lines()
        .flat_map(str.split)
        .map(lambda word: (word.lower(), 1))
        .reduce_by_key(lambda a, b: a + b)
        .top(top, key=lambda pair: pair[1])
    )
