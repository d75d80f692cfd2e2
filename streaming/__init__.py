"""Bytes, sockets, files and reductions; heavy parts have doors of their own: `reduce`, `files`."""
