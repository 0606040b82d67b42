"""Which pairs, by whom: adaptive, bounded, the strongest signal, the paper's draw."""
