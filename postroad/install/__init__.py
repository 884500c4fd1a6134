"""A generation: built aside, judged, swapped in."""
