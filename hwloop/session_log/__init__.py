"""Sessions with a device, recorded as they happen and served back without it."""

from .asked import Asked as Asked
from .content import LogContent as LogContent
from .content import answer as answer
from .content import difference as difference
from .content import read_log as read_log
from .log_file import SessionLog as SessionLog
from .recorder import RecordedDevice as RecordedDevice
from .recorder import record_session as record_session
from .records import Damage as Damage
from .script import Script as Script

__all__ = [
    "Asked", "Damage", "LogContent", "RecordedDevice", "Script", "SessionLog", "answer", "difference", "read_log", "record_session",
]  # fmt: skip
