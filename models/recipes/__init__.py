"""The one table of recipes: a name on the command line, a class."""

from typing import Any

from models.recipes.cyclegan import CycleGAN
from models.recipes.pix2pix import Pix2Pix
from models.recipes.recipe import Recipe
from models.recipes.stargan import StarGAN

AnyRecipe = Recipe[Any]
"""A recipe by name; which options class belongs to it shows only at run time."""

RECIPES: dict[str, type[AnyRecipe]] = {"stargan": StarGAN, "cyclegan": CycleGAN, "pix2pix": Pix2Pix}
