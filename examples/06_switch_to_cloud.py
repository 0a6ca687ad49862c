"""From the embedded Synap to the cloud: the same program, the environment decides.

Run:     python examples/06_switch_to_cloud.py                           the embedded Synap, no account
         SYNAP_API_KEY=… python examples/06_switch_to_cloud.py           the cloud
         SYNAP_BASE_URL=local python examples/06_switch_to_cloud.py      the embedded Synap, key or not
         SYNAP_BASE_URL=cloud python examples/06_switch_to_cloud.py      insists on the cloud: an error without a key
Prints:  which platform it uses and where the turns are. Without a key nothing is sent anywhere.
"""

from langchain_core.language_models import FakeListChatModel

import synap_integrations
from synap_integrations import Settings
from synap_integrations.langchain import SynapCallbackHandler

model = FakeListChatModel(responses=["Happy to meet you."])  # or yours


def main() -> None:
    settings = Settings.read()
    if settings.embedded:
        print(f"platform  embedded, in {settings.root}; set SYNAP_API_KEY for the cloud")
    else:
        host, port, _ = settings.stream_address
        print(f"platform  {settings.rest_url}, stream {host}:{port}")

    config = {"callbacks": [SynapCallbackHandler(user_id="ana", conversation_id="c-1")]}
    print(f"agent     {model.invoke('Hello, I am Ana.', config=config).text}")

    delivered = synap_integrations.flush(timeout_s=5)
    print("delivered" if delivered else "not delivered yet: it waits on disk")


if __name__ == "__main__":
    main()
