"""The campaign: scenarios run one after another under every plan, with open-loop load."""
