"""Measures labelling: answers under load and kills, hostile completions in a real browser, who is
let in."""
