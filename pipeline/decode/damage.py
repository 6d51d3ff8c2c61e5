"""What is wrong with a file that cannot be decoded."""

from pipeline.errors import DataError


class CorruptMedia(DataError):
    """A file that cannot be decoded whole; its message is the reason, without the name of the file."""
