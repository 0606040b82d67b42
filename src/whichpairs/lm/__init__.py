"""The language model, and the little that every stage needs of it.

`model` loads one, `encode` turns text into token ids, `logprobs` scores completions, `sampler`
draws them. Everything here needs the extra ``whichpairs[torch]``; nothing here is imported by
``import whichpairs``.
"""
