"""The one exception whose message is meant for the person who ran the command."""


class PrefPaintError(Exception):
    """Something the user can mend: one sentence naming the file, row or key and what to do.

    The command line prints the message alone, without a traceback.
    """
