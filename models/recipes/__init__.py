"""The one table of recipes: a name on the command line, a class."""

from models.recipes.cyclegan import CycleGAN
from models.recipes.pix2pix import Pix2Pix
from models.recipes.recipe import Recipe
from models.recipes.stargan import StarGAN

RECIPES: dict[str, type[Recipe]] = {"stargan": StarGAN, "cyclegan": CycleGAN, "pix2pix": Pix2Pix}
