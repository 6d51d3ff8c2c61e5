"""The exceptions that a user is meant to read.

Their message is one line: where, what was found, what was expected, how to fix it.
"""


class LacunaError(Exception):
    """Anything that a user can mend; stages print its message without a traceback."""


class ParamsError(LacunaError):
    """params.yaml holds something that the pipeline does not accept."""


class DataError(LacunaError):
    """A file or a folder is not what it should be."""


class ContractError(LacunaError):
    """A method, corpus or extractor breaks its protocol."""
