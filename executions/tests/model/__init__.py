"""A pure model of runs, and the task whose real runs must do what the model says."""
