"""How the files of a checkpoint or of a release become its parts: weights, tables, histories and item vectors."""
