"""Lets a thread of a live process die: put this folder on PYTHONPATH, then make the file that names process and thread.

Python imports it at its start. Where BEAMLOOP_DEATHS names a folder, the file `MODULE.THREAD` in there ends the
thread of that name in the process that runs that module, wherever it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from pathlib import Path


def _wait_for(folder: Path, module: str) -> None:
    while True:
        for thread in threading.enumerate():
            file = folder / f"{module}.{thread.name}"
            if thread.ident is not None and file.exists():
                file.unlink()
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(RuntimeError))
        time.sleep(0.05)


if "-m" in sys.orig_argv and "BEAMLOOP_DEATHS" in os.environ:
    _module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    threading.Thread(target=_wait_for, args=(Path(os.environ["BEAMLOOP_DEATHS"]), _module), daemon=True).start()
