"""The files of MovieLens's releases beside the ratings."""
