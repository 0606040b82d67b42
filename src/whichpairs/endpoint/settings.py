"""How a server is asked: what a user can set, for every settings class that has these fields."""

from whichpairs.setting import Setting

KEY_VARIABLE = Setting("Name of the environment variable with the key.")
REQUESTS_AT_ONCE = Setting("Requests in flight to a server.", low=1)
REQUESTS_PER_MINUTE = Setting("The most; no limit if left out.")
RETRIES = Setting("How often a request that failed is sent again.", low=0)
TIMEOUT = Setting("Seconds for one answer.")
OF_A_SERVER = ("key_variable", "requests_at_once", "requests_per_minute", "retries", "timeout")
"""The names of the fields that these are for."""
