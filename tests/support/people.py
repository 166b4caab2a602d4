"""Pictures of drawn people, for what looks for faces."""

from PIL import Image

from models.drawn.person import person
from models.drawn.portrait import Portrait

EYES = ((0.403, 0.526), (0.595, 0.526))
"""Where their eyes stand in the square, the left one of the picture first; they vary by 1 %."""

Place = tuple[int, int, int, int]
"""Which person, the side of the square it is drawn in, and that square's left and top."""

_SEED = 9
_WALL = (90, 110, 130)


def people(size: tuple[int, int], *places: Place) -> Image.Image:
    """An RGB picture of these people before a plain wall."""
    picture = Image.new("RGB", size, _WALL)
    for index, side, left, top in places:
        picture.paste(Image.fromarray(Portrait(person(_SEED, index)).draw(side)), (left, top))
    return picture
