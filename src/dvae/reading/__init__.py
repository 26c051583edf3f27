"""Arrays of files in the formats that people have, and which of them are fields and factors."""

from dvae.reading.files import Contents, StoredArray, open_file
from dvae.reading.layout import Selection, select_arrays

__all__ = ["Contents", "Selection", "StoredArray", "open_file", "select_arrays"]
