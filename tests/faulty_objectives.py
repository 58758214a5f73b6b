"""Objectives with real faults, which a process that is spawned can import."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time


def good(configuration):
    return configuration["x"]


def noted(configuration):
    print("noted", flush=True)
    return 1.0


def where(configuration):
    """The number of the process that judges."""
    return os.getpid()


def hangs(configuration):
    """At 0.5; else the number of the process."""
    while configuration["x"] == 0.5:
        time.sleep(60)
    return os.getpid()


def hangs_in_c(configuration):
    """Without letting any other thread of the process run: no handler of a signal and no watchdog could."""
    ctypes.PyDLL(None).sleep(60)


def closes_its_files_and_hangs(configuration):
    """As a program does that makes a daemon of itself."""
    if configuration["x"] == 0.5:
        os.closerange(3, 65536)
        time.sleep(60)
    return configuration["x"]


def segfaults(configuration):
    ctypes.string_at(0)


def aborts(configuration):
    os.kill(os.getpid(), signal.SIGABRT)


def exits(configuration):
    sys.exit(3)


def eats_memory(configuration):
    held = []
    while True:
        held.append(b"x" * 10_000_000)
        time.sleep(0.005)


def raises(configuration):
    raise ZeroDivisionError("by zero")


FAULTS = (hangs_in_c, segfaults, aborts, exits, eats_memory, raises)


def has_faults(configuration):
    """The faults in turn at 0.00, 0.01, ...; none above 0.5."""
    if configuration["x"] < 0.5:
        return FAULTS[round(100 * configuration["x"])](configuration)
    return configuration["x"]


def leaves_memory(configuration, held=[]):  # noqa: B006
    """What a trial does not free; each would fit alone."""
    held.append(b"x" * 120_000_000)
    return configuration["x"]


def reports(configuration, report):
    for step in range(1, 6):
        report(step, configuration["x"] * step)
    if configuration["x"] == 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
    return configuration["x"]


def starts_another(configuration):
    """A process of its own, which outlives it; its number is in the file that the environment names."""
    with open(os.environ["FAULTY_PID"], "w") as file:
        file.write(str(subprocess.Popen(["sleep", "120"]).pid))
    if configuration["x"] == 0.5:
        time.sleep(60)
    return configuration["x"]


def eats_memory_and_reports(configuration, report):
    """Reports more often than anybody looks at its memory."""
    held = []
    for step in range(1, 121):
        held.append(b"x" * 10_000_000)
        report(step, configuration["x"])
        time.sleep(0.005)
    return configuration["x"]


def dies_afterwards(configuration):
    """The number of the process, which dies between this trial and the next."""
    if configuration["x"] == 0.25:
        threading.Timer(0.2, os._exit, (1,)).start()
    return os.getpid()


class Unloadable:
    """Cannot be made again in another process."""

    def __call__(self, configuration):
        return 1.0

    def __reduce__(self):
        return (_fail, ())


def _fail():
    raise OSError("no such device")
