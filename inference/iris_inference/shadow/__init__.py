"""Shadow traffic: answered requests are mirrored to the canary and its control group; no client gets their responses.

config.py reads whether, how many and where to; sender.py sends them through http_client.py and compares the responses;
receiver.py serves them on the other side, with the tokens of shadow_token.py.
"""
