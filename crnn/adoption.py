"""Fine-tuning: a network that begins with the weights of another bundle, on the same charset or another."""

from dataclasses import asdict, dataclass

import torch

from crnn.charset import BLANK, Charset
from crnn.checkpoint import Bundle
from crnn.errors import ModelConfigError
from crnn.model import CRNN


@dataclass(frozen=True, kw_only=True, slots=True)
class Adoption:
    """Which classes began with what another recogniser knew."""

    copied: str
    """Characters whose rows of the last layer are the bundle's."""
    reset: str
    """Characters that the bundle doesn't read; their rows begin at random."""
    dropped: str
    """Characters that the bundle reads and the network won't."""

    def __str__(self) -> str:
        told = [f"{len(self.copied)} characters as they were"]
        told += [f"{len(self.reset)} new ones begin at random: {self.reset}"] if self.reset else []
        told += [f"{len(self.dropped)} given up: {self.dropped}"] if self.dropped else []
        return "; ".join(told)


@torch.no_grad()
def adopt(network: CRNN, charset: Charset, bundle: Bundle) -> Adoption:
    """Puts a bundle's weights into a network, in place.

    All layers are copied; of the last one, which has a row for each class, the rows of the blank and of
    every character that both read. From a bundle that folds case, a capital takes the row of its small
    letter, which has learnt both.

    Args:
        network: What will be trained.
        charset: Its charset.
        bundle: The recogniser to begin with.

    Raises:
        ModelConfigError: Its layers aren't the network's.
    """
    if bundle.network != network.config:
        mine, theirs = asdict(network.config), asdict(bundle.network)
        different = [key for key in mine if mine[key] != theirs[key]]
        raise ModelConfigError(
            f"The network to begin with has another {', '.join(different)}; weights fit the same layers "
            "only. Train with the network that the bundle has."
        )
    known = {c: i for i, c in enumerate(bundle.charset.characters, start=1)}
    rows, copied = {BLANK: BLANK}, ""
    for row, character in enumerate(charset.characters, start=1):
        source = known.get(character)
        if source is None and bundle.charset.fold_case:
            source = known.get(character.lower())
        if source is not None:
            rows[row] = source
            copied += character
    last = f"linears.{network.config.lstm_layers - 1}."
    state = network.state_dict()
    for name, tensor in bundle.weights.items():
        if name.startswith(last):
            state[name][list(rows)] = tensor[list(rows.values())].to(state[name].dtype)
        else:
            state[name].copy_(tensor)
    return Adoption(
        copied=copied,
        reset="".join(c for c in charset.characters if c not in copied),
        dropped="".join(c for c in bundle.charset.characters if c not in charset.characters),
    )
