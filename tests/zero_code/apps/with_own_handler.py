"""An application that brings a handler of ours, with options of its own, on some of its calls."""

import chat

from synap_integrations.langchain import SynapCallbackHandler

own = SynapCallbackHandler(conversation_id="own", user_id="ben")
for said in ("one", "two"):
    chat.chain.invoke({"said": said}, config={"callbacks": [own]})
chat.ask("other", "three")
