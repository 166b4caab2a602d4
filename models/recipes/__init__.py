"""The one table of recipes: a name on the command line, a class."""

from models.recipes.recipe import Recipe
from models.recipes.stargan import StarGAN

RECIPES: dict[str, type[Recipe]] = {"stargan": StarGAN}
