"""The GPT and its parameter groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from lrwatch.contract import Contract, from_document
from lrwatch.errors import ContractError
from lrwatch.trainer.model import GPT, adamw, loss_of, parameters
from lrwatch.trainer.settings import Size

SMALL = Size(layers=1, width=8, heads=2, context=6, batch=2, corpus=0)


def promise(groups: Mapping[str, Any] | None = None, **signals: Any) -> Contract:
    lr: dict[str, Any] = {"base": 0.002, "schedule": "constant"}
    return from_document({"lrwatch": 1, "experiment": "x", "lr": {**lr, "groups": groups or {}}, **signals})


def test_a_seed_decides_the_weights() -> None:
    models = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        models.append(torch.cat([p.flatten() for p in GPT(SMALL).parameters()]))
    assert models[0].equal(models[1])
    assert not models[0].equal(models[2])


def test_no_byte_sees_the_ones_after_it() -> None:
    torch.manual_seed(0)
    model = GPT(SMALL).eval()
    text = torch.tensor([[1, 2, 3, 4, 5, 6]])
    changed = torch.tensor([[1, 2, 3, 4, 5, 99]])
    before, after = model(text), model(changed)
    assert before.shape == (1, 6, 256)
    assert before[:, :5].equal(after[:, :5])
    assert not before[:, 5].equal(after[:, 5])


def test_it_starts_at_the_loss_of_a_guess() -> None:
    torch.manual_seed(0)
    text = torch.randint(0, 256, (8, 6))
    assert 5.4 < loss_of(GPT(SMALL)(text), text).item() < 5.7  # ln 256 = 5.545


def test_without_groups_there_is_one_without_a_name() -> None:
    model = GPT(SMALL)
    (group,) = adamw(model, promise()).param_groups
    assert "name" not in group
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.002, 0.1, (0.9, 0.95))
    assert len(group["params"]) == len(list(model.parameters()))


def test_groups_have_the_names_and_bases_of_the_contract() -> None:
    model = GPT(SMALL)
    optimizer = adamw(model, promise({"head": {"scale": 10}, "no_decay": {"base": 0.5}, "decay": {}}))
    got = {g["name"]: (g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups}
    # 2 embeddings, 4 matrices in the block; a bias each for those 4, and 3 norms with 2 vectors
    assert got == {"head": (0.02, 0.1, 1), "no_decay": (0.5, 0.0, 10), "decay": (0.002, 0.1, 6)}
    assert {id(p) for p in parameters(optimizer)} == {id(p) for p in model.parameters()}


def test_what_no_group_claims_is_the_rest() -> None:
    optimizer = adamw(GPT(SMALL), promise({"embedding": {"scale": 0.5}}))
    assert [(g["name"], g["lr"], len(g["params"])) for g in optimizer.param_groups] == [
        ("embedding", 0.001, 2),
        ("rest", 0.002, 15),
    ]


def test_weight_decay_and_momentum_come_from_the_contract() -> None:
    constant = {"schedule": "constant"}
    contract = promise(weight_decay={"base": 0.03, **constant}, momentum={"base": 0.8, **constant})
    (group,) = adamw(GPT(SMALL), contract).param_groups
    assert (group["weight_decay"], group["betas"]) == (0.03, (0.8, 0.95))


def test_a_group_without_parameters_is_refused() -> None:
    with pytest.raises(ContractError) as refused:
        adamw(GPT(SMALL), promise({"decay": {}, "no_decay": {}, "head": {"scale": 10}}))
    assert str(refused.value) == (
        "contract: lr.groups.head: claims no parameter, because the groups before it have taken them all; leave it out"
    )
