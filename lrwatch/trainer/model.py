"""A GPT over bytes, and its parameter groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrwatch.contract import Contract
from lrwatch.errors import ContractError
from lrwatch.trainer.data import VOCABULARY
from lrwatch.trainer.settings import Size

DROPOUT = 0.1
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.95)


class GPT(nn.Module):
    """Pre-norm decoder. ``forward``: int64[b, c] bytes → float[b, c, 256] logits of the next byte."""

    def __init__(self, size: Size):
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, size.width)
        self.place = nn.Embedding(size.context, size.width)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.Sequential(*(Block(size.width, size.heads) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, VOCABULARY, bias=False)
        self.apply(_initialise)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.dropout(self.token(tokens) + self.place(places))
        logits: Tensor = self.head(self.norm(self.blocks(hidden)))
        return logits


class Block(nn.Module):
    """Causal self-attention and a two-layer perceptron, each behind a norm and a residual connection."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self._attend(self.norm1(x)))
        x = x + self.dropout(self.mlp(self.norm2(x)))
        return x

    def _attend(self, x: Tensor) -> Tensor:
        b, c, w = x.shape
        q, k, v = self.qkv(x).view(b, c, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        projected: Tensor = self.out(mixed.transpose(1, 2).reshape(b, c, w))
        return projected


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats per byte, a scalar."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def adamw(model: GPT, contract: Contract) -> torch.optim.AdamW:
    """AdamW with the contract's base values, one parameter group per group that the contract names.

    Without ``lr.groups`` there is one unnamed group. Parameters that no named group claims form ``rest``.
    Base LR of a group: its own ``base`` or the signal's, times its ``scale``.
    """
    signal = contract.signals["lr"]
    members: dict[str, list[nn.Parameter]] = {name: [] for name in (*signal.groups, "rest")}
    for name, parameter in model.named_parameters():
        members[next((g for g in signal.groups if _claims(g, name, parameter)), "rest")].append(parameter)
    for empty in [g for g in signal.groups if not members[g]]:
        raise ContractError(
            "claims no parameter, because the groups before it have taken them all; leave it out",
            source=contract.source,
            path=f"lr.groups.{empty}",
        )
    groups: list[dict[str, Any]] = []
    for name, parameters in members.items():
        if parameters:
            promise = signal.group(name)
            lr = (signal.base if promise.base is None else promise.base) * promise.scale
            groups.append({"params": parameters, "lr": lr, **_companions(contract, name)})
            if signal.groups:
                groups[-1]["name"] = name
    return torch.optim.AdamW(groups, lr=signal.base)


def _claims(group: str, name: str, parameter: nn.Parameter) -> bool:
    if group in ("decay", "no_decay"):
        return (parameter.dim() >= 2) == (group == "decay")
    part = {"token": "embedding", "place": "embedding", "head": "head"}.get(name.partition(".")[0], "backbone")
    return part == group


def _companions(contract: Contract, group: str) -> dict[str, Any]:
    """Weight decay and betas of a group, constant over the run."""
    result: dict[str, Any] = {"weight_decay": 0.0 if group == "no_decay" else WEIGHT_DECAY, "betas": BETAS}
    for signal in contract.signals.values():
        promise = signal.group(group)
        value = (signal.base if promise.base is None else promise.base) * promise.scale
        if signal.name == "weight_decay":
            result["weight_decay"] = value
        elif signal.name == "momentum":
            result["betas"] = (value, BETAS[1])
    return result


def parameters(optimizer: torch.optim.Optimizer) -> Iterable[nn.Parameter]:
    """Every parameter that the optimizer updates, in its order."""
    return (p for group in optimizer.param_groups for p in group["params"])
