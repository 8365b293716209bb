"""How a release is made: the draft, the steps from draft to release, and the seal."""
