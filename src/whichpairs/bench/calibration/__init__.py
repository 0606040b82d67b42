"""Do probabilities and intervals mean what they say?"""
