"""Kernels: what the reductions do to frames, compiled, at the speed of memory."""

from .blocks import BLOCK as BLOCK
from .blocks import blocks as blocks
from .compiled import compilations as compilations
from .first_moments import first_moments as first_moments
from .frame_sums import block_sums as block_sums
from .frame_sums import frame_sums as frame_sums
from .mask_sums import MASK_PIXELS as MASK_PIXELS
from .mask_sums import mask_sums as mask_sums
from .pixel_sums import add_frames as add_frames
from .pixel_sums import add_scatter as add_scatter
from .pixel_sums import add_squares as add_squares
from .tiles import LONE_BYTES as LONE_BYTES
from .tiles import TILE_BYTES as TILE_BYTES
from .tiles import fetch as fetch
from .tiles import no_frames as no_frames
from .tiles import plain as plain
from .tiles import rows_of as rows_of
from .tiles import tiles as tiles
