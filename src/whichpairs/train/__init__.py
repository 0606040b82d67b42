"""Labels to a policy: fits in feature space, and DPO of the language model itself."""
