"""Laws of the tiled linear."""

from __future__ import annotations

import pytest
import torch

from kernels.linear import TILE, linear_reference, padded_rows, tiled_linear

SHAPES = [(24, 8), (48, 64), (192, 512), (512, 192), (200, 100), (1024, 1000)]


@pytest.mark.parametrize(("depth", "width"), SHAPES)
def test_rows_do_not_feel_their_place_or_their_neighbours(depth: int, width: int) -> None:
    """A row gives the same bits alone, at any place of a tile, in any tile, and beside any other rows."""
    torch.manual_seed(depth + width)
    weight, row = torch.randn(width, depth), torch.randn(depth)
    alone = tiled_linear(row[None], weight)[0]
    for rows in (2, 7, TILE, TILE + 1, 3 * TILE):
        others = torch.randn(rows, depth) * 100
        for place in {0, rows // 2, rows - 1}:
            others[place] = row
            assert torch.equal(tiled_linear(others, weight)[place], alone)


def test_a_broken_neighbour_stays_alone() -> None:
    """A row of NaN changes no other row."""
    weight, rows = torch.randn(40, 48), torch.randn(5, 48)
    sound = tiled_linear(rows, weight)
    rows[2] = torch.nan
    broken = tiled_linear(rows, weight)
    assert torch.equal(broken[[0, 1, 3, 4]], sound[[0, 1, 3, 4]]) and broken[2].isnan().all()


@pytest.mark.parametrize("shape", [(1, 48), (33, 48), (2, 5, 48), (0, 48)])
def test_the_tiled_linear_is_the_linear(shape: tuple[int, ...]) -> None:
    """Speed and definition agree to rounding, with any leading dimensions, none included."""
    x, weight = torch.randn(shape), torch.randn(20, 48)
    torch.testing.assert_close(tiled_linear(x, weight), linear_reference(x, weight))


def test_padding_is_whole_tiles() -> None:
    """Rows are padded up to whole tiles, and there is always one."""
    assert [padded_rows(n) for n in (0, 1, 32, 33)] == [32, 32, 32, 64]
