"""Zero code: this program imports nothing of ours. Say something on Monday, and ask for it on Tuesday.

    synap run examples/20_unchanged_chat.py monday "My sister Carla has broken her wrist"
    synap run --inject examples/20_unchanged_chat.py tuesday "What has my sister Carla broken?"

Prints the answer, and on Tuesday what the model was shown:

    agent   I see: My sister Carla has broken her wrist
"""

import sys

from langchain_core.language_models import SimpleChatModel
from langchain_core.messages import BaseMessage


class Reader(SimpleChatModel):
    """A model without a network: it reads out what it was shown. Put your own in its place."""

    @property
    def _llm_type(self) -> str:
        return "reader"

    def _call(self, messages: list[BaseMessage], stop=None, run_manager=None, **kwargs) -> str:
        return f"I see: {messages[-1].content}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    day, words = sys.argv[1:]
    answer = Reader().invoke(words, config={"metadata": {"thread_id": day, "user_id": "ana"}})
    print("agent  ", answer.content)
