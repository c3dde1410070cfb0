"""What a run has to say, in lines, by Python's logging.

The logger is called "fsdd". Unless a program gives it handlers of its own, its lines are printed on standard output:
`logging.getLogger("fsdd").setLevel(logging.WARNING)` silences them.
"""

import logging

from fsdd.io import progress

logger = logging.getLogger("fsdd")


class Printing(logging.Handler):
    """Prints lines on what standard output is at the time: notebooks and tests put another in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        progress.tell(self.format(record))


def say(line: str) -> None:
    """Tell the user something."""
    if not logger.handlers:
        logger.addHandler(Printing())
        # Else those who also have a handler at the root, as some notebooks do, would read everything twice.
        logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    logger.info("%s", line)
