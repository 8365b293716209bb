"""What the views are made of: text, bars, badges, plots, controls."""
