"""Line drawings have lines where colours meet and nowhere else, the same on every machine."""

import hashlib

import numpy as np
from PIL import Image, ImageDraw

from models.drawn.line_drawing import SCALE, draw_lines


def ink(picture: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The opacity of the drawing of a picture, at twice its resolution."""
    return np.asarray(draw_lines(picture).getchannel("A"))


def test_a_disc_becomes_a_ring() -> None:
    """Ink lies along the rim of a red disc, thin and closed, and neither inside nor outside."""
    picture = Image.new("RGBA", (60, 60))
    ImageDraw.Draw(picture).ellipse((10, 10, 50, 50), fill=(200, 30, 30))
    drawn = ink(picture)
    assert drawn.shape == (60 * SCALE, 60 * SCALE)
    rows, columns = np.indices(drawn.shape)
    middle = 30 * SCALE
    radius = np.hypot(rows - middle, columns - middle)
    assert not drawn[(radius < 17 * SCALE) | (radius > 24 * SCALE)].any()
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    for turn in turns:
        reach = np.arange(17 * SCALE, 24 * SCALE)
        ray = drawn[
            np.rint(middle + reach * np.sin(turn)).astype(int), np.rint(middle + reach * np.cos(turn)).astype(int)
        ]
        assert ray.max() > 200
        assert (ray > 100).sum() <= 3 * SCALE


def test_white_on_nothing_is_draw_lines() -> None:
    """A white shape on a transparent ground has an outline, by its opacity."""
    picture = Image.new("RGBA", (40, 40))
    ImageDraw.Draw(picture).rectangle((10, 10, 29, 29), fill=(255, 255, 255))
    assert ink(picture).max() > 200


def test_slow_changes_have_no_lines() -> None:
    """A gradient over the whole picture, and an empty picture, stay without ink."""
    ramp = np.zeros((40, 40, 4), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 40).astype(np.uint8)
    ramp[..., 3] = 255
    framed = ink(Image.fromarray(ramp))
    assert not framed[6 * SCALE : -6 * SCALE, 6 * SCALE : -6 * SCALE].any()
    assert not ink(Image.new("RGBA", (40, 40))).any()


def test_lines_are_the_known_ones() -> None:
    """A drawing has the same bytes as in the first version."""
    picture = Image.new("RGBA", (48, 40))
    draw = ImageDraw.Draw(picture)
    draw.polygon([(4, 36), (24, 4), (44, 36)], fill=(40, 120, 200))
    draw.rectangle((20, 22, 28, 30), fill=(250, 210, 60))
    assert hashlib.sha256(ink(picture).tobytes()).hexdigest()[:16] == "aeca004771ba9da7"
