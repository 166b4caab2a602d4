"""What a decoder may do to its process; functions for `careful.Probe`, whose child imports this module alone."""

import os
import sys
import time

from worker.errors import TooLarge
from worker.imaging.decode import decode
from worker.settings import Limits

POISON = b"this crashes a decoder"
HONEY = b"this holds a decoder up"
SPY = b"this tells of the process"


def examine(data: bytes, limits: Limits) -> object:
    """As `decode`, but POISON kills the process, HONEY holds it up, and SPY raises what it is: its pid and imports."""
    if data == POISON:
        os._exit(139)
    if data == HONEY:
        time.sleep(1000)
    if data == SPY:
        heavy = {"onnxruntime", "obstore", "fastapi", "torch"}
        raise TooLarge(f"{os.getpid()} {','.join(sorted(heavy & sys.modules.keys()))}")
    return decode(data, limits)
