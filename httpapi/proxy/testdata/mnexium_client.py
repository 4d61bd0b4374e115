"""Drives the published client mnexium at BASE_URL and prints what it got, one
JSON value a line."""

import json
import sys

from mnexium import ChatProcessOptions, Mnexium, ProviderConfig
from mnexium.errors import RateLimitError

mnx = Mnexium(api_key="our-key", base_url=f"{sys.argv[1]}/api/v1", openai=ProviderConfig(api_key="provider-key"), max_retries=0)
chat = mnx.create_chat("user_123")
print(json.dumps(chat.process("What is next?").content))
stream = chat.process(ChatProcessOptions(content="What is next?", stream=True))
print(json.dumps([stream.text(), stream.subject_id, stream.usage.total_tokens]))
try:
    chat.process(ChatProcessOptions(content="What is next?", model="refused"))
except RateLimitError as error:
    print(type(error).__name__)
