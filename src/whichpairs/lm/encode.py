"""Text to token ids, the same for scoring, features and training.

Prompt and completion are tokenised apart and joined, so that a completion has the same tokens
whatever comes before it. For byte-level BPE that is exact: any cut of a text between tokens is a
cut between bytes. (A SentencePiece tokenizer may begin a completion with a blank of its own.)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whichpairs.chat import CALLS, spoken
from whichpairs.errors import UserError
from whichpairs.types import Example, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Prompt = str | Sequence[Mapping[str, Any]]
"""A prompt's text, or its chat messages as ``{"role", "content"}`` mappings."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a prompt (at least one) and a completion (none, if unfinished and empty)."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def encode(
    tokenizer: "PreTrainedTokenizerBase", example: Example, max_length: int | None = None
) -> Encoded:
    """Token ids of one completion and its prompt; see `encode_all`."""
    return encode_all(tokenizer, [example], max_length)[0]


def encode_all(
    tokenizer: "PreTrainedTokenizerBase", examples: Sequence[Example], max_length: int | None = None
) -> list[Encoded]:
    """Token ids of completions and their prompts.

    A string is taken as it stands (a special token written in a prompt counts as that token, one
    written in a completion is plain text); an empty prompt is the beginning- or end-of-sequence
    token; messages go through the tokenizer's chat template. The end-of-sequence token follows a
    completion if and only if it is finished; in a conversation, what the template puts between
    the two (an end-of-turn token, say) belongs to the completion.

    Args:
        max_length: the most tokens of prompt and completion together (at least 2). Where there
            are more, the completion keeps its start and the prompt its end, neither cut below
            half of `max_length`.

    Raises:
        UserError: a prompt of messages and a tokenizer without chat template; `max_length` below 2.
    """
    prompts = {_key(e.prompt): e.prompt for e in examples}
    prompt_ids = {key: encode_prompt(tokenizer, prompt) for key, prompt in prompts.items()}
    texts = _tokens(tokenizer, [e.completion for e in examples], split_special=True)
    encoded = []
    for example, ids in zip(examples, texts, strict=True):
        calls = _calls(tokenizer, example)
        if isinstance(example.prompt, str) or calls is not None:
            before, after = list[int](), [int(tokenizer.eos_token_id)]
            ids = ids if calls is None else calls
        else:
            before, after = _around(tokenizer, example)
        whole = (*before, *ids, *(after if example.finished else []))
        start = prompt_ids[_key(example.prompt)]
        keep_prompt, keep = lengths_within(len(start), len(whole), max_length)
        encoded.append(Encoded(start[len(start) - keep_prompt :], whole[:keep]))
    return encoded


def encode_prompt(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt) -> tuple[int, ...]:
    """Token ids that a completion of `prompt` follows, at least one.

    A beginning-of-sequence token is put before a string where the tokenizer does so by itself.

    Raises:
        UserError: messages, and a tokenizer without chat template.
    """
    text = prompt if isinstance(prompt, str) else _template(tokenizer, prompt, True)
    (ids,) = _tokens(tokenizer, [text], split_special=False)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if not ids:
        return (int(bos if bos is not None else eos),)
    if isinstance(prompt, str) and bos is not None and ids[0] != bos and _adds_bos(tokenizer):
        ids = [int(bos), *ids]
    return tuple(ids)


