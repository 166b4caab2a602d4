"""What a model is: bundle format, networks, objectives, recipes, training, export, evaluation."""
