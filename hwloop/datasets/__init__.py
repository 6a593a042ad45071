"""Tasks: encoded data with labels, split into train, validation and test. images, spoken digits, Yin-Yang.

Validation data come from the source's own validation set, else from the training set, never from the test set.
"""

from .. import files as files
from .data import Dataset as Dataset
from .data import Stimulus as Stimulus
from .data import Task as Task
from .data import collate as collate
from .data import split as split
from .data import subset as subset
from .filter_bank import FilterBank as FilterBank
from .image_tasks import emnist as emnist
from .image_tasks import fashion_mnist as fashion_mnist
from .image_tasks import mnist as mnist
from .image_tasks import mnist_stimulus as mnist_stimulus
from .image_tasks import resample_area as resample_area
from .spoken_digits_task import spoken_digits as spoken_digits
from .tonic_data import LabelledEvents as LabelledEvents
from .tonic_data import from_tonic as from_tonic
from .yin_yang_task import YIN_YANG_CLASSES as YIN_YANG_CLASSES
from .yin_yang_task import yin_yang as yin_yang
from .yin_yang_task import yin_yang_class as yin_yang_class
from .yin_yang_task import yin_yang_samples as yin_yang_samples
from .yin_yang_task import yin_yang_stimulus as yin_yang_stimulus
