"""The one exception that speaks to the user."""


class SyntheXError(Exception):
    """Bad input or an operation that cannot go on, told in one sentence.

    The message names the file or parameter, what was expected and what was found; the command line prints it and exits with status 2,
    the modules show it in a dialog.
    """
