"""Streams of a run: chunks numbered densely from 0, appended by steps, read while they are written.

::

    writing   append and close, under the stream's row lock; nothing is appended after the end
    pages     chunks by index; the end of a stream is seen only when nothing can follow
    reading   ``run.stream()`` and ``run.astream()``: page after page, waiting in between

A reader that has seen the end of a run and then takes the stream's lock knows that no chunk will follow.
"""
