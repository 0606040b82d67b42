"""Any OpenAI-compatible server: one client, its journal of answers, and the judge that asks through it."""
