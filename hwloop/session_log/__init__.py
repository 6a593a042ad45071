"""Sessions with a device, recorded as they happen and served back without it."""

from .content import LogContent as LogContent
from .content import answer as answer
from .content import difference as difference
from .content import read_log as read_log
from .recorder import RecordedDevice as RecordedDevice
from .recorder import SessionLog as SessionLog
from .recorder import record_session as record_session
from .records import Damage as Damage

__all__ = ["Damage", "LogContent", "RecordedDevice", "SessionLog", "answer", "difference", "read_log", "record_session"]
