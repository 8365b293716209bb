"""The stages of a training on the driver: fitting the towers, fitting the re-ranker, measuring, and the final fit."""
