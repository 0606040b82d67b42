"""The client of any OpenAI-compatible server: requests, replies kept, refusals said."""
