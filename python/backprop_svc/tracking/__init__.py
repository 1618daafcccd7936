"""Where runs are kept."""

from backprop_svc.tracking.record import RunRecord, Sweep, Writer

__all__ = ["RunRecord", "Sweep", "Writer", "open_writer"]


def open_writer(uri: str, experiment: str) -> Writer:
    """Return the writer for a tracking URI; MLflow is imported here and not before."""
    from backprop_svc.tracking.client import ClientWriter

    return ClientWriter(uri, experiment)
