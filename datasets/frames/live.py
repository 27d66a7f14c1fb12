"""Frames as they come: a folder that is being written, a stream, a video."""

import os

from fieldsight.datasets.frames.inputs import Input


def follow(
    source: str | os.PathLike[str],
    *,
    idle_s: float | None = None,
    poll_s: float = 0.05,
    frames_per_second: float | None = None,
) -> Input:
    """An input whose frames are given as they arrive.

    Args:
        source: a folder that is being written, a video file, or a stream's address
            (tcp, udp, rtp, rtsp, http).
        idle_s: end when no frame came for so long; None waits on.
        poll_s: how often a folder is looked at.
        frames_per_second: of a folder; `time_s` is when a picture was seen where None.

    Raises:
        DataError: if there is no such source, or it is no stream.
    """
    raise NotImplementedError
