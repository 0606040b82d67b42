"""What labels will buy: predicted gaps, random's reach, and the labels that a design saves."""
