"""Completions to vectors φ(x, y): what a completion would teach the policy.

`gradient` is the feature map of the theory (the gradient of log π_ref, projected); `hidden` is the
cheap stand-in. Both need the extra ``whichpairs[torch]``.
"""
