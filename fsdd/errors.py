"""The one exception for what a person can mend."""


class UserError(Exception):
    """Bad input: a config field, a file or a folder.

    The message is a single line that names the field or file, the value found and what is allowed. The command line
    prints it without a traceback and exits with status 2.
    """
