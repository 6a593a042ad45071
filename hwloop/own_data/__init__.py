"""Tasks from files of the user's own: tables of spike times or values, folders of recordings, images.

Nothing is guessed: inputs, classes, unit of time and split are stated and compared with what the files hold. What does not
agree is refused with file, row, value and what is allowed.
"""

from .data_digests import FileDigest as FileDigest
from .data_digests import changed_files as changed_files
from .data_digests import digests_of as digests_of
from .event_folders import Clock as Clock
from .event_folders import recordings as recordings
from .image_files import images as images
from .parts_of_data import Parts as Parts
from .parts_of_data import Source as Source
from .parts_of_data import class_counts as class_counts
from .table_files import spike_times as spike_times
from .table_files import values as values
