"""The one exception for what a person can mend, and other exceptions in a line."""

import importlib.util


class UserError(Exception):
    """Bad input: a config field, a file or a folder.

    The message is a single line that names the field or file, the value found and what is allowed. The command line
    prints it without a traceback and exits with status 2.
    """


class Diverged(UserError):
    """A loss or a state is no longer a number.

    Attributes:
        step: the first step at which that was seen.
    """

    def __init__(self, message: str, step: int):
        """With the line to show."""
        super().__init__(message)
        self.step = step


def one_line(error: BaseException) -> str:
    """An exception's message as one line of at most 300 characters, or its type where the message is empty."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def require(extra: str, what: str, *modules: str) -> None:
    """Check that what an extra of this package brings is installed.

    Args:
        extra: its name in pyproject.toml.
        what: what needs it.
        modules: the modules that are needed of it.

    Raises:
        UserError: one of them is missing; the line says what to install.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"{what} needs {missing[0]}, which is not installed; run pip install 'fsdd[{extra}]'")
