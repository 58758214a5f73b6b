"""Parts of ``benchmark_transfer.py``."""