def lengths_within(prompt: int, completion: int, max_length: int | None) -> tuple[int, int]:
    """How many tokens to keep of the end of a prompt and of the start of a completion.

    Raises:
        UserError: `max_length` below 2.
    """
    if max_length is None or prompt + completion <= max_length:
        return prompt, completion
    if max_length < 2:
        raise UserError("max_length must be at least 2 tokens", f"got {max_length}")
    kept = min(prompt, max(max_length - completion, max_length // 2))
    return kept, max_length - kept


def decode(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[Sequence[int]]) -> list[str]:
    """The texts of token ids: no special tokens, no broken character at the end.

    A length limit can fall inside a character of several byte tokens; what is left of it decodes
    to U+FFFD, and is dropped here. (Inside a text U+FFFD stays, where a model wrote bytes that
    are no character.)
    """
    if not ids:
        return []
    texts = tokenizer.batch_decode(
        [list(one) for one in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [text.rstrip("\ufffd") for text in texts]


def _key(prompt: str | tuple[Message, ...]) -> Any:
    return prompt if isinstance(prompt, str) else (json.dumps(prompt, sort_keys=True),)


def _tokens(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], *, split_special: bool
) -> list[list[int]]:
    """Token ids of bare texts: nothing added; special tokens read as such, or as plain text."""
    if not texts:
        return []
    return tokenizer(  # type: ignore[no-any-return]
        list(texts),
        add_special_tokens=False,
        split_special_tokens=split_special,
        return_attention_mask=False,
        verbose=False,
    )["input_ids"]


def _adds_bos(tokenizer: "PreTrainedTokenizerBase") -> bool:
    ids = tokenizer("a", verbose=False)["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id


def _template(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Mapping[str, Any]], generation: bool
) -> str:
    """The conversation as the model reads it."""
    if tokenizer.chat_template is None:
        raise UserError(
            "prompts given as chat messages need a tokenizer with a chat template",
            "this one has none",
            "Use a chat model, or give the prompts as plain text",
        )
    from jinja2 import TemplateError

    chat = [_for_template(tokenizer, m) for m in messages]
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=generation)
    except TemplateError as error:
        raise UserError(
            "chat messages must be such as the model's chat template takes", f"it says: {error}"
        ) from error
    return str(text)


def _for_template(tokenizer: "PreTrainedTokenizerBase", message: Mapping[str, Any]) -> Message:
    """The message, with its calls as JSON in its content where the template knows of none."""
    known = str(tokenizer.chat_template)
    unknown = [key for key in CALLS if key in message and key not in known]
    if not unknown:
        return dict(message)
    rest = {key: value for key, value in message.items() if key not in unknown}
    return {**rest, "content": spoken(message, unknown)}


def _calls(tokenizer: "PreTrainedTokenizerBase", example: Example) -> list[int] | None:
    """Tokens of an assistant's whole message as the chat template writes it, without its end token.

    None where the completion is a text alone, or the template does not show all of the message:
    then the completion's text is taken, in which the rest stands as JSON.
    """
    message, known = example.message, str(tokenizer.chat_template)
    if message is None or isinstance(example.prompt, str):
        return None
    if not all(key in known for key in message):
        return None
    prompt = _template(tokenizer, example.prompt, True)
    whole = _template(tokenizer, (*example.prompt, message), False)
    if not whole.startswith(prompt):
        return None
    (ids,) = _tokens(tokenizer, [whole[len(prompt) :]], split_special=False)
    eos = int(tokenizer.eos_token_id)
    return ids[: ids.index(eos)] if eos in ids else ids


def _around(tokenizer: "PreTrainedTokenizerBase", example: Example) -> tuple[list[int], list[int]]:
    """Tokens that the chat template puts before and after a completion, to the end token.

    Where the template does not show prompt and completion as they are (it trims, or rewrites
    earlier turns), nothing comes before, and the end token alone after.
    """
    assert not isinstance(example.prompt, str)
    turn = {"role": "assistant", "content": example.completion}
    prompt = _template(tokenizer, example.prompt, True)
    whole = _template(tokenizer, (*example.prompt, turn), False)
    rest = whole[len(prompt) :]
    eos = int(tokenizer.eos_token_id)
    at = rest.find(example.completion) if example.completion else -1
    if not whole.startswith(prompt) or at < 0:
        return [], [eos]
    tail = rest[at + len(example.completion) :]
    before, after = _tokens(tokenizer, [rest[:at], tail], split_special=False)
    return before, [*after[: after.index(eos)], eos] if eos in after else [*after, eos]
