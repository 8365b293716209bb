"""What a training decides on the validation part, and a checkpoint holds in its manifest."""
