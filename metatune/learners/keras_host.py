"""The one place that loads TensorFlow and Keras, quietly; the other ``keras_*`` modules take them from here."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["alone", "keras", "native_stderr_closed", "set_threads", "tf"]

#: Held wherever Keras itself is at work, not only TensorFlow: a fit begins with ``clear_session``, which takes from all
#: threads what Keras notes while it makes, traces or calls a network.
alone = threading.RLock()


@contextmanager
def native_stderr_closed() -> Iterator[None]:
    """Keep what TensorFlow's native libraries write to file descriptor 2, whatever the log level, from the user."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with native_stderr_closed():
    import keras
    import tensorflow as tf


def set_threads(threads: int) -> None:
    """Let TensorFlow use ``threads`` threads; the first call of a process decides."""
    # TensorFlow accepts a number of threads only before its first operation.
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
